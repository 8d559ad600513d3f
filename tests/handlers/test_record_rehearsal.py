"""The result is on the ledger and on the bus; a person hears when it is not fit."""

from __future__ import annotations

import pytest

from functions.core.errors import AwsBusy
from functions.core.evidence import Assertion, Fitness, judge
from functions.core.holds import HeldBy, Hold, Release, in_force
from functions.core.points import Point
from functions.core.rehearsals import ContentRead, Rehearsal
from functions.handlers import record_rehearsal
from tests.builders import AWAY, a_key, a_point, a_slot
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import CONTEXT, HOUR, MINUTE, World, example

FIT = judge([Assertion(what="the same content", held=True, detail="8 of 8 blocks")])
UNFIT = judge([Assertion(what="the same content", held=False, detail="block 7 differs")])
CAUGHT = 'QuotaReached: {"errorMessage": "100 instances\\nHint: Raise the quota.", "errorType": "QuotaReached"}'


def record(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return record_rehearsal.record_rehearsal(rehearsal, world.tools, world.now)


def test_a_fit_rehearsal_is_recorded_and_wakes_nobody(world: World) -> None:
    recorded = record(world, a_rehearsal(evidence=FIT, started_at=world.now))
    assert world.ledger.stories.rehearsals(a_key()) == [recorded]
    assert list(world.ledger.stories.rehearsed_in(AWAY)) == [recorded]
    assert [kind for kind, _ in world.bus.events] == ["RehearsalRecorded.v1"]
    assert world.topic.notices == []


def test_an_unfit_rehearsal_is_told_with_what_was_seen_and_what_to_do(world: World) -> None:
    record(world, a_rehearsal(evidence=UNFIT, started_at=world.now))
    [(subject, body)] = world.topic.notices
    assert subject == "Rehearsal of volume/eu-central-1/vol-0a1b2c3d4e5f60718: unfit"
    assert "block 7 differs" in body
    assert '{"resource": "volume/eu-central-1/vol-0a1b2c3d4e5f60718", "slot": "2026-11-20T12:00:00Z"}' in body


def test_one_that_broke_off_is_undecided_and_says_what_was_caught(world: World) -> None:
    """F70: not a failed backup, and never rounded up to fit."""
    recorded = record(world, a_rehearsal(problem=CAUGHT, started_at=world.now))
    assert recorded.evidence is not None
    assert recorded.evidence.fitness is Fitness.UNDECIDED
    assert recorded.problem == "QuotaReached: 100 instances\nHint: Raise the quota."
    assert "Hint: Raise the quota." in world.topic.notices[0][1]


def test_a_cause_that_the_workflow_cut_off_is_told_as_it_is(world: World) -> None:
    recorded = record(world, a_rehearsal(problem='QuotaReached: {"errorMessage": "100 inst', started_at=world.now))
    assert recorded.problem == 'QuotaReached: {"errorMessage": "100 inst'


def test_one_that_was_checked_by_nobody_is_undecided(world: World) -> None:
    """F75."""
    recorded = record(world, a_rehearsal(started_at=world.now))
    assert recorded.evidence is not None
    assert (recorded.evidence.fitness, recorded.evidence.reason) == (Fitness.UNDECIDED, "nothing was checked")


def test_what_aws_said_of_the_restore_is_told(world: World) -> None:
    recorded = record(world, a_rehearsal(problem="vol-1 is failed: EC2 says error", started_at=world.now))
    assert recorded.evidence is not None
    assert "EC2 says error" in recorded.evidence.reason


def test_a_rehearsal_that_broke_after_its_checks_keeps_its_evidence(world: World) -> None:
    """What was measured was measured; only the removal may have failed since."""
    recorded = record(world, a_rehearsal(evidence=UNFIT, problem=CAUGHT, started_at=world.now))
    assert recorded.evidence == UNFIT
    assert "QuotaReached" in recorded.problem


def test_one_recorded_twice_is_told_once(world: World) -> None:
    """F30."""
    unfit = a_rehearsal(evidence=UNFIT, started_at=world.now)
    for _ in range(2):
        record(world, unfit)
        world.pass_time(MINUTE)
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)
    assert len(world.ledger.stories.rehearsals(a_key())) == 1


def test_one_that_never_started_is_recorded_once_too(world: World) -> None:
    """F30: choosing succeeded, starting was refused; there is no start to name it by."""
    for _ in range(2):
        record(world, a_rehearsal(problem=CAUGHT))
        world.pass_time(MINUTE)
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)
    assert len(world.ledger.stories.rehearsals(a_key())) == 1


def test_one_whose_record_was_cut_off_is_told_when_it_is_tried_again(world: World) -> None:
    """F19: an unfit point that nobody hears of is the worst that a rehearsal can do."""
    unfit = a_rehearsal(evidence=UNFIT, started_at=world.now)
    world.bus.refuses = AwsBusy("no answer from EventBridge", hint="Again.")
    with pytest.raises(AwsBusy):
        record(world, unfit)
    world.bus.refuses = None
    record(world, unfit)
    assert (len(world.bus.events), len(world.topic.notices)) == (1, 1)


class TestTheHold:
    """What a rehearsal shows holds its point, or ends what somebody suspected."""

    def point(self, world: World) -> Point:
        assert world.ledger.points.adopt(a_point())
        [point] = world.ledger.points.of(a_key())
        return point

    def held(self, world: World) -> list[HeldBy]:
        return [hold.by for hold in in_force(world.ledger.holds.of(a_key())).values()]

    def hold(self, world: World, by: HeldBy) -> None:
        world.ledger.holds.hold(Hold(slot=a_slot(), by=by, because="unusual", at=world.now - MINUTE))

    def test_an_unfit_one_holds_the_point_and_says_so(self, world: World) -> None:
        self.point(world)
        record(world, a_rehearsal(evidence=UNFIT, started_at=world.now))
        [hold] = in_force(world.ledger.holds.of(a_key())).values()
        assert (hold.by, hold.slot) == (HeldBy.REHEARSAL, a_slot())
        assert "block 7 differs" in hold.because
        assert [point.is_held for point in world.ledger.points.of(a_key())] == [True]
        assert "The point is held" in world.topic.notices[0][1]
        assert "holdfast-hold" in world.topic.notices[0][1]

    def test_an_undecided_one_holds_nothing(self, world: World) -> None:
        """A quota that was reached says nothing against the point."""
        record(world, a_rehearsal(problem=CAUGHT, started_at=world.now))
        assert self.held(world) == []
        assert "The point is held" not in world.topic.notices[0][1]

    @pytest.mark.parametrize("by", [HeldBy.VERDICT, HeldBy.REHEARSAL])
    def test_a_fit_one_releases_what_was_suspected_or_shown_before(self, world: World, by: HeldBy) -> None:
        self.hold(world, by)
        record(world, a_rehearsal(evidence=FIT, started_at=world.now))
        assert self.held(world) == []
        released = world.ledger.holds.of(a_key())[-1]
        assert isinstance(released, Release)
        assert "found it fit: 1 of 1 checks held" in released.because

    def test_a_fit_one_does_not_release_what_a_person_holds(self, world: World) -> None:
        self.hold(world, HeldBy.PERSON)
        record(world, a_rehearsal(evidence=FIT, started_at=world.now))
        assert self.held(world) == [HeldBy.PERSON]

    def test_a_persons_hold_on_a_suspicious_point_stays_as_well(self, world: World) -> None:
        world.ledger.holds.hold(Hold(slot=a_slot(), by=HeldBy.VERDICT, because="unusual", at=world.now - HOUR))
        self.hold(world, HeldBy.PERSON)
        record(world, a_rehearsal(evidence=FIT, started_at=world.now))
        assert self.held(world) == [HeldBy.PERSON]

    def test_an_undecided_one_releases_nothing(self, world: World) -> None:
        self.hold(world, HeldBy.VERDICT)
        record(world, a_rehearsal(started_at=world.now))
        assert self.held(world) == [HeldBy.VERDICT]

    def test_a_fit_one_of_a_point_that_nobody_holds_writes_nothing(self, world: World) -> None:
        record(world, a_rehearsal(evidence=FIT, started_at=world.now))
        assert world.ledger.holds.of(a_key()) == []

    def test_the_hold_of_another_point_stays(self, world: World) -> None:
        other = a_slot(world.now - HOUR)
        world.ledger.holds.hold(Hold(slot=other, by=HeldBy.VERDICT, because="unusual", at=world.now))
        record(world, a_rehearsal(evidence=FIT, started_at=world.now))
        assert set(in_force(world.ledger.holds.of(a_key()))) == {other.key}


def test_what_reading_took_and_cost_is_on_the_record(world: World) -> None:
    content = ContentRead(
        source_id="vol-1",
        snapshot_id="copy-1",
        file_systems=("ext4", "xfs"),
        metadata_blocks=46,
        read_blocks=611,
        listed_pages=21,
        price_usd=0.001846,
        change_shares={"unexplained_files": 0.25},
    )
    record(world, a_rehearsal(evidence=FIT, started_at=world.now, contents=(content,)))
    [past] = world.ledger.stories.rehearsals(a_key())
    assert past.contents == (content,)


def test_the_records_of_the_examples_are_written(world: World) -> None:
    """As Lambda calls it."""
    answer = record_rehearsal.handler(example("workflow_record_rehearsal"), CONTEXT)
    assert answer["rehearsal"]["evidence"]["fitness"] == "fit"
    assert world.bus.events == [("RehearsalRecorded.v1", example("published_rehearsal_recorded")["detail"])]
    broken = record_rehearsal.handler(example("workflow_record_rehearsal_that_broke"), CONTEXT)
    assert broken["rehearsal"]["evidence"]["fitness"] == "undecided"
    assert [subject for subject, _ in world.topic.notices] == ["Rehearsal of database/eu-central-1/orders: undecided"]
