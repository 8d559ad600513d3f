"""An embedded account in this process, as the recovery adapters see it, and short ways to what the tests need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from moto.ec2.models import EC2Backend, elastic_block_store
from moto.rds.models import rds_backends

from embedded.databases.in_process import Account
from functions.aws.clients import Clients
from functions.aws.inventory import Inventory
from functions.core.recoveries import RecoveryOrder, Setting, Source
from functions.core.resources import Kind, ResourceKey

HOME, AWAY = "us-east-1", "us-west-2"
ACCOUNT = "123456789012"
RECOVERY_ID = "0123456789ab"


def keep_moto_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an embedded AWS in this process puts into moto is taken out again: the tests beside these are moto's."""
    monkeypatch.setattr(rds_backends, "backend", rds_backends.backend)
    for name in ("Volume", "Snapshot"):
        monkeypatch.setattr(elastic_block_store, name, getattr(elastic_block_store, name))
    for name in ("delete_volume", "_create_default_encryption_key", "modify_ebs_default_kms_key_id"):
        monkeypatch.setattr(EC2Backend, name, getattr(EC2Backend, name))


class AnsweredClients(Clients):
    """Clients that somebody else made and answers."""

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def retrying(self, service: str, region: str) -> Any:
        return self._account.client(service, region)

    def once(self, service: str, region: str) -> Any:
        return self._account.client(service, region)


@dataclass
class RecoveriesAccount:
    """The account and what was asked of RDS, in its order."""

    account: Account
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clients = AnsweredClients(self.account)
        for region in (HOME, AWAY):
            events = self.account.rds(region).meta.events
            events.register("before-parameter-build.rds", self._note)

    def _note(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        self.calls.append((model.name, dict(params)))

    def asked(self, operation: str) -> list[Mapping[str, Any]]:
        return [parameters for name, parameters in self.calls if name == operation]

    @property
    def rds(self) -> Any:
        return self.account.rds(HOME)

    def instance(self, name: str, region: str = HOME) -> Mapping[str, Any]:
        return self.account.rds(region).describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]

    def cluster(self, name: str) -> Mapping[str, Any]:
        return self.rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]

    def configuration(self, kind: Kind, name: str) -> dict[str, Any]:
        inventory = Inventory(region=HOME, account=ACCOUNT, clients=self.clients)
        return dict(inventory.configuration(key(kind, name)))

    def advance(self) -> None:
        self.account.advance(60)


def key(kind: Kind, name: str) -> ResourceKey:
    return ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=name)


def order(
    wanted: Mapping[str, Any],
    *,
    kind: Kind = Kind.DATABASE,
    region: str = HOME,
    name: str = "orders-restored",
    snapshot: str = "holdfast-orders",
    log_at: datetime | None = None,
    source_id: str = "orders",
) -> RecoveryOrder:
    return RecoveryOrder(
        recovery_id=RECOVERY_ID,
        kind=kind,
        region=region,
        source=Source.POINT_IN_TIME if log_at else Source.HOME,
        snapshot_ids=() if log_at else (snapshot,),
        source_ids=(source_id,),
        content_at=log_at or datetime(2026, 3, 1, 9, tzinfo=UTC),
        names=(name,),
        wanted=wanted,
    )


def standing(settings: tuple[Setting, ...]) -> dict[str, bool | None]:
    return {setting.what: setting.is_applied for setting in settings}


def details(settings: tuple[Setting, ...]) -> dict[str, str]:
    return {setting.what: setting.detail for setting in settings}
