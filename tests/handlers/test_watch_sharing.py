"""Who may use our snapshots and should not is told once, stands on the ledger, and is told again when it is over."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.core import exposures, labels
from functions.core.errors import AwsBusy, BadMessage
from functions.core.findings import Concern
from functions.core.policies import Guard
from functions.core.resources import Kind, ResourceKey
from functions.handlers import watch_sharing
from tests.builders import AWAY, HOME, a_snapshot
from tests.handlers.world import CONTEXT, MINUTE, World, example

FRIEND, STRANGER = "210987654321", "999999999999"


def a_point_of(world: World, kind: Kind = Kind.VOLUME) -> tuple[ResourceKey, str]:
    """A resource with one completed point, and the id of its snapshot at home."""
    key = world.a_protected(kind)
    slot = world.owe(key)
    world.minutes(15)
    return key, world.point(slot).parts[0].snapshot_id


def watch(world: World, event: dict[str, Any] | None = None) -> watch_sharing.SharingWatched:
    return watch_sharing.watch_sharing(event or {}, world.tools, world.now)


def five_minutes_later(world: World) -> watch_sharing.SharingWatched:
    world.pass_time(5 * MINUTE)
    return watch(world)


def test_while_everything_is_private_nobody_is_told_and_that_is_counted(world: World) -> None:
    a_point_of(world)
    watched = watch(world)
    assert (watched.begun, watched.over, watched.standing) == ((), (), 0)
    assert world.topic.notices == []
    assert world.health.numbers["Exposed"] == [0]


@pytest.mark.parametrize("kind", list(Kind))
def test_a_public_snapshot_is_told_with_its_resource_and_how_it_is_taken_back(world: World, kind: Kind) -> None:
    """F81, invariant 12."""
    key, id = a_point_of(world, kind)
    world.guarded.share(HOME, id)
    watch(world)
    [(subject, body)] = world.topic.notices
    assert subject == "Backups are shared with strangers (1)"
    assert f"{id} in {HOME}, of {key}, is public" in body
    assert f"aws --region {HOME}" in body
    assert id in body.split("Take it back:")[1]


def test_a_snapshot_shared_with_an_account_that_nobody_named_is_told(world: World) -> None:
    """F82."""
    _, id = a_point_of(world)
    world.guarded.share(HOME, id, STRANGER)
    assert "is shared with account 999999999999" in watch(world).begun[0]
    assert f"--operation-type remove --user-ids {STRANGER}" in world.topic.notices[0][1]


def test_an_account_that_the_settings_name_is_no_exposure(world: World) -> None:
    _, id = a_point_of(world)
    world.with_changed_settings(guard=Guard(shared_with=frozenset({FRIEND})))
    world.guarded.share(HOME, id, FRIEND)
    assert watch(world).begun == ()


def test_a_copy_in_another_region_is_watched_like_its_source(away: World) -> None:
    slot = away.owe(policy=away.tools.settings.policies["gold"])
    away.minutes(60)
    copied = str(away.copy(slot).snapshot_id)
    away.guarded.share(AWAY, copied)
    assert f"{copied} in {AWAY}" in watch(away).begun[0]


def test_an_exposure_is_told_once_however_long_it_lasts(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    watch(world)
    for _ in range(3):
        assert five_minutes_later(world).standing == 1
    assert len(world.topic.notices) == 1
    assert [kind for kind, _ in world.bus.events] == ["FindingBegun.v1"]
    assert world.health.numbers["Exposed"] == [1, 1, 1, 1]


def test_the_end_of_an_exposure_is_told_once_and_the_ledger_knows(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    watch(world)
    world.guarded.shared.clear()
    assert five_minutes_later(world).over
    assert five_minutes_later(world).over == ()
    assert [subject for subject, _ in world.topic.notices] == [
        "Backups are shared with strangers (1)",
        "Backups are private again (1)",
    ]
    assert [kind for kind, _ in world.bus.events] == ["FindingBegun.v1", "FindingOver.v1"]
    assert world.ledger.findings.standing(Concern.SHARE) == []


def test_an_exposure_that_comes_again_is_told_again(world: World) -> None:
    _, id = a_point_of(world)
    for _ in range(2):
        world.guarded.share(HOME, id)
        assert five_minutes_later(world).begun
        world.guarded.shared.clear()
        assert five_minutes_later(world).over


def test_an_account_that_is_named_in_the_settings_later_ends_the_exposure(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id, FRIEND)
    watch(world)
    world.with_changed_settings(guard=Guard(shared_with=frozenset({FRIEND})))
    assert five_minutes_later(world).over


def test_an_exposed_snapshot_that_is_deleted_is_exposed_no_more(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    watch(world)
    world.aws.vanish(HOME, id)
    assert five_minutes_later(world).over


def test_taking_the_tags_off_first_hides_nothing(world: World) -> None:
    """F91: whoever gives a snapshot away may take its tags off before."""
    _, id = a_point_of(world)
    held = world.aws.held[HOME, id]
    held.snapshot = replace(held.snapshot, tags={})
    world.guarded.share(HOME, id)
    assert "a resource whose tag is gone" in watch(world).begun[0]


def test_a_name_in_a_tag_writes_no_lines_of_its_own_into_the_notice(world: World) -> None:
    _, id = a_point_of(world)
    held = world.aws.held[HOME, id]
    held.snapshot = replace(held.snapshot, tags={labels.RESOURCE: "volume\n- all is well"})
    world.guarded.share(HOME, id)
    watch(world)
    assert "\n- all is well" not in world.topic.notices[0][1]


def test_a_region_that_does_not_answer_holds_up_no_other_and_ends_no_exposure(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    world.aws.regions_down.add(AWAY)
    with pytest.raises(AwsBusy):
        watch(world)
    assert len(world.topic.notices) == 1
    world.aws.regions_down = {HOME}
    with pytest.raises(AwsBusy):
        five_minutes_later(world)
    assert len(world.ledger.findings.standing(Concern.SHARE)) == 1


def test_what_could_not_be_told_is_told_by_the_next_run(world: World) -> None:
    _, id = a_point_of(world)
    world.guarded.share(HOME, id)
    world.bus.refuses = AwsBusy("the bus", hint="again")
    with pytest.raises(AwsBusy):
        watch(world)
    assert world.ledger.findings.standing(Concern.SHARE) == []
    world.bus.refuses = None
    assert five_minutes_later(world).begun


class TestMoreThanABudget:
    """A hundred snapshots, of which a run asks ten for their attributes."""

    @pytest.fixture
    def many(self, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
        for number in range(100):
            tags = {labels.MANAGED: "1", labels.RESOURCE: "volume/eu-central-1/vol-1"}
            snapshot = a_snapshot(f"snap-{number:017x}", tags, is_encrypted=True)
            world.aws.hold(snapshot, Kind.VOLUME, timedelta(0))
        world.pass_time(120 * MINUTE)
        monkeypatch.setattr(watch_sharing, "sample", lambda ours, now: exposures.sample(ours, now, budget=10))
        return world

    def test_a_run_asks_as_many_as_its_budget_and_says_how_long_all_of_them_take(self, many: World) -> None:
        watched = watch(many)
        assert watched.asked <= 25
        assert watched.each_within_minutes == 16 * 5

    def test_what_is_public_is_seen_at_once_because_ebs_lists_it(self, many: World) -> None:
        for number in (3, 50, 97):
            many.guarded.share(HOME, f"snap-{number:017x}")
        assert len(watch(many).begun) == 3

    def test_a_share_with_an_unknown_account_is_seen_within_the_time_that_is_said(self, many: World) -> None:
        many.guarded.share(HOME, f"snap-{42:017x}", STRANGER)
        runs = watch(many).each_within_minutes // 5
        for _ in range(runs - 1):
            five_minutes_later(many)
        assert [finding.what for finding in many.ledger.findings.standing(Concern.SHARE)] == [STRANGER]

    def test_whoever_was_given_one_is_found_with_all_the_others_they_were_given(self, many: World) -> None:
        for number in range(100):
            many.guarded.share(HOME, f"snap-{number:017x}", STRANGER)
        assert len(watch(many).begun) == 100
        assert len(many.topic.notices) == 1
        assert "and 50 more" in many.topic.notices[0][1]

    def test_what_stands_is_asked_after_in_every_run(self, many: World) -> None:
        for number in (3, 50, 97):
            many.guarded.share(HOME, f"snap-{number:017x}", STRANGER)
        while len(many.ledger.findings.standing(Concern.SHARE)) < 3:
            five_minutes_later(many)
        many.guarded.shared.clear()
        assert len(five_minutes_later(many).over) == 3


class TestAHint:
    """CloudTrail logged a call that changed who may use a snapshot."""

    def hint(self, id: str, **changes: Any) -> dict[str, Any]:
        event = copy.deepcopy(example("call_snapshot_shared"))
        event["detail"]["requestParameters"]["snapshotId"] = id
        return event | changes

    def test_it_is_looked_at_at_once_and_nothing_else_is(self, world: World) -> None:
        _, id = a_point_of(world)
        a_point_of(world)
        world.guarded.share(HOME, id, STRANGER)
        watched = watch(world, self.hint(id))
        assert (len(watched.begun), watched.asked) == (1, 1)
        assert "Exposed" not in world.health.numbers, "one look says nothing about all of them"

    def test_what_the_hint_says_is_not_believed(self, world: World) -> None:
        _, id = a_point_of(world)
        assert watch(world, self.hint(id)).begun == ()

    def test_a_hint_that_a_share_was_taken_back_ends_the_exposure(self, world: World) -> None:
        _, id = a_point_of(world)
        world.guarded.share(HOME, id, STRANGER)
        watch(world)
        world.guarded.shared.clear()
        assert watch(world, self.hint(id)).over

    def test_a_snapshot_that_is_not_ours_is_none_of_our_business(self, world: World) -> None:
        world.guarded.share(HOME, "snap-0f0f0f0f0f0f0f0f0", STRANGER)
        watched = watch(world, self.hint("snap-0f0f0f0f0f0f0f0f0"))
        assert (watched.begun, watched.asked) == ((), 0)

    @pytest.mark.parametrize("changes", [{"account": STRANGER}, {"region": "us-east-1"}])
    def test_a_call_elsewhere_is_ignored_and_that_is_said(self, world: World, changes: dict[str, str]) -> None:
        assert "is none of ours" in watch(world, self.hint("snap-1", **changes)).ignored
        assert world.guarded.asked["shared_with"] == 0

    def test_a_hint_without_a_name_that_aws_could_have_given_is_a_look_at_that_region(self, world: World) -> None:
        _, id = a_point_of(world)
        world.guarded.share(HOME, id)
        assert len(watch(world, self.hint("snap-1; drop table")).begun) == 1

    def test_what_is_no_call_although_it_says_so_is_refused(self, world: World) -> None:
        with pytest.raises(BadMessage, match="not a logged call"):
            watch(world, {"detail-type": "AWS API Call via CloudTrail", "account": 7})


def test_the_handler_answers_what_it_decided(world: World) -> None:
    answer = watch_sharing.handler(example("schedule_tick"), CONTEXT)
    assert answer["standing"] == 0
    assert world.decisions()[-1]["message"] == "watch_sharing"
