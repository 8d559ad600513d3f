"""The ledger: one table, with a replica in every Region from which we recover."""

from __future__ import annotations

from aws_cdk import Environment, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra import names
from infra.settings import Deployment


class MemoryStack(Stack):
    """The table, its replicas, and nothing that runs."""

    def __init__(self, scope: Construct, id: str, *, deployment: Deployment, env: Environment) -> None:
        super().__init__(
            scope,
            id,
            env=env,
            description="Holdfast: the ledger of every recovery point",
            termination_protection=deployment.is_kept,
        )
        self.ledger = dynamodb.TableV2(
            self,
            "Ledger",
            table_name=names.LEDGER,
            partition_key=_text("pk"),
            sort_key=_text("sk"),
            billing=dynamodb.Billing.on_demand(),
            dynamo_stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
            time_to_live_attribute="forget_at",
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=names.OPEN_INDEX, partition_key=_text("open_in"), sort_key=_text("open_until")
                ),
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=names.LISTED_INDEX, partition_key=_text("listed_in"), sort_key=_text("pk")
                ),
            ],
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(
                kms.Alias.from_alias_name(self, "Key", names.KEY_ALIAS),
                {region: self._alias_in(region) for region in deployment.copies},
            ),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=deployment.is_kept,
            removal_policy=deployment.removal_policy,
            replicas=[
                dynamodb.ReplicaTableProps(
                    region=region,
                    deletion_protection=deployment.is_kept,
                    point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                        point_in_time_recovery_enabled=True
                    ),
                )
                for region in deployment.copies
            ],
        )

    def _alias_in(self, region: str) -> str:
        return f"arn:{self.partition}:kms:{region}:{self.account}:{names.KEY_ALIAS}"


def _text(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
