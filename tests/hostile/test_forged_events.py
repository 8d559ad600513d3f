"""F34, F36: at least 100 events that nobody at AWS sent, or sent long ago, or sent to somebody else.

None has an effect: no row changes but the clocks' own, no order is sent, nothing is asked of AWS that changes
anything, nobody is woken. Each is turned away in the log in words that say why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from functions.contracts import wire
from functions.core.coverage import Coverage, Standing
from functions.core.errors import HoldfastError
from functions.core.policies import AutomaticRecovery, ExtraPoints
from functions.core.resources import Kind, Resource
from functions.handlers import (
    answer_approval,
    choose_recovery,
    choose_rehearsal,
    copy_snapshot,
    heed_alarm,
    heed_failure,
    hold_point,
    note_set,
    read_set,
    score_run,
    swap_names,
    take_snapshot,
    track_points,
)
from tests.builders import AWAY, GIB, a_copy_order, a_key, a_policy, a_slot, a_snapshot_order
from tests.handlers.world import CONTEXT, World, example, sqs_event
from tests.ledger.dynamodb import items

FOREIGN = "999999999999"
VOLUME_ALARM, FAILURE_ALARM = example("alarm_on_a_volume"), example("alarm_of_a_failure")
NOTICES = [
    "notice_ebs_copy_failed", "notice_ebs_instance_snapshots_created", "notice_ebs_snapshot_copied",
    "notice_ebs_snapshot_created", "notice_rds_cluster_snapshot_created", "notice_rds_snapshot_copied",
    "notice_rds_snapshot_created",
]  # fmt: skip


@dataclass(frozen=True)
class Forged:
    """An event, whom it is meant for, and what the log must say of it."""

    name: str
    handler: Any
    event: dict[str, Any]
    says: str


def changed(event: Mapping[str, Any], **paths: Any) -> dict[str, Any]:
    """The event with other values at these paths, written with double underscores."""
    copy = deepcopy(dict(event))
    for path, value in paths.items():
        *way, last = path.split("__")
        spot: Any = copy
        for step in way:
            spot = spot[int(step) if step.isdigit() else step]
        spot[last.replace("_", "-") if last == "detail_type" else last] = value
    return copy


def batch(*events: Any) -> dict[str, Any]:
    record = example("sqs_notices")["Records"][0]
    return {"Records": [record | {"body": one if isinstance(one, str) else json.dumps(one)} for one in events]}


def notices() -> Iterator[Forged]:
    for name in NOTICES:
        notice = example(name)
        track = track_points.handler
        yield Forged(f"{name}, of no point of ours", track, batch(notice), "belongs to nothing that is under way")
        yield Forged(f"{name}, of another account", track, batch(changed(notice, account=FOREIGN)), FOREIGN)
        nowhere = changed(notice, region="ap-south-2")
        yield Forged(f"{name}, from another Region", track, batch(nowhere), "where nothing of ours is")
        custom = changed(notice, source="com.example.backup")
        yield Forged(f"{name}, from a source of somebody's own", track, batch(custom), "source: Input should be")
        yield Forged(f"{name}, three times", track, batch(notice, notice, notice), "nothing that is under way")
        bare = {key: notice[key] for key in ("detail-type", "source", "region")}
        yield Forged(f"{name}, without an account", track, batch(bare), "account: Field required")
    for body in ("", "not json", "[]", "null", "{}", '{"source":"aws.ec2"}', "[" * 100_000, '"aws.ec2"'):
        yield Forged(f"a notice that is {body[:20]!r}", track_points.handler, batch(body), "otice")
    yield Forged("records that are no list", track_points.handler, {"Records": "all"}, "not a batch of notices")


def alarms() -> Iterator[Forged]:
    for name, handler, alarm in (
        ("of a volume", heed_alarm.handler, VOLUME_ALARM),
        ("of a failure", heed_failure.handler, FAILURE_ALARM),
    ):
        old = [
            changed(alarm, time=time)
            for time in ("2026-11-18T09:36:27Z", "2025-11-20T09:36:27Z", "1970-01-01T00:00:00Z")
        ]
        yield Forged(f"{name}, of another account", handler, changed(alarm, account=FOREIGN), "another account")
        yield Forged(
            f"{name}, of an account in look-alikes", handler, changed(alarm, account="\u0661" * 12), "another account"
        )
        yield Forged(f"{name}, of no account", handler, changed(alarm, account=""), "another account")
        for number, event in enumerate(old):
            yield Forged(f"{name}, replayed, {number}", handler, event, "what it asked for is over")
        for time in ("2026-11-20T09:50:00Z", "2099-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
            yield Forged(f"{name}, of {time}", handler, changed(alarm, time=time), "which is not yet")
        yield Forged(f"{name}, over", handler, changed(alarm, detail__state__value="OK"), "not in ALARM")
        yield Forged(f"{name}, in small letters", handler, changed(alarm, detail__state__value="alarm"), "not in ALARM")
        for source in ("com.example.shop", "aws.cloudwatch ", "AWS.CLOUDWATCH", "", None):
            yield Forged(f"{name}, from {source!r}", handler, changed(alarm, source=source), "source: Input should be")
        yield Forged(f"{name}, without a time", handler, changed(alarm, time=None), "time: Input should be")
        yield Forged(
            f"{name}, without a zone", handler, changed(alarm, time="2026-11-20T09:36:27"), "time: Input should"
        )
        yield Forged(f"{name}, without a detail", handler, changed(alarm, detail=None), "detail: Input should be")
    for volume in ("vol-*", "*", "", "vol-1/../vol-2", "vol-0a1b2c3d4e5f60718\n", "x" * 5_000, "\u0456-0a1b"):
        metric = "detail__configuration__metrics__0__metricStat__metric__dimensions"
        event = changed(VOLUME_ALARM, **{metric: {"VolumeId": volume}})
        yield Forged(f"of the volume {volume[:20]!r}", heed_alarm.handler, event, "watches no resource of ours")
    other = changed(VOLUME_ALARM, **{metric: {"VolumeId": "vol-0fffffffffffffff1"}})
    yield Forged("of a volume that nobody protects", heed_alarm.handler, other, "it is not protected")
    yield Forged(
        "of the volume in another Region", heed_alarm.handler, changed(VOLUME_ALARM, region=AWAY), "not protected"
    )
    stranger = changed(FAILURE_ALARM, detail__alarmName="orders-does-not-answer ")
    yield Forged("an alarm of almost the same name", heed_failure.handler, stranger, "no rule names it")


def orders() -> Iterator[Forged]:
    never = a_snapshot_order(a_slot(resource=a_key(id="vol-9")))
    taking, copying = take_snapshot.handler, copy_snapshot.handler
    foreign = replace(never, slot=a_slot(resource=a_key(account=FOREIGN)))
    yield Forged("an order that nobody owes", taking, sqs_event([wire.dump(never)]), "does not owe this slot")
    yield Forged("an order of another account", taking, sqs_event([wire.dump(foreign)]), "does not owe this slot")
    wild = replace(never, slot=a_slot(resource=a_key(id="*")))
    yield Forged("an order for every volume", taking, sqs_event([wire.dump(wild)]), "does not owe this slot")
    yield Forged("a copy that nobody owes", copying, sqs_event([wire.dump(a_copy_order())]), "does not owe this copy")
    elsewhere = a_copy_order(region="ap-south-2", source_snapshot_id="snap-of-somebody")
    yield Forged("a copy to another Region", copying, sqs_event([wire.dump(elsewhere)]), "does not owe this copy")
    for number, body in enumerate(("", "{}", "[]", "null", '{"slot":{}}', "[" * 50_000, '{"slot":"*"}')):
        yield Forged(f"an order that is none, {number}", taking, sqs_event([body]), "not a SnapshotOrder")
        yield Forged(f"a copy order that is none, {number}", copying, sqs_event([body]), "not a CopyOrder")


def inputs() -> Iterator[Forged]:
    volume = "volume/eu-central-1/vol-0a1b2c3d4e5f60718"
    point = {"resource": volume, "slot": "2020-01-01T00:00:00Z", "do": "release", "because": "x", "by": "x"}
    yield Forged("the release of a point that is not", hold_point.handler, point, "there is no point of")
    yield Forged("the release of nothing", hold_point.handler, {}, "not a hold or a release")
    yield Forged("a release of everything", hold_point.handler, point | {"resource": "*"}, "not a resource key")
    yield Forged("a delete", hold_point.handler, point | {"do": "delete"}, "not a hold or a release")
    answer = {"recovery": "0a1b2c3d4e5f", "answer": "approve", "by": "x"}
    yield Forged("an answer that nobody waits for", answer_approval.handler, answer, "waits for an answer")
    yield Forged("an answer to every recovery", answer_approval.handler, answer | {"recovery": "*"}, "is not an answer")
    yield Forged("an answer of nobody", answer_approval.handler, answer | {"by": " "}, "does not say who answers")
    for name, given in (("nothing", {}), ("everything", {"resource": "*"}), ("a list", ["volume"]), ("a word", "all")):
        event = {"input": given, "execution": "arn:x"}
        yield Forged(f"a recovery of {name}", choose_recovery.handler, event, "does not say what to recover")
        yield Forged(f"a set of {name}", read_set.handler, event, "does not say which set")
    unknown = {"input": {"snapshot": "snap-ffffffffffffffff1"}}
    yield Forged("a recovery of a snapshot of nobody", choose_recovery.handler, unknown, "there is no snapshot")
    yield Forged("a rehearsal of everything", choose_rehearsal.handler, {"input": {"resource": "*"}}, "not a resource")
    yield Forged("a rehearsal of a list", choose_rehearsal.handler, {"input": [1]}, "input is no object")
    swap = {"resource": "database/eu-central-1/orders", "recovery": "0a1b2c3d4e5f"}
    yield Forged("a swap with what nobody restored", swap_names.handler, {"input": swap}, "was handed over in")
    yield Forged("a swap of a volume", swap_names.handler, {"input": swap | {"resource": volume}}, "no name to swap")
    yield Forged("outcomes of no set", note_set.handler, {"recoveryset": {}, "outcomes": []}, "not a RecoverySet")
    stream = example("stream_run_closed")
    yield Forged("a run of no stream", score_run.handler, {"Records": None}, "not a batch of a stream")
    for number, image in enumerate(({}, {"body": {"S": "{}"}}, {"body": {"N": "1"}}, {"body": {"S": "[" * 9_000}})):
        forged = changed(stream, Records__0__dynamodb__NewImage=image)
        yield Forged(f"a run that is none, {number}", score_run.handler, forged, "is not a closed run")


FORGED = [*notices(), *alarms(), *orders(), *inputs()]
EAGER = a_policy(version="0a1b2c3d", copy_to=(AWAY,), extra=ExtraPoints(written_gib=2, per_day=24))
RULE = AutomaticRecovery(
    alarm=FAILURE_ALARM["detail"]["alarmName"], resource="database/eu-central-1/orders", region=AWAY
)


@pytest.fixture
def target(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A deployment in which the true alarms would buy a point and start a recovery at once."""
    monkeypatch.setattr(heed_alarm, "written_bytes", lambda *_, **__: 100 * GIB)
    world.with_settings(EAGER)
    world.with_changed_settings(automatic=(RULE,), automatic_per_day=24)
    world.aws.now = world.now.replace(hour=9, minute=40)
    for kind in (Kind.VOLUME, Kind.DATABASE):
        resource = Resource(key=a_key(kind), tags={}, state="available")
        coverage = Coverage(resource=resource, standing=Standing.PROTECTED, by="tag", reason="gold", policy="gold")
        world.ledger.resources.stand(coverage, world.now - timedelta(hours=1))
        world.aws.resources[a_key(kind)] = (a_key(kind).id,)
    return world


def effects(world: World) -> dict[str, Any]:
    """Everything that an event could have changed."""
    looking = {"look", "find", "ours", "inventory", "configuration"}
    return {
        "rows": sorted(json.dumps(item, sort_keys=True, default=str) for item in items()),
        "orders": [*world.snapshot_orders.messages, *world.copy_orders.messages],
        "notices": list(world.topic.notices),
        "events": list(world.bus.events),
        "requests": [request for request in world.aws.requests if request.verb not in looking],
        "snapshots": dict(world.aws.held),
        "executions": [e.started for e in world.tools.executions_by_region.values() if e.started],
        "answers": list(world.executions.answers),
    }


def deliver(handler: Callable[..., Any], event: dict[str, Any]) -> None:
    try:
        handler(event, CONTEXT)
    except HoldfastError:
        return  # Lambda tries again, and then keeps it for a person; what it did is judged by its effects


def test_there_are_at_least_100_forged_events() -> None:
    assert len(FORGED) >= 100
    assert len({forged.name for forged in FORGED}) == len(FORGED)


@pytest.mark.parametrize("forged", FORGED, ids=lambda forged: forged.name)
def test_a_forged_event_changes_nothing_and_the_log_says_why(target: World, forged: Forged) -> None:
    before = effects(target)
    deliver(forged.handler, forged.event)
    deliver(forged.handler, forged.event)
    assert effects(target) == before
    assert forged.says in json.dumps(target.decisions(), ensure_ascii=False)


def test_the_true_alarms_do_have_their_effects(target: World) -> None:
    """The same deployment, the same oracle: what is turned away above would have done something."""
    before = effects(target)
    deliver(heed_alarm.handler, VOLUME_ALARM)
    bought = effects(target)
    assert (bought["rows"], bought["orders"]) != (before["rows"], before["orders"])
    deliver(heed_failure.handler, changed(FAILURE_ALARM, time="2026-11-20T09:39:00Z"))
    assert effects(target)["executions"] != bought["executions"]


def test_a_true_alarm_that_is_replayed_changes_nothing_more(target: World) -> None:
    """Invariant 22."""
    true_failure = changed(FAILURE_ALARM, time="2026-11-20T09:39:00Z")
    for handler, event in ((heed_alarm.handler, VOLUME_ALARM), (heed_failure.handler, true_failure)):
        deliver(handler, event)
        before = effects(target)
        for _ in range(3):
            deliver(handler, event)
        assert effects(target) == before
