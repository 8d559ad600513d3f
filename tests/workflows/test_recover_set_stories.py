"""A set walked group by group: order, partial failure, and a redrive that does nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from functions.contracts import wire
from functions.core.recovery_sets import Outcome, RecoverySet, again, noted
from tests.workflows.walk import Handler, HandlerError, Uncaught, Walk, choosing, raising


def member(resource: str, group: int) -> dict[str, Any]:
    given = {"resource": resource, "part_of": "set-1"}
    return {"resource": resource, "group": group, "given": given, "state": "pending", "told": ""}


def a_set(*groups: list[str], when_one_fails: str = "stop", is_dry_run: bool = False) -> dict[str, Any]:
    members = [member(resource, number) for number, group in enumerate(groups, start=1) for resource in group]
    known = {"id": "set-1", "members": members, "when_one_fails": when_one_fails, "is_dry_run": is_dry_run}
    return known | {"group": 1, "step": "group", "problem": ""}


def note(event: dict[str, Any]) -> dict[str, Any]:
    """As note_set decides: with the real decision, and nobody told."""
    whole = wire.read(RecoverySet, event["recoveryset"])
    if event.get("again"):
        return {"recoveryset": wire.plain(again(whole))}
    return {"recoveryset": wire.plain(noted(whole, [wire.read(Outcome, one) for one in event["outcomes"]]))}


def stops(event: dict[str, Any]) -> dict[str, Any]:
    if event["redrives"] > event["redrives_then"]:
        return {"what": event["what"], "redrives": event["redrives"]}
    raise HandlerError("RecoveryStopped", event["problem"])


class Members:
    """The nested executions: those of these resources fail until they are mended."""

    def __init__(self, *broken: str) -> None:
        self.broken = set(broken)
        self.began: list[str] = []

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        self.began.append(given["resource"])
        if given["resource"] in self.broken:
            raise HandlerError("States.TaskFailed", '{"Error":"RecoveryStopped"}')
        return {"resource": given["resource"], "told": f"restored {given['resource']}"}


def scripted(members: Members, whole: dict[str, Any], **other: Handler) -> Walk:
    answers: dict[str, Handler] = {
        "ReadSet": choosing(recoveryset=whole),
        "Recover": members,
        "NoteSet": note,
        "StopRecovery": stops,
    }
    return Walk("recover_set", answers={**answers, **other})


def test_groups_go_one_after_the_other_in_the_order_stated() -> None:
    members = Members()
    walk = scripted(members, a_set(["db"], ["vol-1", "vol-2"]))
    assert walk.run({}) == "Set recovered"
    assert members.began == ["db", "vol-1", "vol-2"]
    assert [(one["resource"], one["state"], one["told"]) for one in walk.output["members"]] == [
        ("db", "recovered", "restored db"),
        ("vol-1", "recovered", "restored vol-1"),
        ("vol-2", "recovered", "restored vol-2"),
    ]


def test_one_member_alone_is_a_set_too() -> None:
    assert scripted(Members(), a_set(["db"])).run({}) == "Set recovered"


def test_every_member_is_told_that_it_is_part_of_the_set() -> None:
    walk = scripted(Members(), a_set(["db"], ["vol-1"]))
    walk.run({})
    assert {given["part_of"] for given in walk.sent["Recover"]} == {"set-1"}


def test_a_failed_member_stops_no_other_of_its_group_and_holds_the_next_group_back() -> None:
    members = Members("vol-1")
    walk = scripted(members, a_set(["vol-1", "vol-2"], ["db"]))
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert members.began == ["vol-1", "vol-2"]
    assert "1 of 3 failed; 1 in later groups were not begun" in walk.sent["StopRecovery"][0]["problem"]


def test_a_redrive_begins_only_what_failed_and_what_had_to_wait() -> None:
    members = Members("vol-1")
    walk = scripted(members, a_set(["vol-1", "vol-2"], ["db"]))
    with pytest.raises(Uncaught):
        walk.run({})
    members.broken.clear()
    members.began.clear()
    assert walk.redrive() == "Set recovered"
    assert members.began == ["vol-1", "db"]


def test_a_redrive_that_mends_nothing_stops_again() -> None:
    members = Members("vol-1")
    walk = scripted(members, a_set(["vol-1"], ["db"]))
    for _ in range(3):
        with pytest.raises(Uncaught, match="RecoveryStopped"):
            walk.redrive() if walk.stopped_in else walk.run({})
    assert members.began == ["vol-1"] * 3


def test_who_says_so_goes_on_with_the_other_groups() -> None:
    members = Members("vol-1")
    walk = scripted(members, a_set(["vol-1"], ["db"], when_one_fails="go on"))
    with pytest.raises(Uncaught, match="RecoveryStopped"):
        walk.run({})
    assert members.began == ["vol-1", "db"]


def test_a_dry_run_shows_the_obstacles_of_every_group() -> None:
    members = Members("vol-1", "db")
    walk = scripted(members, a_set(["vol-1"], ["db"], is_dry_run=True))
    with pytest.raises(Uncaught):
        walk.run({})
    assert members.began == ["vol-1", "db"]
    assert "2 of 2 failed" in walk.sent["StopRecovery"][0]["problem"]


def test_an_input_that_does_not_hold_begins_nothing() -> None:
    walk = scripted(Members(), a_set(["db"]), ReadSet=raising("BadMessage", "groups: Field required"))
    assert walk.run({}) == "Nothing was begun"
    assert walk.cause == "BadMessage: groups: Field required"


def test_a_set_that_cannot_be_noted_ends_red() -> None:
    walk = scripted(Members(), a_set(["db"]), NoteSet=raising("Broken", "our mistake"))
    assert walk.run({}) == "Set broke"
    assert walk.cause == "Broken: our mistake"
