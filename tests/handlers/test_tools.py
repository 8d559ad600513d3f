"""What a handler works with is made from the environment when it is first asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from functions.aws.recoveries.ebs import VolumeRecoveries
from functions.aws.recoveries.rds import DatabaseRecoveries
from functions.aws.recoveries.rds_clusters import ClusterRecoveries
from functions.aws.restores_ebs import VolumeRestores
from functions.aws.restores_rds import ClusterRestores, DatabaseRestores
from functions.core.errors import Broken, Refused
from functions.core.resources import Kind
from functions.handlers import frame
from functions.handlers.tools import Tools
from tests.builders import AWAY, HOME, a_policy, some_settings

ENVIRONMENT: Mapping[str, str] = {
    "AWS_REGION": HOME,
    "HOLDFAST_ACCOUNT": "123456789012",
    "HOLDFAST_TABLE": "holdfast-ledger",
    "HOLDFAST_KEY_ALIAS": "alias/holdfast",
    "HOLDFAST_SNAPSHOT_ORDERS_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/holdfast-snapshot-orders",
    "HOLDFAST_COPY_ORDERS_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/holdfast-copy-orders",
    "HOLDFAST_TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:holdfast-notices",
    "HOLDFAST_BUS": "holdfast",
    "HOLDFAST_REHEARSAL_SUBNET_GROUP": "holdfast-rehearsals",
    "HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS": "sg-1,sg-2",
}


def without(*names: str) -> Tools:
    return Tools({name: value for name, value in ENVIRONMENT.items() if name not in names}, settings=some_settings())


def test_making_tools_asks_for_nothing() -> None:
    """A function that needs no queue has none in its environment."""
    assert Tools({})


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("region", "AWS_REGION"),
        ("account", "HOLDFAST_ACCOUNT"),
        ("ledger", "HOLDFAST_TABLE"),
        ("snapshot_orders", "HOLDFAST_SNAPSHOT_ORDERS_URL"),
        ("copy_orders", "HOLDFAST_COPY_ORDERS_URL"),
        ("topic", "HOLDFAST_TOPIC_ARN"),
        ("bus", "HOLDFAST_BUS"),
    ],
)
def test_what_the_environment_lacks_is_named_with_the_next_step(tool: str, name: str) -> None:
    with pytest.raises(Broken, match=f"the environment has no {name}") as missing:
        getattr(without(name), tool)
    assert missing.value.hint.startswith("Deploy again")
    assert getattr(without(), tool)


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_its_snapshots_in_every_region(kind: Kind) -> None:
    snapshots = without().snapshots(kind, AWAY)
    assert (snapshots.kind, snapshots.region) == (kind, AWAY)


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        (Kind.VOLUME, VolumeRestores),
        (Kind.INSTANCE, VolumeRestores),
        (Kind.DATABASE, DatabaseRestores),
        (Kind.CLUSTER, ClusterRestores),
    ],
)
def test_every_kind_is_restored_in_the_region_of_the_function(kind: Kind, adapter: type[object]) -> None:
    restores = without().restores(kind)
    assert type(restores) is adapter
    assert restores.region == HOME


@pytest.mark.parametrize("name", ["HOLDFAST_REHEARSAL_SUBNET_GROUP", "HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS"])
def test_a_database_is_restored_in_a_network_of_its_own_or_not_at_all(name: str) -> None:
    """F72, invariant 13: without one it would land in the default one."""
    with pytest.raises(Refused, match="no network for rehearsals") as refused:
        without(name).restores(Kind.DATABASE)
    assert "rehearse_databases" in refused.value.hint
    assert without(name).restores(Kind.VOLUME)


def test_a_policy_that_is_gone_is_said_with_what_to_do() -> None:
    assert without().policy("gold") == a_policy()
    with pytest.raises(Refused, match="no policy named 'platinum'"):
        without().policy("platinum")


def test_the_settings_ride_in_a_layer_beside_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = tmp_path / "holdfast_settings"
    layer.mkdir()
    (layer / "__init__.py").touch()
    written = {"home": HOME, "policies": {"gold": {"rpo": "1d", "keep": {"daily": 7}}}}
    (layer / "settings.json").write_text(json.dumps(written))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Tools(ENVIRONMENT).settings.home_region == HOME


def test_a_process_makes_its_tools_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    frame.tools.cache_clear()
    try:
        assert frame.tools() is frame.tools()
        assert frame.tools().account == "123456789012"
    finally:
        frame.tools.cache_clear()


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_is_recovered_by_the_adapter_that_knows_it(kind: Kind) -> None:
    adapters = {Kind.DATABASE: DatabaseRecoveries, Kind.CLUSTER: ClusterRecoveries}
    recoveries = without().recoveries(kind)
    assert isinstance(recoveries, adapters.get(kind, VolumeRecoveries))
    assert recoveries.region == HOME


def test_databases_are_recovered_where_none_are_rehearsed() -> None:
    """A recovery goes into the network that somebody names, not into one of ours."""
    tools = without("HOLDFAST_REHEARSAL_SUBNET_GROUP", "HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS")
    assert not tools.has_rehearsal_network
    assert isinstance(tools.recoveries(Kind.DATABASE), DatabaseRecoveries)
    assert without().has_rehearsal_network


def test_executions_are_those_of_the_region_that_is_asked_for() -> None:
    assert without().executions.region == HOME
    assert without().executions_in(AWAY).region == AWAY
