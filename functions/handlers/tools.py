"""What a handler works with, built from the environment when first asked for and never on import."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import resources

from functions.aws import kinds
from functions.aws.clients import Clients
from functions.aws.deep_checks.checkers import Checkers, DeepCheckNetwork
from functions.aws.deep_checks.scripts import Scripts
from functions.aws.executions import Executions
from functions.aws.health import Health
from functions.aws.inventory import Inventory
from functions.aws.keys import Keys
from functions.aws.locks import EbsLocks
from functions.aws.outbound import Bus, Queue, Topic
from functions.aws.recoveries.ebs import VolumeRecoveries
from functions.aws.recoveries.rds import DatabaseRecoveries, newest_restorable
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.aws.recycle_bin import RecycleBin
from functions.aws.restores_ebs import VolumeRestores
from functions.aws.restores_rds import ClusterRestores, DatabaseRestores, RehearsalNetwork
from functions.aws.shares_ebs import EbsShares
from functions.aws.shares_rds import RdsShares
from functions.contracts import settings as contract
from functions.core.errors import Broken, Refused
from functions.core.exposures import Family, Shares
from functions.core.locks import Locks
from functions.core.policies import Policy, Settings
from functions.core.recoveries import Newest, Recoveries
from functions.core.resources import Kind, ResourceKey
from functions.core.restores import Restores
from functions.core.snapshots import Snapshots
from functions.ledger.ledger import Ledger


class Tools:
    """Everything a handler may reach for. Tests make one from their own environment and settings."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        settings: Settings | None = None,
        clients: Clients | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self._environment = environment
        self._settings = settings
        self._ledger = ledger
        self.clients = clients or Clients()

    @cached_property
    def settings(self) -> Settings:
        """The policies and Regions this deployment was made with; they ride in a layer beside the code."""
        if self._settings is not None:
            return self._settings
        written = resources.files("holdfast_settings").joinpath("settings.json").read_text()
        return contract.read(json.loads(written)).settings

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, in the Region this function runs in."""
        return self._ledger or Ledger(table=self._of("HOLDFAST_TABLE"), region=self.region)

    @property
    def region(self) -> str:
        """The Region this function runs in."""
        return self._of("AWS_REGION")

    @property
    def account(self) -> str:
        """The account this function runs in."""
        return self._of("HOLDFAST_ACCOUNT")

    def policy(self, name: str) -> Policy:
        """The policy of that name.

        Errors: Refused when the settings no longer have it.
        """
        policy = self.settings.policies.get(name)
        if policy is None:
            raise Refused(
                f"there is no policy named {name!r} any more",
                hint="Put the policy back into cdk.json and deploy, or tag the resource with one that exists.",
            )
        return policy

    def snapshots(self, kind: Kind, region: str) -> Snapshots:
        """The adapter of a kind in a Region."""
        return kinds.snapshots(kind, region, account=self.account, clients=self.clients, key=self.key_alias)

    @property
    def key_alias(self) -> str:
        """The name of our key, the same in every Region."""
        return self._of("HOLDFAST_KEY_ALIAS")

    def shares(self, region: str) -> Sequence[Shares]:
        """Who may use our snapshots in a Region, by family."""
        rds = (RdsShares(family, region, self.clients) for family in (Family.DATABASE, Family.CLUSTER))
        return (EbsShares(region, self.clients), *rds)

    def locks(self, region: str) -> Locks:
        """The locks of EBS snapshots in a Region."""
        return EbsLocks(region, self.clients)

    def recycle_bin(self, region: str) -> RecycleBin:
        """The deleted snapshots of EBS in a Region."""
        return RecycleBin(region, self.clients)

    def keys(self, region: str) -> Keys:
        """The keys of a Region."""
        return Keys(region, self.clients)

    def inventory(self, region: str) -> Inventory:
        """What exists in a Region."""
        return Inventory(region=region, account=self.account, clients=self.clients)

    def restores(self, kind: Kind) -> Restores:
        """How a kind is restored in the Region this function runs in.

        Errors: Refused for a database where no network was made for rehearsals.
        """
        if kind in (Kind.VOLUME, Kind.INSTANCE):
            return VolumeRestores(kind, self.region, self.clients)
        return (DatabaseRestores if kind is Kind.DATABASE else ClusterRestores)(
            self.region, self.clients, self._rehearsal_network()
        )

    def volume_restores(self, kind: Kind) -> VolumeRestores:
        """As `restores`, for the kinds whose content is proven through a snapshot of the restored volume."""
        return VolumeRestores(kind, self.region, self.clients)

    def recoveries(self, kind: Kind) -> Recoveries:
        """How a kind is recovered, to be used, in the Region this function runs in."""
        if kind in (Kind.VOLUME, Kind.INSTANCE):
            return VolumeRecoveries(kind, self.region, self.clients)
        return (DatabaseRecoveries if kind is Kind.DATABASE else ClusterRecoveries)(self.region, self.clients)

    def newest_restorable(self, resource: ResourceKey) -> Newest | None:
        """How near to now a database can be restored by its own log; None when it keeps none or is gone."""
        return newest_restorable(resource, self.clients)

    @cached_property
    def executions(self) -> Executions:
        """The workflows of this Region."""
        return self.executions_in(self.region)

    def executions_in(self, region: str) -> Executions:
        """The workflows of a Region."""
        machine_arn = (
            f"arn:{self.clients.partition(region)}:states:{region}:{self.account}:stateMachine:holdfast-recover"
        )
        return Executions(region, self.clients, machine_arn=machine_arn)

    @cached_property
    def snapshot_orders(self) -> Queue:
        """The queue that take_snapshot reads."""
        return Queue(self._of("HOLDFAST_SNAPSHOT_ORDERS_URL"), self.region, self.clients)

    @cached_property
    def copy_orders(self) -> Queue:
        """The queue that copy_snapshot reads."""
        return Queue(self._of("HOLDFAST_COPY_ORDERS_URL"), self.region, self.clients)

    @cached_property
    def topic(self) -> Topic:
        """Where notices for people go."""
        return Topic(self._of("HOLDFAST_TOPIC_ARN"), self.region, self.clients)

    @cached_property
    def bus(self) -> Bus:
        """Where events for machines go."""
        return Bus(self._of("HOLDFAST_BUS"), self.region, self.clients)

    @cached_property
    def health(self) -> Health:
        """Where the numbers about ourselves go."""
        return Health(self.region, self.clients)

    @property
    def has_rehearsal_network(self) -> bool:
        """Whether databases are rehearsed in this Region."""
        return bool(self._environment.get("HOLDFAST_REHEARSAL_SUBNET_GROUP"))

    @property
    def has_deep_checks(self) -> bool:
        """Whether a network was made for deep checks in this Region."""
        return bool(self._environment.get("HOLDFAST_DEEP_CHECK_SUBNET"))

    @property
    def deep_check_zone(self) -> str:
        """Where volumes must be for a machine to have them."""
        return self._of("HOLDFAST_DEEP_CHECK_ZONE")

    @cached_property
    def checkers(self) -> Checkers:
        """The machines of deep checks in the Region this function runs in."""
        network = DeepCheckNetwork(
            zone=self.deep_check_zone,
            subnet_id=self._of("HOLDFAST_DEEP_CHECK_SUBNET"),
            security_group_id=self._of("HOLDFAST_DEEP_CHECK_SECURITY_GROUP"),
            profile=self._of("HOLDFAST_DEEP_CHECK_PROFILE"),
        )
        return Checkers(self.region, self.clients, network, key=self._of("HOLDFAST_KEY_ALIAS"))

    @cached_property
    def scripts(self) -> Scripts:
        """What runs on those machines."""
        return Scripts(self.region, self.clients)

    def _rehearsal_network(self) -> RehearsalNetwork:
        groups = tuple(g for g in self._environment.get("HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS", "").split(",") if g)
        subnet_group = self._environment.get("HOLDFAST_REHEARSAL_SUBNET_GROUP", "")
        if not groups or not subnet_group:
            raise Refused(
                f"no network for rehearsals of databases in {self.region}",
                hint="Set rehearse_databases in cdk.json to true and deploy; an isolated network is then made.",
            )
        return RehearsalNetwork(subnet_group=subnet_group, security_group_ids=groups)

    def _of(self, name: str) -> str:
        value = self._environment.get(name)
        if not value:
            raise Broken(f"the environment has no {name}", hint="Deploy again; infra/ sets it for this function.")
        return value


def from_environment() -> Tools:
    """The tools of the function this process runs as."""
    return Tools(os.environ)
