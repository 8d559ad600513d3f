"""What a restored volume's own content says is part of the evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from embedded.disks import DISKS
from embedded.disks.image_blocks import BLOCK_BYTES, ImageBlocks
from functions.core.block_sets import BlockSet
from functions.core.evidence import Assertion, Evidence, Fitness, judge
from functions.core.expected_files import ExpectedFile, ExpectedHeartbeat, ExpectedManifest, HeartbeatBy
from functions.core.rehearsals import ContentRead, Rehearsal
from functions.core.resources import Kind, ResourceKey
from functions.core.slots import Slot
from functions.handlers import inspect_content
from functions.handlers.inspecting import ToRead
from functions.inspection.change.judgement import Shares
from tests.builders import AWAY, HOME, a_copy, a_key, a_part, a_point, a_policy
from tests.handlers.recoveries import a_past_rehearsal
from tests.handlers.snapshots_on_disk import SnapshotOnDisk, files_of, scramble
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import CONTEXT, DAY, World, example

Disk = Callable[[str], ImageBlocks]
Laid = Callable[..., None]
VOLUME = a_key()
COMPARED = judge([Assertion(what="snap-1: the same content", held=True, detail="8 of 8")])
SHARES = Shares(unexplained_files=0.1, unexplained_touched=0.4)


@pytest.fixture
def lay(monkeypatch: pytest.MonkeyPatch) -> Laid:
    """The snapshots that EBS direct shows, by id; every other one is not expected to be read."""

    def laid(**snapshots: SnapshotOnDisk) -> None:
        by_id = {name.replace("_", "-"): snapshot for name, snapshot in snapshots.items()}
        monkeypatch.setattr(inspect_content, "SnapshotBlocks", lambda *place: by_id[place[1]])

    return laid


def of_volume(**changes: Any) -> Rehearsal:
    """Of one volume, whose copy was found equal to its source."""
    return a_rehearsal(
        **{
            "snapshot_ids": ("copy-1",),
            "source_snapshot_ids": ("snap-1",),
            "source_ids": {"snap-1": VOLUME.id},
            "evidence": COMPARED,
        }
        | changes
    )


def inspect(world: World, rehearsal: Rehearsal | None = None) -> Rehearsal:
    return inspect_content.inspect_content(rehearsal or of_volume(), world.tools, world.now)


def evidence(rehearsal: Rehearsal) -> Evidence:
    assert rehearsal.evidence is not None
    return rehearsal.evidence


def a_point_of(world: World, at: Any, *snapshot_ids: str, resource: ResourceKey = VOLUME) -> Slot:
    """A complete point with complete copies, each of a volume of its own."""
    parts = tuple(
        a_part(id, source_id=VOLUME.id if resource == VOLUME else f"vol-{n}") for n, id in enumerate(snapshot_ids)
    )
    point = a_point(slot=Slot(resource=resource, at=at), parts=parts)
    assert world.ledger.points.adopt(point)
    for n in range(len(parts)):
        assert world.ledger.copies.owe(a_copy(point, part=n))
    return point.slot


class TestAVolume:
    """The real inspection over real file systems."""

    def test_whole_content_adds_to_the_evidence_and_keeps_it_fit(self, world: World, disk: Disk, lay: Laid) -> None:
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        inspected = inspect(world)
        assert evidence(inspected).fitness is Fitness.FIT
        assert [one.what for one in evidence(inspected).assertions] == [
            "snap-1: the same content",
            f"{VOLUME.id}: ext4 on the disk is whole",
        ]
        assert inspected.verified_at == world.now

    def test_what_reading_took_and_cost_is_on_the_record(self, world: World, disk: Disk, lay: Laid) -> None:
        lay(copy_1=SnapshotOnDisk(disk("xfs")))
        [content] = inspect(world).contents
        assert (content.source_id, content.snapshot_id, content.file_systems) == (VOLUME.id, "copy-1", ("xfs",))
        assert content.metadata_blocks > 0
        assert content.price_usd == pytest.approx(content.read_blocks * 3e-6 + content.listed_pages * 6e-7, abs=1e-6)

    def test_damage_makes_unfit_although_the_copy_equals_its_source(self, world: World, disk: Disk, lay: Laid) -> None:
        """A backup of a broken volume restores a broken volume."""
        image = disk("ext4")
        image.overwrite(1024, bytes(1024))
        image.overwrite(4096, b"\xa5" * 4096)
        lay(copy_1=SnapshotOnDisk(image))
        assert evidence(inspect(world)).fitness is not Fitness.FIT
        image = disk("xfs")
        image.flip(512 + 40)
        lay(copy_1=SnapshotOnDisk(image))
        assert evidence(inspect(world)).fitness is Fitness.UNFIT

    def test_an_empty_disk_proves_nothing(self, world: World, disk: Disk, lay: Laid) -> None:
        """F75."""
        image = disk("ext4")
        image.patches = dict.fromkeys(image.written())
        lay(copy_1=SnapshotOnDisk(image))
        assert evidence(inspect(world)).fitness is Fitness.UNDECIDED

    def test_a_change_that_looks_like_mass_encryption_makes_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        a_point_of(world, world.now - DAY, "snap-0")
        a_point_of(world, world.now, "snap-1")
        image = disk("ext4")
        touched = scramble(image)
        lay(copy_1=SnapshotOnDisk(image, {"copy-of-snap-0": touched}))
        inspected = inspect(world)
        assert evidence(inspected).fitness is Fitness.UNFIT
        assert "look encrypted" in evidence(inspected).reason
        assert inspected.contents[0].change_shares is not None

    def test_the_same_disk_with_an_ordinary_change_is_fit(self, world: World, disk: Disk, lay: Laid) -> None:
        a_point_of(world, world.now - DAY, "snap-0")
        a_point_of(world, world.now, "snap-1")
        image = disk("ext4")
        touched = BlockSet(sorted({extent.at // BLOCK_BYTES for file in files_of(image) for extent in file.extents}))
        lay(copy_1=SnapshotOnDisk(image, {"copy-of-snap-0": touched}))
        assert evidence(inspect(world)).fitness is Fitness.FIT

    def test_a_database_in_the_evidence_before_is_kept_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        """What was found broken before is not made good by a whole file system."""
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        broken = judge([Assertion(what="snap-1: the same content", held=False, detail="block 7 differs")])
        assert evidence(inspect(world, of_volume(evidence=broken))).fitness is Fitness.UNFIT


class TestExpectedFiles:
    """Canaries, manifests and heartbeats of the policy."""

    FILES: Mapping[str, str] = DISKS["ext4"].file_systems[0].files

    def expect(self, world: World, *files: Any) -> None:
        world.with_settings(a_policy(files=files))

    def test_a_canary_that_is_as_the_policy_says_holds(self, world: World, disk: Disk, lay: Laid) -> None:
        self.expect(world, ExpectedFile(path="/README.txt", sha256=self.FILES["README.txt"]))
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        inspected = inspect(world)
        assert evidence(inspected).fitness is Fitness.FIT
        assert "/README.txt" in evidence(inspected).assertions[-1].what

    def test_a_canary_that_changed_makes_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        self.expect(world, ExpectedFile(path="/README.txt", sha256="0" * 64))
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        assert evidence(inspect(world)).fitness is Fitness.UNFIT

    def test_a_canary_whose_bytes_rotted_makes_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        image = disk("ext4")
        [readme] = [file for file in files_of(image) if file.path == "/README.txt"]
        image.flip(readme.extents[0].at + 3)
        self.expect(world, ExpectedFile(path="/README.txt", sha256=self.FILES["README.txt"]))
        lay(copy_1=SnapshotOnDisk(image))
        inspected = inspect(world)
        assert evidence(inspected).fitness is Fitness.UNFIT
        assert "/README.txt" in evidence(inspected).reason

    def test_a_canary_that_is_gone_makes_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        self.expect(world, ExpectedFile(path="/no-such-file", sha256="0" * 64))
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        assert evidence(inspect(world)).fitness is Fitness.UNFIT

    def test_a_manifest_that_is_not_the_agreed_one_makes_unfit(self, world: World, disk: Disk, lay: Laid) -> None:
        text = json.dumps({"/README.txt": self.FILES["README.txt"]})
        self.expect(world, ExpectedManifest(path="/README.txt", sha256=hashlib.sha256(text.encode()).hexdigest()))
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        assert evidence(inspect(world)).fitness is Fitness.UNFIT

    def test_a_heartbeat_is_measured_from_the_instant_of_the_snapshot(
        self, world: World, disk: Disk, lay: Laid
    ) -> None:
        """Not from today: a rehearsal of an old point would find every heartbeat stopped."""
        image = disk("ext4")
        [readme] = [file for file in files_of(image) if file.path == "/README.txt"]
        assert readme.modified_at is not None
        written_at = readme.modified_at
        self.expect(
            world, ExpectedHeartbeat(path="/README.txt", newest_within=timedelta(hours=1), by=HeartbeatBy.MODIFIED)
        )
        lay(copy_1=SnapshotOnDisk(image))
        fresh = of_volume(consistent_at=written_at + timedelta(minutes=50))
        stale = of_volume(consistent_at=written_at + timedelta(minutes=70))
        assert evidence(inspect(world, fresh)).fitness is Fitness.FIT
        assert evidence(inspect(world, stale)).fitness is Fitness.UNFIT

    def test_a_policy_that_is_gone_expects_nothing(self, world: World, disk: Disk, lay: Laid) -> None:
        lay(copy_1=SnapshotOnDisk(disk("ext4")))
        assert evidence(inspect(world, of_volume(policy="long-gone"))).fitness is Fitness.FIT


class TestWhatItIsComparedWith:
    """The point before, of the same volume, in the same Region."""

    @pytest.fixture
    def asked(self, world: World, monkeypatch: pytest.MonkeyPatch) -> list[ToRead]:
        asked: list[ToRead] = []

        def read_snapshot(wanted: ToRead, blocks: object, **_: Any) -> Any:
            asked.append(wanted)
            content = ContentRead(
                source_id=wanted.source_id,
                snapshot_id=wanted.snapshot_id,
                file_systems=(),
                metadata_blocks=0,
                read_blocks=0,
                listed_pages=0,
                price_usd=0,
            )

            class Nothing:
                assertions: tuple[Assertion, ...] = ()
                file_systems: tuple[object, ...] = ()

            nothing: Any = Nothing()
            nothing.content = content
            return nothing

        monkeypatch.setattr(inspect_content, "read_snapshot", read_snapshot)
        monkeypatch.setattr(inspect_content, "SnapshotBlocks", lambda *place: place)
        return asked

    def test_the_copy_of_the_newest_point_before_it(self, world: World, asked: list[ToRead]) -> None:
        for days, name in ((3, "snap-0"), (1, "snap-9"), (0, "snap-1"), (-1, "snap-2")):
            a_point_of(world, world.now - days * DAY, name)
        inspect(world, of_volume(slot=Slot(resource=VOLUME, at=world.now)))
        [wanted] = asked
        assert (wanted.before_id, wanted.before_at) == ("copy-of-snap-9", world.now - DAY)
        assert (wanted.source_id, wanted.region) == (VOLUME.id, AWAY)

    def test_nothing_at_the_first_point(self, world: World, asked: list[ToRead]) -> None:
        a_point_of(world, world.now, "snap-1")
        inspect(world)
        assert (asked[0].before_id, asked[0].usual) == (None, None)

    def test_each_volume_of_a_set_with_its_own(self, world: World, asked: list[ToRead]) -> None:
        instance = a_key(Kind.INSTANCE)
        a_point_of(world, world.now - DAY, "snap-a", "snap-b", resource=instance)
        slot = a_point_of(world, world.now, "snap-c", "snap-d", resource=instance)
        of_set = of_volume(
            slot=slot,
            snapshot_ids=("copy-of-snap-c", "copy-of-snap-d"),
            source_snapshot_ids=("snap-c", "snap-d"),
            source_ids={"snap-c": "vol-0", "snap-d": "vol-1"},
        )
        inspect(world, of_set)
        assert [(one.source_id, one.before_id) for one in asked] == [
            ("vol-0", "copy-of-snap-a"),
            ("vol-1", "copy-of-snap-b"),
        ]

    def test_at_home_each_volume_with_its_own_snapshot_before(self, world: World, asked: list[ToRead]) -> None:
        """Where nothing is copied, the home Region rehearses."""
        instance = a_key(Kind.INSTANCE)
        a_point_of(world, world.now - DAY, "snap-a", "snap-b", resource=instance)
        slot = a_point_of(world, world.now, "snap-c", "snap-d", resource=instance)
        at_home = of_volume(
            slot=slot,
            region=HOME,
            snapshot_ids=("snap-c", "snap-d"),
            source_snapshot_ids=("snap-c", "snap-d"),
            source_ids={"snap-c": "vol-0", "snap-d": "vol-1"},
        )
        inspect(world, at_home)
        assert [(one.source_id, one.before_id, one.region) for one in asked] == [
            ("vol-0", "snap-a", HOME),
            ("vol-1", "snap-b", HOME),
        ]

    def test_what_was_usual_at_the_rehearsals_that_found_nothing_wrong(self, world: World, asked: list[ToRead]) -> None:
        content = ContentRead(
            source_id=VOLUME.id,
            snapshot_id="copy-0",
            file_systems=("ext4",),
            metadata_blocks=1,
            read_blocks=1,
            listed_pages=1,
            price_usd=0.0,
            change_shares={"unexplained_files": 0.1, "unexplained_touched": 0.4},
        )
        good = a_past_rehearsal(Slot(resource=VOLUME, at=world.now - 2 * DAY), contents=(content,))
        worse = replace(content, change_shares={"unexplained_files": 0.9})
        bad = a_past_rehearsal(Slot(resource=VOLUME, at=world.now - DAY), held=False, contents=(worse,))
        other = a_past_rehearsal(
            Slot(resource=VOLUME, at=world.now - 3 * DAY), contents=(replace(worse, source_id="vol-other"),)
        )
        for past in (good, bad, other):
            assert world.ledger.stories.rehearsed(past, world.now)
        inspect(world)
        assert asked[0].usual == SHARES


def test_the_inspection_of_the_example_is_carried_out(world: World, disk: Disk, lay: Laid) -> None:
    """As Lambda calls it."""
    event = example("workflow_inspect_content")
    lay(**{event["rehearsal"]["snapshot_ids"][0].replace("-", "_"): SnapshotOnDisk(disk("ext4"))})
    answer = inspect_content.handler(event, CONTEXT)
    assert answer["rehearsal"]["evidence"]["fitness"] == "fit"
    assert answer["rehearsal"]["contents"][0]["file_systems"] == ["ext4"]
    assert len(world.decisions()) == 1
