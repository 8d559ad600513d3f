"""From the order to the removal: each step may be repeated, and each check has three ways out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from functions.aws.blocks import Comparison
from functions.aws.databases.checks import DatabaseEvidence
from functions.contracts import wire
from functions.core.block_sets import BlockSet
from functions.core.evidence import Assertion, Fitness
from functions.core.rehearsals import TIME_TO_LIVE, Proof, Readiness, Rehearsal
from functions.core.resources import Kind
from functions.core.restores import OF_THE_CONTENT, Restored, RestoreState
from functions.core.snapshots import State
from functions.handlers import check_restore, remove_restore, start_restore, verify_database, verify_volume
from tests.builders import AWAY, HOME, NOON, a_key, a_slot
from tests.handlers.world import CONTEXT, HOUR, MINUTE, World, example


def a_rehearsal(kind: Kind = Kind.VOLUME, **changes: Any) -> Rehearsal:
    """Of two snapshots, as chosen."""
    chosen = Rehearsal(
        id="8c1e2f3a4b5d",
        slot=a_slot(resource=a_key(kind)),
        region=AWAY,
        snapshot_ids=("copy-1", "copy-2"),
        source_snapshot_ids=("snap-1", "snap-2"),
        home_region=HOME,
        policy="gold",
        reason="never rehearsed",
        expires_at=NOON + TIME_TO_LIVE,
    )
    return replace(chosen, **changes)


def a_comparison(*assertions: Assertion) -> Comparison:
    """That of two snapshots without a block."""
    return Comparison(assertions=assertions, source_blocks=BlockSet(), source_checksums={})


def start(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return start_restore.start_restore(rehearsal, world.tools, world.now)


def check(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return check_restore.check_restore(rehearsal, world.tools, world.now)


def remove(world: World, rehearsal: Rehearsal) -> Rehearsal:
    return remove_restore.remove_restore(rehearsal, world.tools, world.now)


def test_a_restore_is_begun_for_every_snapshot_with_its_expiry(world: World) -> None:
    """F73, F76."""
    started = start(world, a_rehearsal())
    [order] = world.tools.restored.orders
    assert (order.rehearsal_id, order.snapshot_ids, order.expires_at) == (
        "8c1e2f3a4b5d",
        ("copy-1", "copy-2"),
        NOON + TIME_TO_LIVE,
    )
    assert [one.snapshot_id for one in started.restored] == ["copy-1", "copy-2"]
    assert started.started_at == world.now


def test_a_restore_begun_twice_is_begun_once(world: World) -> None:
    """F03, F30: Step Functions tries the state again after a lost answer."""
    first = start(world, a_rehearsal())
    world.pass_time(MINUTE)
    again = start(world, first)
    assert len(world.tools.restored.made) == 2
    assert (again.restored, again.started_at) == (first.restored, first.started_at)


class TestACheck:
    """Ready, not yet, or failed; a workflow that knows only two of them waits for ever on the third."""

    def test_it_is_not_yet_while_aws_is_restoring(self, world: World) -> None:
        checked = check(world, start(world, a_rehearsal()))
        assert (checked.readiness, checked.available_at, checked.proofs) == (Readiness.NOT_YET, None, ())

    def test_it_is_not_yet_while_the_proofs_are_pending(self, world: World) -> None:
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        world.pass_time(MINUTE)
        checked = check(world, started)
        assert (checked.readiness, checked.available_at, checked.readable_at) == (Readiness.NOT_YET, world.now, None)
        assert [(proof.source_snapshot_id, proof.is_complete) for proof in checked.proofs] == [
            ("snap-1", False),
            ("snap-2", False),
        ]

    def test_it_is_ready_when_the_content_can_be_read(self, world: World) -> None:
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        checked = check(world, started)
        world.tools.restored.proofs = dict.fromkeys(world.tools.restored.proofs, State.COMPLETED)
        world.pass_time(5 * MINUTE)
        ready = check(world, checked)
        assert ready.readiness is Readiness.READY
        assert (ready.available_at, ready.readable_at) == (checked.available_at, world.now)
        assert ready.recovery_seconds == 300
        assert all(proof.is_complete for proof in ready.proofs)

    def test_the_measured_times_do_not_move_when_it_is_checked_again(self, world: World) -> None:
        started = start(world, a_rehearsal(Kind.DATABASE))
        world.tools.restored.become(RestoreState.AVAILABLE)
        ready = check(world, started)
        world.pass_time(HOUR)
        assert check(world, ready) == ready

    def test_a_proof_is_begun_once(self, world: World) -> None:
        """F30."""
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        assert [proof.snapshot_id for proof in check(world, check(world, started)).proofs] == list(
            world.tools.restored.proofs
        )

    @pytest.mark.parametrize("kind", [Kind.DATABASE, Kind.CLUSTER])
    def test_a_database_is_ready_when_it_answers_and_needs_no_proof(self, world: World, kind: Kind) -> None:
        started = start(world, a_rehearsal(kind))
        world.tools.restored.become(RestoreState.AVAILABLE)
        checked = check(world, started)
        assert (checked.readiness, checked.proofs, checked.readable_at) == (Readiness.READY, (), world.now)

    def test_a_restore_that_failed_says_so_in_awss_own_words(self, world: World) -> None:
        """F70, F71."""
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.FAILED, "RDS says incompatible-network")
        checked = check(world, started)
        assert checked.readiness is Readiness.FAILED
        assert "incompatible-network" in checked.problem

    @pytest.mark.parametrize("word", sorted(OF_THE_CONTENT))
    def test_a_content_of_which_aws_makes_no_database_is_unfit(self, world: World, word: str) -> None:
        started = start(world, a_rehearsal(Kind.DATABASE))
        world.tools.restored.become(RestoreState.FAILED, f"RDS says {word}", word=word)
        checked = check(world, started)
        assert checked.evidence is not None
        assert checked.evidence.fitness is Fitness.UNFIT
        assert f"ended as {word}" in checked.evidence.reason

    def test_a_key_or_a_network_that_failed_leaves_the_content_open(self, world: World) -> None:
        started = start(world, a_rehearsal(Kind.DATABASE))
        world.tools.restored.become(RestoreState.FAILED, "RDS says no key", word="inaccessible-encryption-credentials")
        assert check(world, started).evidence is None

    def test_when_all_of_a_storage_has_arrived_is_noted_once(self, world: World) -> None:
        started = start(world, a_rehearsal(Kind.DATABASE))
        world.tools.restored.become(RestoreState.AVAILABLE, is_warm=False)
        checked = check(world, started)
        assert (checked.readiness, checked.warm_at) == (Readiness.READY, None)
        world.tools.restored.become(RestoreState.AVAILABLE, is_warm=True)
        world.pass_time(HOUR)
        warm = check(world, checked)
        assert warm.warm_at == world.now
        world.pass_time(HOUR)
        assert check(world, warm).warm_at == warm.warm_at

    def test_a_restore_that_vanished_has_failed(self, world: World) -> None:
        """F51: a volume whose key cannot be used is accepted first and disappears later."""
        started = start(world, a_rehearsal())
        world.tools.restored.made.clear()
        world.pass_time(check_restore.SHOWN_WITHIN)
        checked = check(world, started)
        assert checked.readiness is Readiness.FAILED
        assert "restored-of-copy-1 is gone" in checked.problem

    def test_a_restore_that_ec2_does_not_show_yet_is_not_gone(self, world: World) -> None:
        """F04."""
        started = start(world, a_rehearsal())
        world.tools.restored.made.clear()
        assert check(world, started).readiness is Readiness.NOT_YET

    def test_a_proof_that_ec2_does_not_show_yet_is_not_gone(self, world: World) -> None:
        """F04: it was begun a moment ago, in this very check."""
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        checked = check(world, started)
        world.tools.restored.proofs.clear()
        assert check(world, checked).readiness is Readiness.NOT_YET

    @pytest.mark.parametrize("state", [State.FAILED, State.GONE, State.UNUSABLE])
    def test_a_proof_that_failed_fails_the_check(self, world: World, state: State) -> None:
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        checked = check(world, started)
        world.tools.restored.proofs = dict.fromkeys(world.tools.restored.proofs, state)
        world.pass_time(check_restore.SHOWN_WITHIN)
        failed = check(world, checked)
        assert failed.readiness is Readiness.FAILED
        assert "proof-of-restored-of-copy-1" in failed.problem

    def test_a_proof_that_failed_is_still_known_so_that_it_is_removed(self, world: World) -> None:
        """F73: what is not known is not cleaned up, the second volume's proof as well."""
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        checked = check(world, started)
        world.tools.restored.proofs["proof-of-restored-of-copy-1"] = State.FAILED
        failed = check(world, checked)
        assert {proof.snapshot_id for proof in failed.proofs} == set(world.tools.restored.proofs)

    def test_nothing_restored_has_failed(self, world: World) -> None:
        """F75: an empty restore is never ready."""
        checked = check(world, a_rehearsal())
        assert (checked.readiness, checked.problem) == (Readiness.FAILED, "nothing was restored")


def test_a_volume_is_compared_block_by_block_with_its_own_source(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[Any, ...]] = []

    def compare(source: Any, restored: Any, *, budget_blocks: int) -> Comparison:
        compared.append((*source, *restored, budget_blocks))
        return a_comparison(Assertion(what="the same content", held=source[1] != "snap-2", detail="block 7 differs"))

    monkeypatch.setattr(verify_volume, "compare", compare)
    monkeypatch.setattr(verify_volume, "SnapshotBlocks", lambda *place: place[:2])
    proofs = tuple(
        Proof(restored_id=f"vol-{n}", source_snapshot_id=f"snap-{n}", snapshot_id=f"proof-{n}", is_complete=True)
        for n in (1, 2)
    )
    verified = verify_volume.verify_volume(a_rehearsal(proofs=proofs), world.tools, world.now)
    assert compared == [(HOME, "snap-1", AWAY, "proof-1", 40_000), (HOME, "snap-2", AWAY, "proof-2", 40_000)]
    assert verified.evidence is not None
    assert verified.evidence.fitness is Fitness.UNFIT
    assert verified.evidence.reason == "snap-2: the same content: block 7 differs"
    assert verified.verified_at == world.now


def test_a_volume_without_a_proof_proves_nothing(world: World) -> None:
    """F75: zero assertions are undecided."""
    verified = verify_volume.verify_volume(a_rehearsal(), world.tools, world.now)
    assert verified.evidence is not None
    assert verified.evidence.fitness is Fitness.UNDECIDED


def test_a_database_is_asked_what_its_policy_expects(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, datetime | None]] = []

    def check_database(one: Restored, checks: Any, *, consistent_at: datetime | None, **_: Any) -> DatabaseEvidence:
        asked.append((one.id, consistent_at))
        return DatabaseEvidence(
            assertions=(Assertion(what="the database answers", held=True, detail="16.4"),),
            row_counts={"shop.public.orders": 100, "shop.public.events": 5_000_000},
            estimated_tables=("shop.public.events",),
            first_query_at=NOON,
        )

    monkeypatch.setattr(verify_database, "check_database", check_database)
    started = start(world, a_rehearsal(Kind.DATABASE, snapshot_ids=("copy-1",), consistent_at=NOON))
    verified = verify_database.verify_database(started, world.tools, world.now)
    assert asked == [("restored-of-copy-1", NOON)]
    assert verified.evidence is not None
    assert verified.evidence.fitness is Fitness.FIT
    assert verified.row_counts == {"shop.public.orders": 100, "shop.public.events": 5_000_000}
    assert (verified.estimated_tables, verified.first_query_at) == (("shop.public.events",), NOON)


class TestARemoval:
    """F73: nothing a rehearsal made is left; asked until AWS says that it is gone."""

    def test_it_is_asked_until_aws_says_gone(self, world: World) -> None:
        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        rehearsal = check(world, started)
        removed = [remove(world, rehearsal).is_removed for _ in range(3)]
        assert removed == [False, False, True]
        assert (world.tools.restored.made, world.tools.restored.proofs) == ({}, {})

    def test_what_is_removed_can_be_removed_again(self, world: World) -> None:
        """F30."""
        started = start(world, a_rehearsal())
        for _ in range(3):
            remove(world, started)
        assert remove(world, started).is_removed

    def test_a_database_has_no_proofs_to_remove(self, world: World) -> None:
        assert remove(world, a_rehearsal(Kind.CLUSTER)).is_removed

    def test_a_proof_that_cannot_be_removed_does_not_keep_the_volumes(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """F73: volumes cost more than the snapshot that is stuck."""
        from functions.core.errors import NotAllowed

        started = start(world, a_rehearsal())
        world.tools.restored.become(RestoreState.AVAILABLE)
        rehearsal = check(world, started)

        def refused(_: str) -> None:
            raise NotAllowed("ec2:DeleteSnapshot", hint="Deploy again.")

        monkeypatch.setattr(world.tools.restored, "remove_proof", refused)
        with pytest.raises(NotAllowed):
            remove(world, rehearsal)
        assert len(world.tools.restored.removals) == 2


@pytest.mark.parametrize(
    ("name", "handler"),
    [
        ("workflow_start_restore", start_restore.handler),
        ("workflow_check_restore", check_restore.handler),
        ("workflow_remove_restore", remove_restore.handler),
    ],
)
def test_the_states_of_the_examples_are_carried_out(world: World, name: str, handler: Any) -> None:
    """As Lambda calls it: one rehearsal in, the same one with more known out."""
    event = example(name)
    answer = handler(event, CONTEXT)
    before, after = (wire.read(Rehearsal, one["rehearsal"]) for one in (event, answer))
    assert (after.id, after.slot, after.region) == (before.id, before.slot, before.region)
    assert len(world.decisions()) == 1


@pytest.mark.parametrize(
    ("name", "module", "call"),
    [
        ("workflow_verify_volume", verify_volume, "compare"),
        ("workflow_verify_database", verify_database, "check_database"),
    ],
)
def test_the_checks_of_the_examples_are_carried_out(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, module: Any, call: str
) -> None:
    """As Lambda calls it."""
    held = Assertion(what="the same content", held=True, detail="8 of 8")
    found = DatabaseEvidence(assertions=(held,)) if call == "check_database" else a_comparison(held)
    monkeypatch.setattr(module, call, lambda *_, **__: found)
    answer = module.handler(example(name), CONTEXT)
    assert answer["rehearsal"]["evidence"]["fitness"] == "fit"
    assert answer["rehearsal"]["verified_at"] == "2026-11-20T12:00:00Z"
