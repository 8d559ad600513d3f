"""A database that somebody relies on: settings of its own, rows before its point and one after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from embedded.databases.connecting import connection
from embedded.tryout.scenario import PROTECTED
from tests.e2e.deployment import HOME, Deployment, Thing

NAME, USER, PASSWORD = "bookshop", "clerk", "a password long enough"
BEFORE_THE_POINT = 40
"""Rows committed before the snapshot; one more is committed after it."""


@dataclass
class Bookshop:
    """The database, its place and its rows."""

    deployment: Deployment
    thing: Thing

    @classmethod
    def open(cls, deployment: Deployment) -> Bookshop:
        """The database has one point and its copy, one row more than both, and is not backed up any further."""
        rds, ec2 = deployment.aws.client("rds", HOME), deployment.aws.client("ec2", HOME)
        subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"] if subnet["DefaultForAz"]]
        rds.create_db_subnet_group(
            DBSubnetGroupName="shops", DBSubnetGroupDescription="where the shops are", SubnetIds=sorted(subnets)[:2]
        )
        rds.create_db_parameter_group(
            DBParameterGroupName="books", DBParameterGroupFamily="postgres16", Description="parameters of bookshops"
        )
        rds.create_db_instance(
            DBInstanceIdentifier=NAME,
            Engine="postgres",
            DBInstanceClass="db.t4g.micro",
            AllocatedStorage=20,
            StorageType="gp3",
            MasterUsername=USER,
            MasterUserPassword=PASSWORD,
            DBName=NAME,
            DBSubnetGroupName="shops",
            DBParameterGroupName="books",
            BackupRetentionPeriod=7,
            DeletionProtection=True,
            Tags=[*PROTECTED, {"Key": "team", "Value": "books"}],
        )
        shop = cls(deployment, Thing("database", NAME, "a bookshop"))
        endpoint = deployment.until_database(NAME)["Endpoint"]
        with connection(endpoint, USER, PASSWORD, database=NAME) as books:
            books.run("create table sales (id int primary key)")
            books.run("insert into sales select generate_series(1, :rows)", rows=BEFORE_THE_POINT)
        deployment.plan()
        deployment.until_copied(shop.thing)
        with connection(endpoint, USER, PASSWORD, database=NAME) as books:
            books.run("insert into sales values (:row)", row=BEFORE_THE_POINT + 1)
        arn = f"arn:aws:rds:{HOME}:123456789012:db:{NAME}"
        rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["holdfast:policy"])
        return shop

    def sales(self, described: dict[str, Any]) -> int:
        """How many rows a database has, be it this one or one that was made of it."""
        with connection(described["Endpoint"], USER, PASSWORD, database=NAME) as books:
            rows: Any = books.run("select count(*) from sales")
        return int(rows[0][0])
