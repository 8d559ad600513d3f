"""A snapshot is read within a time and a cost, and what that took is known afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from embedded.disks.image_blocks import BLOCK_BYTES, ImageBlocks
from functions.core.block_sets import BlockSet
from functions.core.evidence import Assertion
from functions.handlers import inspecting
from functions.handlers.inspecting import LISTED_USD, READ_USD, Read, ToRead
from functions.inspection.change.judgement import EncryptionFinding, Shares
from tests.builders import AWAY, ago
from tests.handlers.snapshots_on_disk import SnapshotOnDisk
from tests.handlers.world import MINUTE, World

Disk = Callable[[str], ImageBlocks]
CHANGE = "vol-1: the change is not mass encryption"
HABIT = Shares(unexplained_files=0.1, unexplained_touched=0.2, unexplained_content=0.3, contradicted_files=0.4)


def read(world: World, blocks: SnapshotOnDisk, *, budget_blocks: int = 4_000, minutes: int = 5, **changes: Any) -> Read:
    named: dict[str, Any] = {"source_id": "vol-1", "snapshot_id": "snap-0000000000000002", "region": AWAY}
    wanted = ToRead(**named | changes)
    return inspecting.read_snapshot(
        wanted,
        blocks,  # type: ignore[arg-type]  # the port, not the adapter
        until=world.now + minutes * MINUTE,
        budget_blocks=budget_blocks,
    )


def told(found: Read, what: str) -> Assertion:
    [assertion] = [one for one in found.assertions if one.what == what]
    return assertion


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "ntfs"])
def test_a_whole_disk_is_whole_and_its_record_says_what_reading_it_took(world: World, disk: Disk, name: str) -> None:
    found = read(world, SnapshotOnDisk(disk(name)))
    assert found.assertions
    assert all(one.held for one in found.assertions), found.assertions
    assert all(one.what.startswith("vol-1: ") for one in found.assertions)
    content = found.content
    assert (content.source_id, content.snapshot_id) == ("vol-1", "snap-0000000000000002")
    assert content.file_systems == (name,)
    assert 0 < content.metadata_blocks <= content.read_blocks
    assert content.price_usd == pytest.approx(content.read_blocks * READ_USD + 3 * LISTED_USD, abs=1e-6)
    assert content.change_shares is None


def test_blocks_that_are_read_for_expected_files_are_on_the_record_as_well(world: World, disk: Disk) -> None:
    image = disk("ext4")
    image.overwrite(200 * BLOCK_BYTES, b"of a large file")
    found = read(world, SnapshotOnDisk(image))
    before = found.content
    found.device.block(200)
    assert found.content.read_blocks > before.read_blocks
    assert found.content.price_usd > before.price_usd
    assert found.content.metadata_blocks == before.metadata_blocks


def test_what_is_not_read_in_time_is_told_as_not_read(world: World, disk: Disk) -> None:
    """The function must answer before Lambda ends it."""
    found = read(world, SnapshotOnDisk(disk("ext4")), minutes=-1)
    assert [one.held for one in found.assertions] == [None]
    assert "the time for reading is over" in found.assertions[0].detail
    assert found.content.read_blocks == 0


def test_a_spent_budget_is_told_and_is_no_damage(world: World, disk: Disk) -> None:
    found = read(world, SnapshotOnDisk(disk("ext4")), budget_blocks=2)
    assert None in [one.held for one in found.assertions]
    assert False not in [one.held for one in found.assertions]
    assert found.content.read_blocks <= 2


def test_a_small_change_is_judged_and_its_shares_are_on_the_record(world: World, disk: Disk) -> None:
    image = disk("ext4")
    blocks = SnapshotOnDisk(image, {"snap-1": BlockSet(sorted(image.written())[:4])})
    found = read(world, blocks, before_id="snap-1", before_at=ago(days=1))
    assert told(found, CHANGE).held is not False
    assert blocks.asked_for == ["snap-1"]
    assert found.content.change_shares is not None


def test_every_share_of_the_change_comes_back_at_the_next_inspection(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A habit that is forgotten makes an ordinary change look like encryption."""

    def judge_change(*_: Any, **__: Any) -> EncryptionFinding:
        return EncryptionFinding(suspicion=False, reason="usual", changed_blocks=1, shares=HABIT)

    monkeypatch.setattr(inspecting, "judge_change", judge_change)
    found = read(world, SnapshotOnDisk(disk("ext4"), {"snap-1": BlockSet([0])}), before_id="snap-1")
    assert found.content.change_shares is not None
    assert Shares(**found.content.change_shares) == HABIT


@pytest.mark.parametrize("earlier", [{}, {"snap-1": None}], ids=["deleted meanwhile", "of another lineage"])
def test_without_a_predecessor_nothing_is_said_about_the_change(world: World, disk: Disk, earlier: Any) -> None:
    """What retention deleted an hour ago breaks no rehearsal."""
    found = read(world, SnapshotOnDisk(disk("ext4"), earlier), before_id="snap-1")
    assert CHANGE not in [one.what for one in found.assertions]
    assert all(one.held for one in found.assertions)


def test_a_budget_that_ends_within_the_change_leaves_that_question_open(
    world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.inspection.devices import BudgetSpent

    def judge_change(*_: Any, **__: Any) -> EncryptionFinding:
        raise BudgetSpent("4,000 blocks were read")

    monkeypatch.setattr(inspecting, "judge_change", judge_change)
    found = read(world, SnapshotOnDisk(disk("ext4"), {"snap-1": BlockSet([0])}), before_id="snap-1")
    assert told(found, CHANGE) == Assertion(what=CHANGE, held=None, detail="4,000 blocks were read")


def test_the_same_snapshot_is_always_sampled_alike(world: World, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def judge_change(*_: Any, seed: int, **__: Any) -> EncryptionFinding:
        seeds.append(seed)
        return EncryptionFinding(suspicion=False, reason="usual", changed_blocks=1)

    monkeypatch.setattr(inspecting, "judge_change", judge_change)
    for snapshot_id in ("snap-2", "snap-2", "snap-3"):
        blocks = SnapshotOnDisk(disk("ext4"), {"snap-1": BlockSet([0])})
        read(world, blocks, before_id="snap-1", snapshot_id=snapshot_id)
    assert seeds[0] == seeds[1] != seeds[2]


def test_reading_ends_within_its_time_even_when_it_has_begun(world: World, disk: Disk) -> None:
    """The clock runs while blocks are read."""
    image = disk("ext4")
    blocks = SnapshotOnDisk(image)

    def slow(indexes: Any) -> Any:
        world.pass_time(timedelta(minutes=3))
        return image.read(indexes)

    blocks.read = slow  # type: ignore[method-assign]  # the clock of this world runs with it
    found = read(world, blocks, minutes=5)
    assert None in [one.held for one in found.assertions]
