"""What is in the account, complete, and as a restore will need it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest

from functions.aws import inventory as inventory_of
from functions.aws.clients import Clients
from functions.aws.inventory import PERMISSIONS, Inventory
from functions.core.errors import HoldfastError, ResourceGone
from functions.core.resources import Kind, Resource, ResourceKey
from tests.aws.moto_world import ACCOUNT, HOME, LOADER, make_pages_small, new_session, refusal


@pytest.fixture
def clients(moto: None) -> Clients:
    return Clients(new_session())


def seen(clients: Clients) -> dict[str, Resource]:
    return {str(r.key): r for r in Inventory(region=HOME, account=ACCOUNT, clients=clients).resources()}


def key(kind: Kind, id: str) -> ResourceKey:
    return ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id)


def make_database(clients: Clients, id: str, **more: Any) -> None:
    wanted = {"DBInstanceClass": "db.t4g.micro", "Engine": "postgres", "AllocatedStorage": 20} | more
    clients.retrying("rds", HOME).create_db_instance(DBInstanceIdentifier=id, **wanted)


def make_cluster(clients: Clients, id: str, **more: Any) -> None:
    wanted = {"Engine": "aurora-postgresql", "MasterUsername": "admin1", "MasterUserPassword": "correct-horse"} | more
    clients.retrying("rds", HOME).create_db_cluster(DBClusterIdentifier=id, **wanted)


def change_answers(clients: Clients, operation: str, change: Any) -> None:
    service = "rds" if "DB" in operation else "ec2"
    clients.retrying(service, HOME).meta.events.register_first(f"after-call.{service}.{operation}", change)


def test_a_volume_knows_the_instance_it_is_attached_to_and_the_instance_its_volumes(clients: Clients) -> None:
    ec2 = clients.retrying("ec2", HOME)
    started = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    instance_id = started["Instances"][0]["InstanceId"]
    volume_id = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=8)["VolumeId"]
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    resources = seen(clients)
    instance = resources[f"instance/{HOME}/{instance_id}"]
    assert volume_id in instance.members
    assert len(instance.members) == 2
    assert {resources[f"volume/{HOME}/{id}"].belongs_to for id in instance.members} == {instance_id}
    devices: Any = instance.configuration["devices"]
    assert devices[volume_id] == "/dev/sdf"


def test_a_lone_volume_belongs_to_nobody_and_keeps_its_tags(clients: Clients) -> None:
    """F47."""
    tags = [{"Key": "holdfast:policy", "Value": "gold"}]
    volume_id = clients.retrying("ec2", HOME).create_volume(
        AvailabilityZone=f"{HOME}a",
        Size=8,
        VolumeType="gp3",
        Iops=4000,
        TagSpecifications=[{"ResourceType": "volume", "Tags": tags}],
    )["VolumeId"]
    volume = seen(clients)[f"volume/{HOME}/{volume_id}"]
    assert (volume.belongs_to, volume.size_gib, volume.tags) == (None, 8, {"holdfast:policy": "gold"})
    assert volume.configuration["volume_type"] == "gp3"
    assert volume.configuration["iops"] == 4000
    assert volume.configuration["availability_zone"] == f"{HOME}a"


def test_what_is_leaving_is_not_in_the_inventory(clients: Clients) -> None:
    ec2 = clients.retrying("ec2", HOME)
    started = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    ec2.terminate_instances(InstanceIds=[started["Instances"][0]["InstanceId"]])
    ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=8)

    def leave(parsed: Any, **_: Any) -> None:
        for volume in parsed["Volumes"]:
            volume["State"] = "deleting"

    change_answers(clients, "DescribeVolumes", leave)
    assert seen(clients) == {}


@pytest.mark.parametrize("engine", ["postgres", "oracle-se2", "db2-se", "an-engine-of-next-year"])
def test_a_database_of_every_engine_is_seen(engine: str, clients: Clients) -> None:
    make_database(clients, "orders")

    def rename(parsed: Any, **_: Any) -> None:
        parsed["DBInstances"][0]["Engine"] = engine

    change_answers(clients, "DescribeDBInstances", rename)
    assert seen(clients)[f"database/{HOME}/orders"].engine == engine


@pytest.mark.parametrize("engine", ["aurora-mysql", "neptune", "docdb", "an-engine-of-next-year"])
def test_a_cluster_of_every_engine_is_seen(engine: str, clients: Clients) -> None:
    make_cluster(clients, "orders")

    def rename(parsed: Any, **_: Any) -> None:
        parsed["DBClusters"][0]["Engine"] = engine

    change_answers(clients, "DescribeDBClusters", rename)
    assert seen(clients)[f"cluster/{HOME}/orders"].engine == engine


def test_a_member_belongs_to_its_cluster(clients: Clients) -> None:
    make_cluster(clients, "orders")
    make_database(
        clients, "orders-1", Engine="aurora-postgresql", DBClusterIdentifier="orders", DBInstanceClass="db.r6g.large"
    )
    resources = seen(clients)
    assert resources[f"database/{HOME}/orders-1"].belongs_to == "orders"
    cluster = resources[f"cluster/{HOME}/orders"]
    assert cluster.members == ("orders-1",)
    assert cluster.size_gib is None
    assert cluster.configuration["instance_class"] == "db.r6g.large"
    (member,) = cast(list[Any], cluster.configuration["members"])
    assert (member["id"], member["instance_class"]) == ("orders-1", "db.r6g.large")


def test_a_databases_configuration_is_what_a_restore_needs(clients: Clients) -> None:
    make_database(clients, "orders", DBName="shop", MasterUsername="boss", DeletionProtection=True, Port=5433)
    configuration = Inventory(region=HOME, account=ACCOUNT, clients=clients).configuration(key(Kind.DATABASE, "orders"))
    assert configuration == seen(clients)[f"database/{HOME}/orders"].configuration
    expected = {
        "engine": "postgres",
        "instance_class": "db.t4g.micro",
        "size_gib": 20,
        "database_name": "shop",
        "master_username": "boss",
        "is_deletion_protected": True,
        "is_multi_az": False,
        "port": 5433,
    }
    assert expected.items() <= configuration.items()
    assert {"subnet_group", "security_groups", "parameter_group", "option_group", "roles"} <= set(configuration)
    assert configuration["option_group"].startswith("default:postgres")


def test_every_configuration_is_json(clients: Clients) -> None:
    make_cluster(clients, "orders", ServerlessV2ScalingConfiguration={"MinCapacity": 0.5, "MaxCapacity": 4})
    make_database(clients, "stock")
    clients.retrying("ec2", HOME).run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    inventory = Inventory(region=HOME, account=ACCOUNT, clients=clients)
    resources = list(inventory.resources())
    assert {r.key.kind for r in resources} == set(Kind)
    for resource in resources:
        assert json.loads(json.dumps(resource.configuration)) == resource.configuration
        assert inventory.configuration(resource.key) == resource.configuration


@pytest.mark.parametrize("kind", list(Kind))
def test_the_configuration_of_what_is_gone_says_so(kind: Kind, clients: Clients) -> None:
    with pytest.raises(ResourceGone):
        Inventory(region=HOME, account=ACCOUNT, clients=clients).configuration(key(kind, "i-0123456789abcdef0"))


def test_the_inventory_reads_to_the_last_page_and_past_an_empty_one(moto: None) -> None:
    session = new_session()
    clients = Clients(session)
    make_cluster(clients, "basket")
    make_cluster(clients, "orders")
    for number in range(3):
        make_database(clients, f"stock-{number}")
        clients.retrying("ec2", HOME).run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)
    make_pages_small(session)
    kinds = [resource.key.kind for resource in seen(Clients(session)).values()]
    assert [kinds.count(kind) for kind in Kind] == [3, 3, 3, 2]


@pytest.mark.parametrize(
    "operation", ["DescribeVolumes", "DescribeInstances", "DescribeDBInstances", "DescribeDBClusters"]
)
def test_an_inventory_that_breaks_off_raises(operation: str, clients: Clients) -> None:
    def refuse(**_: Any) -> None:
        raise refusal("AccessDenied", operation, status=403)

    change_answers(clients, operation, refuse)
    with pytest.raises(HoldfastError, match=operation):
        seen(clients)


def test_the_inventory_calls_what_it_declares(clients: Clients) -> None:
    called: set[str] = set()
    for service in ("ec2", "rds"):

        def record(model: Any, service: str = service, **_: Any) -> None:
            called.add(f"{service}:{model.name}")

        clients.retrying(service, HOME).meta.events.register_first(f"before-call.{service}", record)
    seen(clients)
    assert called == {action for permission in PERMISSIONS["resources"] for action in permission.actions}


def test_the_tags_of_the_user_are_kept_and_those_that_nobody_may_give_are_not(clients: Clients) -> None:
    tags = {"team": "shop", "holdfast:policy": "gold"}
    listed = [{"Key": name, "Value": value} for name, value in tags.items()]
    make_database(clients, "orders", Tags=listed)
    make_cluster(clients, "stock", Tags=listed)
    clients.retrying("ec2", HOME).create_volume(
        AvailabilityZone=f"{HOME}a", Size=8, TagSpecifications=[{"ResourceType": "volume", "Tags": listed}]
    )

    def tag_as_cloudformation_does(parsed: Any, **_: Any) -> None:
        parsed["DBInstances"][0]["TagList"].append({"Key": "aws:cloudformation:stack-name", "Value": "shop"})

    change_answers(clients, "DescribeDBInstances", tag_as_cloudformation_does)
    resources = seen(clients).values()
    assert [resource.configuration["tags"] for resource in resources] == [{"team": "shop"}] * 3


def test_an_instance_keeps_how_each_of_its_volumes_was_made(clients: Clients) -> None:
    ec2 = clients.retrying("ec2", HOME)
    instance_id = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    volume_id = ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=9, VolumeType="gp3", Iops=4000)["VolumeId"]
    ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    ec2.create_volume(AvailabilityZone=f"{HOME}a", Size=8)
    inventory = Inventory(region=HOME, account=ACCOUNT, clients=clients)
    volumes = inventory.configuration(key(Kind.INSTANCE, instance_id))["volumes"]
    assert len(volumes) == 2
    assert volumes[volume_id] == {"volume_type": "gp3", "size_gib": 9, "iops": 4000}


def test_a_member_keeps_what_it_has_for_itself(clients: Clients) -> None:
    make_cluster(clients, "orders")
    make_database(
        clients, "orders-1", Engine="aurora-postgresql", DBClusterIdentifier="orders", DBInstanceClass="db.r6g.large"
    )
    (member,) = cast(list[Any], seen(clients)[f"cluster/{HOME}/orders"].configuration["members"])
    assert {"parameter_group", "promotion_tier", "auto_minor_upgrade", "ca_certificate"} <= set(member)


@pytest.mark.parametrize(
    ("table", "service", "shape"),
    [
        (inventory_of._VOLUME, "ec2", "Volume"),
        (inventory_of._INSTANCE, "ec2", "Instance"),
        (inventory_of._DATABASE, "rds", "DBInstance"),
        (inventory_of._MEMBER, "rds", "DBInstance"),
        (inventory_of._CLUSTER, "rds", "DBCluster"),
    ],
    ids=["volume", "instance", "database", "member", "cluster"],
)
def test_every_name_is_one_that_aws_answers(table: Mapping[str, str], service: str, shape: str) -> None:
    assert set(table.values()) <= set(LOADER.load_service_model(service, "service-2")["shapes"][shape]["members"])


def test_domains_and_processors_are_kept_where_there_are_any(clients: Clients) -> None:
    make_database(clients, "orders")
    make_database(clients, "stock")

    def join(parsed: Any, **_: Any) -> None:
        orders = next(one for one in parsed["DBInstances"] if one["DBInstanceIdentifier"] == "orders")
        orders["DomainMemberships"] = [{"Domain": "d-1234567890", "Status": "joined"}]
        orders["ProcessorFeatures"] = [{"Name": "coreCount", "Value": "2"}]
        orders["MasterUserSecret"] = {"SecretArn": "arn of a secret", "KmsKeyId": "arn of a key"}

    change_answers(clients, "DescribeDBInstances", join)
    resources = seen(clients)
    kept = {
        "domains": ["d-1234567890"],
        "processor_features": {"coreCount": "2"},
        "master_secret_arn": "arn of a secret",
        "master_secret_key_id": "arn of a key",
    }
    assert kept.items() <= resources[f"database/{HOME}/orders"].configuration.items()
    assert not {"domains", "processor_features", "tags"} & set(resources[f"database/{HOME}/stock"].configuration)
