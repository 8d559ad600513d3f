"""Every message has an example, and every example is what it says: read, and written again where it is ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from functions.contracts import from_aws, logged_calls, published, recovery_requests, wire
from functions.core import instants
from functions.core.exposures import Family
from functions.core.findings import Concern, Finding
from functions.core.recoveries import ID, Recovery
from functions.core.recovery_sets import Outcome, RecoverySet
from functions.core.rehearsals import Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.snapshots import CopyOrder, SnapshotOrder
from functions.ledger.stories import RUN, run_in_stream
from functions.scoring import rules
from tests.builders import ACCOUNT, AWAY, HOME

EVENTS = Path(__file__).parents[2] / "events"


def example(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def a_notice(event: Any) -> None:
    assert from_aws.notices([{"body": json.dumps(event)}]) == (from_aws.Notice.model_validate(event),)
    assert event["region"] in (HOME, AWAY)


def some_notices(event: Any) -> None:
    read = from_aws.notices(event["Records"])
    assert [(notice.source, notice.region) for notice in read] == [
        ("aws.ec2", HOME),
        ("aws.ec2", AWAY),
        ("aws.rds", HOME),
    ]


def an_alarm(*, is_alarm: bool, on: tuple[tuple[Kind, str], ...]) -> Callable[[Any], None]:
    def parsed(event: Any) -> None:
        read = from_aws.alarm(event)
        assert read.is_alarm is is_alarm
        assert read.alarmed_at.isoformat() == event["time"].replace("Z", "+00:00")
        assert read.resources() == tuple(ResourceKey(account=ACCOUNT, region=HOME, kind=kind, id=id) for kind, id in on)

    return parsed


def orders(shape: type[Any], *kinds: Kind) -> Callable[[Any], None]:
    def parsed(event: Any) -> None:
        read = [wire.load(shape, record["body"]) for record in event["Records"]]
        assert [order.slot.resource.kind for order in read] == list(kinds)
        assert [wire.dump(order) for order in read] == [record["body"] for record in event["Records"]]

    return parsed


def a_stream(event: Any) -> None:
    for record in event["Records"]:
        run = run_in_stream(record)
        assert RUN.dump_python(run, mode="json") == json.loads(record["dynamodb"]["NewImage"]["body"]["S"])
        assert record["dynamodb"]["Keys"]["pk"]["S"] == str(run.slot.resource)


def a_tick(event: Any) -> None:
    """Nothing in it is read; it stands here so that nobody looks for more in it."""
    assert event["source"] == "aws.scheduler"
    assert event["detail"] == "{}"


def a_request_for_a_rehearsal(event: Any) -> None:
    assert event.keys() == {"input", "execution"}
    if "resource" in event["input"]:
        assert str(ResourceKey.parse(event["input"]["resource"], account=ACCOUNT)) == event["input"]["resource"]


def a_rehearsal(event: Any) -> None:
    assert event.keys() == {"rehearsal"}
    assert wire.plain(wire.read(Rehearsal, event["rehearsal"])) == event["rehearsal"]


def a_broken_rehearsal(event: Any) -> None:
    a_rehearsal(event)
    name, _, cause = event["rehearsal"]["problem"].partition(": ")
    assert json.loads(cause)["errorType"] == name


def a_run_scored(event: Any) -> None:
    run = run_in_stream(example("stream_run_closed")["Records"][0])
    assert event["detail-type"] == published.RUN_SCORED
    assert event["detail"] == published.run_scored(run, rules.judge(run, []))


def a_rehearsal_recorded(event: Any) -> None:
    rehearsal = wire.read(Rehearsal, example("workflow_record_rehearsal")["rehearsal"])
    assert event["detail-type"] == published.REHEARSAL_RECORDED
    assert event["detail"] == published.rehearsal_recorded(rehearsal)


def a_request_to_recover(event: Any) -> None:
    request = recovery_requests.read(event, account=ACCOUNT, region=AWAY)
    assert str(request.resource) == event["resource"]


def a_choice_of_a_point(event: Any) -> None:
    assert event.keys() == {"input", "execution"}
    if recovery_requests.snapshot_named(event["input"]) is None:
        a_request_to_recover(event["input"])


def a_recovery(event: Any) -> None:
    assert event.keys() - {"token"} == {"recovery"}
    assert wire.plain(wire.read(Recovery, event["recovery"])) == event["recovery"]


def a_broken_recovery(event: Any) -> None:
    a_recovery(event)
    name, _, cause = event["recovery"]["problem"].partition(": ")
    assert json.loads(cause)["errorType"] == name


def a_question(event: Any) -> None:
    a_recovery(event)
    assert event["token"]
    assert event["recovery"]["request"]["approval_seconds"]


def an_answer(event: Any) -> None:
    assert event.keys() == {"recovery", "answer", "by"}
    assert ID.fullmatch(event["recovery"])


def a_hold(event: Any) -> None:
    assert event.keys() == {"resource", "slot", "do", "because", "by"}
    assert str(ResourceKey.parse(event["resource"], account=ACCOUNT)) == event["resource"]


def a_swap(event: Any) -> None:
    assert event.keys() == {"resource", "recovery", "back"}
    assert ID.fullmatch(event["recovery"])


def a_stop(event: Any) -> None:
    assert event.keys() == {"what", "problem", "redrives", "redrives_then"}


def a_request_for_a_set(event: Any) -> None:
    whole = recovery_requests.read_set(event, execution="run-1", account=ACCOUNT, region=AWAY)
    assert [member.resource for member in whole.members] == [
        one["resource"] for group in event["groups"] for one in group
    ]


def a_set_to_read(event: Any) -> None:
    assert event.keys() == {"input", "execution"}
    a_request_for_a_set(event["input"])


def a_set_to_note(event: Any) -> None:
    assert wire.plain(wire.read(RecoverySet, event["recoveryset"])) == event["recoveryset"]
    assert [wire.plain(wire.read(Outcome, one)) for one in event.get("outcomes", [])] == event.get("outcomes", [])


def a_recovery_recorded(event: Any) -> None:
    recovery = wire.read(Recovery, example("workflow_record_recovery")["recovery"])
    assert event["detail-type"] == published.RECOVERY_RECORDED
    assert event["detail"] == published.recovery_recorded(recovery, "handed over")


def a_logged_call(*, shared: tuple[Family, str] | None) -> Callable[[Any], None]:
    def parsed(event: Any) -> None:
        call = logged_calls.read(event)
        assert call is not None
        assert (call.account, call.region, call.shared) == (ACCOUNT, HOME, shared)
        named = {source for calls in (logged_calls.SHARING, logged_calls.KEY_CHANGES) for source in calls}
        assert call.detail.event_name in named

    return parsed


def a_finding(event: Any) -> None:
    finding = Finding(
        concern=Concern(event["detail"]["concern"]),
        **{name: event["detail"][name] for name in ("region", "subject", "what", "told", "next_step")},
    )
    at = instants.parse(event["detail"]["at"])
    assert event["detail-type"] in (published.FINDING_BEGUN, published.FINDING_OVER)
    assert event["detail"] == published.finding(finding, account=ACCOUNT, at=at)


VOLUME = (Kind.VOLUME, "vol-0a1b2c3d4e5f60718")

REGISTRY: Mapping[str, Callable[[Any], None]] = {
    "alarm_of_a_failure": an_alarm(is_alarm=True, on=((Kind.DATABASE, "orders"),)),
    "alarm_on_a_volume": an_alarm(is_alarm=True, on=(VOLUME,)),
    "alarm_on_metric_math": an_alarm(
        is_alarm=True, on=((Kind.INSTANCE, "i-0f1e2d3c4b5a69788"), (Kind.DATABASE, "orders"))
    ),
    "alarm_recovered": an_alarm(is_alarm=False, on=(VOLUME,)),
    "call_db_cluster_snapshot_shared": a_logged_call(shared=(Family.CLUSTER, "holdfast-89abcdef0123456789abcdef")),
    "call_db_snapshot_shared": a_logged_call(shared=(Family.DATABASE, "holdfast-0123456789abcdef01234567")),
    "call_key_deletion_scheduled": a_logged_call(shared=None),
    "call_snapshot_shared": a_logged_call(shared=(Family.EBS, "snap-0a1b2c3d4e5f60718")),
    "execution_recover": a_request_to_recover,
    "execution_recover_set": a_request_for_a_set,
    "execution_swap_names": a_swap,
    "notice_ebs_copy_failed": a_notice,
    "notice_ebs_instance_snapshots_created": a_notice,
    "notice_ebs_snapshot_copied": a_notice,
    "notice_ebs_snapshot_created": a_notice,
    "notice_rds_cluster_snapshot_created": a_notice,
    "notice_rds_snapshot_copied": a_notice,
    "notice_rds_snapshot_created": a_notice,
    "published_finding_begun": a_finding,
    "published_finding_over": a_finding,
    "published_recovery_recorded": a_recovery_recorded,
    "published_rehearsal_recorded": a_rehearsal_recorded,
    "published_run_scored": a_run_scored,
    "schedule_tick": a_tick,
    "sqs_copy_orders": orders(CopyOrder, Kind.VOLUME, Kind.DATABASE),
    "sqs_notices": some_notices,
    "sqs_snapshot_orders": orders(SnapshotOrder, Kind.VOLUME, Kind.INSTANCE, Kind.DATABASE, Kind.CLUSTER),
    "stream_run_closed": a_stream,
    "workflow_answer_approval": an_answer,
    "workflow_ask_approval": a_question,
    "workflow_check_recovery": a_recovery,
    "workflow_check_restore": a_rehearsal,
    "workflow_choose_recovery": a_choice_of_a_point,
    "workflow_choose_recovery_of_a_snapshot": a_choice_of_a_point,
    "workflow_choose_rehearsal": a_request_for_a_rehearsal,
    "workflow_choose_rehearsal_asked_for": a_request_for_a_rehearsal,
    "workflow_configure_recovery": a_recovery,
    "workflow_follow_deep_check": a_rehearsal,
    "workflow_hold_point": a_hold,
    "workflow_inspect_content": a_rehearsal,
    "workflow_note_set": a_set_to_note,
    "workflow_note_set_again": a_set_to_note,
    "workflow_plan_recovery": a_recovery,
    "workflow_read_set": a_set_to_read,
    "workflow_record_recovery": a_recovery,
    "workflow_record_recovery_that_broke": a_broken_recovery,
    "workflow_record_rehearsal": a_rehearsal,
    "workflow_record_rehearsal_that_broke": a_broken_rehearsal,
    "workflow_remove_recovery": a_recovery,
    "workflow_remove_restore": a_rehearsal,
    "workflow_start_deep_check": a_rehearsal,
    "workflow_start_recovery": a_recovery,
    "workflow_start_restore": a_rehearsal,
    "workflow_stop_recovery": a_stop,
    "workflow_swap_names": lambda event: a_swap(event["input"]),
    "workflow_verify_database": a_rehearsal,
    "workflow_verify_recovery": a_recovery,
    "workflow_verify_volume": a_rehearsal,
}


@pytest.mark.parametrize("name", REGISTRY)
def test_an_example_is_read_and_written_again_as_it_was(name: str) -> None:
    REGISTRY[name](example(name))


def test_every_example_is_parsed_and_everything_that_is_parsed_has_an_example() -> None:
    assert {path.stem for path in EVENTS.glob("*.json")} == set(REGISTRY)
