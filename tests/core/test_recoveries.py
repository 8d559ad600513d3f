"""Which point serves a request to restore, and why."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.core.points import Copy, Point, Status
from functions.core.recoveries import (
    Chosen,
    Newest,
    RecoveryRequest,
    Source,
    choose,
    identity,
    name_for,
)
from functions.core.resources import Kind
from tests.builders import AWAY, FAR, HOME, a_copy, a_key, a_part, a_point, ago

OLD, NEW = a_point(ago(days=2)), a_point(ago(hours=3))
DAY = timedelta(days=1)


def a_request(**changes: Any) -> RecoveryRequest:
    return RecoveryRequest(**{"resource": a_key(), "region": AWAY} | changes)


def chosen(
    request: RecoveryRequest,
    points: list[Point],
    copies: list[Copy] | None = None,
    *,
    verified: list[Point] | None = None,
    log: Newest | None = None,
) -> Chosen | str:
    copies = [a_copy(point) for point in points] if copies is None else copies
    return choose(
        request,
        points,
        copies,
        verified=frozenset(point.slot.key for point in verified or []),
        rpo=DAY,
        log=log,
    )


def the_chosen(*args: Any, **known: Any) -> Chosen:
    found = chosen(*args, **known)
    assert isinstance(found, Chosen), found
    return found


def test_the_latest_good_point_is_the_newest_complete_one_with_its_reason() -> None:
    found = the_chosen(a_request(), [OLD, NEW])
    assert found.slot == NEW.slot
    assert found.source is Source.COPY
    assert found.snapshot_ids == (a_copy(NEW).snapshot_id,)
    assert "newest complete point that nothing speaks against" in found.reason
    assert "none was proven" in found.reason


def test_a_verified_point_goes_first_where_it_costs_at_most_one_rpo() -> None:
    older = a_point(ago(hours=20))
    found = the_chosen(a_request(), [older, NEW], verified=[older])
    assert found.slot == older.slot
    assert found.is_verified
    assert "proven to restore, and is only 17 h 0 min older" in found.reason


def test_a_verified_point_that_would_lose_more_than_one_rpo_does_not() -> None:
    found = the_chosen(a_request(), [OLD, NEW], verified=[OLD])
    assert found.slot == NEW.slot
    assert not found.is_verified
    assert "the newest one proven to restore is 45 h 0 min older" in found.reason


def test_who_wants_a_proven_point_gets_one_or_hears_that_there_is_none() -> None:
    assert the_chosen(a_request(must_be_verified=True), [OLD, NEW], verified=[OLD]).slot == OLD.slot
    refused = chosen(a_request(must_be_verified=True), [OLD, NEW])
    assert isinstance(refused, str)
    assert "proven to restore" in refused


def test_a_held_point_is_passed_over_and_named() -> None:
    held = replace(NEW, is_held=True)
    found = the_chosen(a_request(), [OLD, held])
    assert found.slot == OLD.slot
    assert [(one.slot_at, one.reason) for one in found.passed_over] == [
        (held.slot.at, "it is held: something about it is suspicious")
    ]


def test_a_held_point_is_restored_when_a_person_names_it() -> None:
    held = replace(NEW, is_held=True)
    found = the_chosen(a_request(slot_at=held.slot.at), [OLD, held])
    assert found.slot == held.slot
    assert "asked for" in found.reason


def test_before_means_the_content_and_not_the_slot() -> None:
    late = a_point(ago(hours=5), parts=(a_part("snap-9", consistent_at=ago(hours=1)),))
    found = the_chosen(a_request(before=ago(hours=2)), [OLD, late])
    assert found.slot == OLD.slot
    assert "not older than" in found.passed_over[0].reason


@pytest.mark.parametrize("status", [s for s in Status if s not in (Status.COMPLETED, Status.GONE)])
def test_a_point_that_is_not_complete_is_passed_over(status: Status) -> None:
    assert the_chosen(a_request(), [OLD, replace(NEW, status=status)]).slot == OLD.slot


def test_a_point_whose_snapshot_is_gone_at_home_is_restored_from_its_copy() -> None:
    gone = replace(NEW, status=Status.GONE)
    assert the_chosen(a_request(), [OLD, gone]).slot == gone.slot
    never_complete = replace(gone, completed_at=None)
    assert the_chosen(a_request(), [OLD, never_complete]).slot == OLD.slot
    assert the_chosen(a_request(region=HOME), [OLD, gone], []).slot == OLD.slot


def test_a_point_without_all_of_its_copies_here_is_passed_over() -> None:
    parts = tuple(a_part(f"snap-{n}", source_id=f"vol-{n}") for n in range(2))
    half = a_point(ago(hours=1), parts=parts)
    found = the_chosen(a_request(), [OLD, half], [a_copy(OLD), a_copy(half, part=0)])
    assert found.slot == OLD.slot
    whole = the_chosen(a_request(), [OLD, half], [a_copy(OLD), a_copy(half, part=1), a_copy(half, part=0)])
    assert whole.snapshot_ids == ("copy-of-snap-0", "copy-of-snap-1")
    assert whole.source_ids == ("vol-0", "vol-1")


def test_at_home_the_snapshot_itself_is_restored() -> None:
    found = the_chosen(a_request(region=HOME), [NEW], [])
    assert found.source is Source.HOME
    assert found.snapshot_ids == (NEW.parts[0].snapshot_id,)


def test_a_region_without_copies_is_refused_with_what_was_seen() -> None:
    refused = chosen(a_request(region=FAR), [OLD, NEW])
    assert isinstance(refused, str)
    assert f"can be restored in {FAR}" in refused
    assert f"not all of it was copied to {FAR}" in refused


def test_nothing_at_all_is_said_so() -> None:
    refused = chosen(a_request(), [])
    assert isinstance(refused, str)
    assert "the ledger has none" in refused


def test_a_point_somebody_names_and_that_does_not_exist_is_refused() -> None:
    refused = chosen(a_request(slot_at=ago(days=9)), [OLD, NEW])
    assert isinstance(refused, str)
    assert "from 2026-11-11 12:00 UTC" in refused


DATABASE = a_key(Kind.DATABASE)
LOG = Newest(at=ago(minutes=4), source_id="orders")


def a_database_point(**changes: Any) -> Point:
    return a_point(ago(hours=3), resource=DATABASE, **changes)


def test_the_databases_own_log_is_taken_where_it_loses_less() -> None:
    found = the_chosen(a_request(resource=DATABASE), [a_database_point()], log=LOG)
    assert found.source is Source.POINT_IN_TIME
    assert (found.region, found.snapshot_ids, found.source_ids) == (HOME, (), ("orders",))
    assert found.content_at == LOG.at
    assert "reaches 2 h 55 min further" in found.reason


def test_before_an_instant_the_log_stops_just_short_of_it() -> None:
    found = the_chosen(a_request(resource=DATABASE, before=ago(hours=1)), [a_database_point()], log=LOG)
    assert found.source is Source.POINT_IN_TIME
    assert found.content_at == ago(hours=1) - timedelta(seconds=1)


@pytest.mark.parametrize(
    "request_",
    [
        a_request(resource=DATABASE, may_use_point_in_time=False),
        a_request(resource=DATABASE, slot_at=ago(hours=3)),
        a_request(resource=DATABASE, must_be_verified=True),
    ],
)
def test_the_log_is_left_alone_when_it_is_not_what_was_asked_for(request_: RecoveryRequest) -> None:
    point = a_database_point()
    assert the_chosen(request_, [point], verified=[point], log=LOG).source is Source.COPY


def test_the_log_is_not_trusted_past_a_suspicious_point() -> None:
    suspicious = a_point(ago(hours=1), resource=DATABASE, is_held=True)
    found = the_chosen(a_request(resource=DATABASE), [a_database_point(), suspicious], log=LOG)
    assert found.source is Source.COPY


def test_the_configuration_saved_with_the_point_comes_along() -> None:
    point = a_point(configuration={"instance_class": "db.m7g.large"})
    assert the_chosen(a_request(), [point]).configuration == {"instance_class": "db.m7g.large"}


def test_a_recovery_has_one_identity_however_often_its_execution_starts_over() -> None:
    assert identity("run-1", "volume/a/b") == identity("run-1", "volume/a/b")
    assert len({identity("run-1", "a"), identity("run-1", "b"), identity("run-2", "a")}) == 3


@pytest.mark.parametrize("source", ["orders", "O" * 80, "a-" * 40, "orders--eu"])
def test_the_name_of_a_restored_database_is_legal_and_not_the_originals(source: str) -> None:
    name = name_for(source, identity("run-1", source))
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", name)
    assert len(name) <= 63
    assert name != source


def test_content_without_a_known_instant_is_as_old_as_its_creation() -> None:
    assert the_chosen(a_request(), [NEW]).content_at == NEW.created_at
