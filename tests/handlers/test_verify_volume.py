"""What nothing changed is as it was: a volume's blocks are held to what they held at its last rehearsal."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from functions.core.block_sets import BlockSet
from functions.core.errors import Broken, SnapshotGone
from functions.core.evidence import Assertion, Evidence, Fitness
from functions.core.rehearsals import Proof, Rehearsal
from functions.core.slots import Slot
from functions.handlers import verify_volume
from functions.ledger.block_memories import BlockMemory
from functions.ledger.rows import BlocksItem
from functions.ledger.table import Table
from tests.builders import AWAY, FAR, HOME, a_key
from tests.handlers.test_rehearsal_steps import a_rehearsal
from tests.handlers.world import DAY, World
from tests.ledger.dynamodb import TABLE, items

VOLUME = a_key()
CONTENT = {0: "boot", 3: "ledger", 7: "orders", 40_000: "far behind"}


@dataclass
class AShelf:
    """Snapshots by id, what EBS says changed between two, and what was asked."""

    contents: dict[str, Mapping[int, str]] = field(default_factory=dict)
    changes: dict[tuple[str, str], BlockSet | None] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)


class ShelvedBlocks:
    """The port of SnapshotBlocks that a comparison reads through."""

    def __init__(self, shelf: AShelf, id: str) -> None:
        self.shelf = shelf
        self.id = id

    def indexes(self) -> Iterator[tuple[int, str]]:
        yield from ((index, "token") for index in sorted(self.shelf.contents[self.id]))

    def checksums(self, wanted: Collection[int]) -> dict[int, str]:
        content = self.shelf.contents[self.id]
        return {index: _checksum(content[index]) for index in wanted if index in content}

    def changed_since(self, earlier_id: str) -> BlockSet | None:
        self.shelf.asked.append((earlier_id, self.id))
        if earlier_id not in self.shelf.contents:
            raise SnapshotGone(f"there is no {earlier_id}", hint="It was deleted.")
        return self.shelf.changes.get((earlier_id, self.id), BlockSet())


def _checksum(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> AShelf:
    shelf = AShelf()
    monkeypatch.setattr(verify_volume, "SnapshotBlocks", lambda *place: ShelvedBlocks(shelf, place[1]))
    return shelf


def rehearse(
    world: World,
    shelf: AShelf,
    id: str,
    content: Mapping[int, str],
    *,
    days_ago: int = 0,
    region: str = AWAY,
    budget_blocks: int = 40_000,
    restored: Mapping[int, str] | None = None,
) -> Evidence:
    """A rehearsal of the volume's point of that day, whose restored volume holds the same unless said otherwise."""
    shelf.contents[id] = content
    shelf.contents[f"proof-{id}"] = content if restored is None else restored
    rehearsal: Rehearsal = a_rehearsal(
        slot=Slot(resource=VOLUME, at=world.now - days_ago * DAY),
        region=region,
        source_snapshot_ids=(id,),
        source_ids={id: VOLUME.id},
        proofs=(Proof(restored_id="vol-r", source_snapshot_id=id, snapshot_id=f"proof-{id}", is_complete=True),),
    )
    verified = verify_volume.verify_volume(rehearsal, world.tools, world.now, budget_blocks=budget_blocks)
    assert verified.evidence is not None
    return verified.evidence


def memory(world: World, region: str = AWAY) -> BlockMemory:
    found = world.ledger.block_memories.recall(VOLUME, region, VOLUME.id)
    assert found is not None
    return found


def about(evidence: Evidence, words: str) -> Assertion:
    [assertion] = [one for one in evidence.assertions if words in one.what]
    return assertion


def test_the_first_rehearsal_is_held_to_nothing_and_remembers(world: World, shelf: AShelf) -> None:
    evidence = rehearse(world, shelf, "snap-1", CONTENT)
    assert evidence.fitness is Fitness.FIT
    assert not any("earlier point" in one.what for one in evidence.assertions)
    remembered = memory(world)
    assert (remembered.snapshot_id, remembered.slot_at) == ("snap-1", world.now)
    assert sorted(remembered.rows) == [0, 1]


def test_an_unchanged_volume_is_as_it_was_and_that_is_told(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    evidence = rehearse(world, shelf, "snap-2", CONTENT)
    assert evidence.fitness is Fitness.FIT
    assert about(evidence, "no block was lost").held
    assert about(evidence, "no block changed silently").detail == "4 of 4 blocks were read again"
    assert shelf.asked == [("snap-1", "snap-2")]
    assert memory(world).snapshot_id == "snap-2"


def test_a_block_that_changed_silently_is_found(world: World, shelf: AShelf) -> None:
    """The copy equals its source, and the source is wrong."""
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    evidence = rehearse(world, shelf, "snap-2", CONTENT | {7: "0rders"})
    assert evidence.fitness is Fitness.UNFIT
    assert "block 7" in about(evidence, "no block changed silently").detail


def test_two_swapped_blocks_are_found_and_named_as_such(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    evidence = rehearse(world, shelf, "snap-2", CONTENT | {3: "orders", 7: "ledger"})
    assert "2 of them hold what another block held" in about(evidence, "no block changed silently").detail


def test_a_block_that_was_lost_is_found(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    evidence = rehearse(world, shelf, "snap-2", {index: text for index, text in CONTENT.items() if index != 3})
    assert evidence.fitness is Fitness.UNFIT
    assert "block 3" in about(evidence, "no block was lost").detail


def test_a_block_that_ebs_knows_to_have_changed_is_no_damage(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    shelf.changes["snap-1", "snap-2"] = BlockSet([3, 7])
    without = {index: text for index, text in CONTENT.items() if index != 3}
    assert rehearse(world, shelf, "snap-2", without | {7: "more orders"}).fitness is Fitness.FIT


def test_the_next_rehearsal_is_held_to_what_changed_since(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=2)
    shelf.changes["snap-1", "snap-2"] = BlockSet([7])
    rehearse(world, shelf, "snap-2", CONTENT | {7: "more orders"}, days_ago=1)
    assert rehearse(world, shelf, "snap-3", CONTENT).fitness is Fitness.UNFIT


def test_damage_is_not_remembered_as_what_the_volume_holds(world: World, shelf: AShelf) -> None:
    """Otherwise the next rehearsal would hold the volume to it."""
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=2)
    damaged = CONTENT | {7: "0rders"}
    rehearse(world, shelf, "snap-2", damaged, days_ago=1)
    assert memory(world).snapshot_id == "snap-1"
    assert rehearse(world, shelf, "snap-3", damaged).fitness is Fitness.UNFIT
    assert rehearse(world, shelf, "snap-4", CONTENT).fitness is Fitness.FIT


def test_a_copy_that_differs_from_its_source_is_not_remembered(world: World, shelf: AShelf) -> None:
    evidence = rehearse(world, shelf, "snap-1", CONTENT, restored=CONTENT | {7: "0rders"})
    assert evidence.fitness is Fitness.UNFIT
    assert world.ledger.block_memories.recall(VOLUME, AWAY, VOLUME.id) is None


def test_a_memory_whose_snapshot_is_gone_is_forgotten(world: World, shelf: AShelf) -> None:
    """EBS tells what changed between two snapshots that exist."""
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    del shelf.contents["snap-1"]
    evidence = rehearse(world, shelf, "snap-2", {0: "boot"})
    assert evidence.fitness is Fitness.FIT
    assert not any("earlier point" in one.what for one in evidence.assertions)
    remembered = memory(world)
    assert (remembered.snapshot_id, sorted(remembered.rows)) == ("snap-2", [0])


def test_a_volume_without_a_lineage_begins_anew(world: World, shelf: AShelf) -> None:
    """It was restored from elsewhere under the same name."""
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    shelf.changes["snap-1", "snap-2"] = None
    assert rehearse(world, shelf, "snap-2", {0: "another"}).fitness is Fitness.FIT
    assert memory(world).snapshot_id == "snap-2"


def test_the_same_point_rehearsed_again_is_held_to_itself(world: World, shelf: AShelf) -> None:
    """F30: the state is tried again after a lost answer. EBS compares no snapshot with itself."""
    rehearse(world, shelf, "snap-1", CONTENT)
    assert rehearse(world, shelf, "snap-1", CONTENT).fitness is Fitness.FIT
    assert rehearse(world, shelf, "snap-1", CONTENT | {3: "rot"}).fitness is Fitness.UNFIT
    assert shelf.asked == []


def test_an_older_point_rehearsed_later_changes_no_memory(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-2", CONTENT)
    assert rehearse(world, shelf, "snap-1", {0: "older"}, days_ago=3).fitness is Fitness.FIT
    assert memory(world).snapshot_id == "snap-2"
    assert shelf.asked == []


def test_each_region_remembers_for_itself(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    rehearse(world, shelf, "snap-2", CONTENT | {7: "more"}, region=FAR)
    assert (memory(world).snapshot_id, memory(world, FAR).snapshot_id) == ("snap-1", "snap-2")
    assert world.ledger.block_memories.recall(VOLUME, HOME, VOLUME.id) is None


def test_a_memory_of_which_rows_are_missing_is_an_error(world: World, shelf: AShelf) -> None:
    """Nobody may take them for blocks that were never read."""
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    [row] = [item["sk"]["S"] for item in items() if item["sk"]["S"].endswith("#00001")]
    rows = Table(name=TABLE, region=HOME).rows(BlocksItem)
    rows.get(str(VOLUME), row).delete()
    with pytest.raises(Broken, match="1 of 2 rows are there") as broken:
        rehearse(world, shelf, "snap-2", CONTENT)
    assert "remembers anew" in broken.value.hint


def test_a_row_that_is_damaged_itself_is_an_error(world: World, shelf: AShelf) -> None:
    rehearse(world, shelf, "snap-1", CONTENT, days_ago=1)
    remembered = memory(world)
    rotten = BlockMemory(
        source_id=remembered.source_id,
        snapshot_id=remembered.snapshot_id,
        slot_at=remembered.slot_at,
        rows={number: body[:-1] + b"\xff" for number, body in remembered.rows.items()},
    )
    world.ledger.block_memories.remember(VOLUME, AWAY, rotten, world.now)
    with pytest.raises(Broken, match="is damaged"):
        rehearse(world, shelf, "snap-2", CONTENT)


def test_a_sample_that_meets_no_remembered_block_takes_nothing_away(world: World, shelf: AShelf) -> None:
    """A large volume is sampled; nothing could be told, and the rest is fit all the same."""
    many = {index: f"block {index}" for index in range(40)}
    rehearse(world, shelf, "snap-1", many, days_ago=1, budget_blocks=2)
    grown = many | {index: f"block {index}" for index in range(100, 160)}
    shelf.changes["snap-1", "snap-2"] = BlockSet([0, *range(100, 160)])
    evidence = rehearse(world, shelf, "snap-2", grown, budget_blocks=2)
    assert evidence.fitness is Fitness.FIT
    assert not any("changed silently" in one.what for one in evidence.assertions)
