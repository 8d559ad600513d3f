"""What was restored is looked at as far as it can be from here, and what was not seen is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import ImageBlocks
from functions.core.evidence import Evidence, Fitness
from functions.core.expected_files import ExpectedFile
from functions.core.recoveries import Recovery, Source
from functions.core.resources import Kind
from functions.handlers import verify_recovery
from tests.builders import a_key, a_point, a_policy, a_slot, ago
from tests.handlers.recoveries import a_past_rehearsal, a_recovery
from tests.handlers.snapshots_on_disk import SnapshotOnDisk
from tests.handlers.world import CONTEXT, DAY, HOUR, MINUTE, World, example

Disk = Callable[[str], ImageBlocks]
README = DISKS["ext4"].file_systems[0].files["README.txt"]


def verify(world: World, recovery: Recovery) -> Recovery:
    return verify_recovery.verify_recovery(recovery, world.tools, world.now)


def evidence(recovery: Recovery) -> Evidence:
    assert recovery.evidence is not None
    return recovery.evidence


class TestVolumes:
    """The snapshots they were made of are read, which are what AWS fills them from."""

    @pytest.fixture
    def image(self, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> ImageBlocks:
        image = disk("ext4")
        snapshot = SnapshotOnDisk(image)
        monkeypatch.setattr(verify_recovery, "SnapshotBlocks", lambda *place: {"copy-1": snapshot}[place[1]])
        return image

    def test_a_whole_one_is_fit(self, world: World, image: ImageBlocks) -> None:
        verified = verify(world, a_recovery())
        assert evidence(verified).fitness is Fitness.FIT
        assert evidence(verified).assertions[0].what == f"{a_key().id}: ext4 on the disk is whole"
        assert verified.verified_at == world.now

    def test_a_damaged_one_is_unfit(self, world: World, image: ImageBlocks) -> None:
        image.flip(1024 + 0x18)
        assert evidence(verify(world, a_recovery())).fitness is not Fitness.FIT

    @pytest.mark.parametrize(("sha256", "fitness"), [(README, Fitness.FIT), ("0" * 64, Fitness.UNFIT)])
    def test_the_files_that_the_policy_expects_are_looked_for(
        self, world: World, image: ImageBlocks, sha256: str, fitness: Fitness
    ) -> None:
        world.with_settings(a_policy(files=(ExpectedFile(path="/README.txt", sha256=sha256),)))
        assert world.ledger.points.adopt(a_point(slot=a_slot()))
        assert evidence(verify(world, a_recovery())).fitness is fitness

    def test_what_is_not_read_within_the_time_is_told_as_not_read(
        self, world: World, image: ImageBlocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody waits."""
        begun = world.now
        world.pass_time(verify_recovery.WITHIN + MINUTE)
        verified = verify_recovery.verify_recovery(a_recovery(), world.tools, begun)
        assert evidence(verified).fitness is Fitness.UNDECIDED
        assert "the time for reading is over" in evidence(verified).reason

    def test_each_volume_of_a_set_is_read(
        self, world: World, image: ImageBlocks, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        snapshots = {"copy-1": SnapshotOnDisk(image), "copy-2": SnapshotOnDisk(image)}
        monkeypatch.setattr(verify_recovery, "SnapshotBlocks", lambda *place: snapshots[place[1]])
        recovery = a_recovery(Kind.INSTANCE)
        order = replace(recovery.order, snapshot_ids=("copy-1", "copy-2"), source_ids=("vol-1", "vol-2"))
        whats = [one.what for one in evidence(verify(world, replace(recovery, order=order))).assertions]
        assert whats == ["vol-1: ext4 on the disk is whole", "vol-2: ext4 on the disk is whole"]


class TestDatabases:
    """Nothing of ours has a way to it: what the rehearsal of the same point has shown is what is known."""

    @pytest.mark.parametrize(
        ("held", "fitness"), [(True, Fitness.FIT), (False, Fitness.UNFIT), (None, Fitness.UNDECIDED)]
    )
    def test_what_the_rehearsal_of_this_point_showed_is_told(
        self, world: World, held: bool | None, fitness: Fitness
    ) -> None:
        recovery = a_recovery(Kind.DATABASE)
        world.ledger.stories.rehearsed(a_past_rehearsal(recovery.chosen.slot, held=held), world.now)
        verified = verify(world, recovery)
        assert evidence(verified).fitness is fitness
        assert "rehearsed in eu-west-1 at 2026-11-20 12:07 UTC" in evidence(verified).assertions[0].detail

    def test_of_two_rehearsals_of_the_point_the_newer_counts(self, world: World) -> None:
        recovery = a_recovery(Kind.DATABASE)
        first = a_past_rehearsal(recovery.chosen.slot, held=False, id="1" * 12, started_at=ago(hours=3))
        again = a_past_rehearsal(recovery.chosen.slot, id="2" * 12, verified_at=world.now + HOUR)
        for past in (again, replace(first, verified_at=world.now)):
            world.ledger.stories.rehearsed(past, world.now)
        assert evidence(verify(world, recovery)).fitness is Fitness.FIT

    def test_the_rehearsal_of_another_point_proves_nothing_about_this_one(self, world: World) -> None:
        recovery = a_recovery(Kind.DATABASE)
        other = a_slot(world.now - DAY, resource=recovery.request.resource)
        world.ledger.stories.rehearsed(a_past_rehearsal(other), world.now)
        verified = verify(world, recovery)
        assert evidence(verified).fitness is Fitness.UNDECIDED
        assert "ask the database yourself" in evidence(verified).reason

    def test_the_log_reaches_content_that_no_rehearsal_restored(self, world: World) -> None:
        recovery = a_recovery(Kind.DATABASE)
        world.ledger.stories.rehearsed(a_past_rehearsal(recovery.chosen.slot), world.now)
        order = replace(recovery.order, source=Source.POINT_IN_TIME, snapshot_ids=())
        assert evidence(verify(world, replace(recovery, order=order))).fitness is Fitness.UNDECIDED


def test_the_check_of_the_example_is_carried_out(world: World) -> None:
    """As Lambda calls it."""
    answer = verify_recovery.handler(example("workflow_verify_recovery"), CONTEXT)
    assert answer["recovery"]["evidence"]["fitness"] == "undecided"
    assert len(world.decisions()) == 1
