"""Volumes whose content is not what it should be: every state says that all is well, and the rehearsal names the fault.

Two nights of four volumes. Two of them hold PostgreSQL data directories on ext4; of another one the store of EBS
changes what nobody wrote to.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from embedded.disks import DISKS as DISKS_MADE
from embedded.disks.sample_database import item
from embedded.volumes import image_path
from embedded.volumes.blockstore import BLOCK_BYTES, stored_path
from tests.e2e.deployment import AWAY, Deployment, Thing
from tests.e2e.rehearsals import Rehearsals, Rehearsed

DISKS = {"page": "postgresql", "log": "postgresql-without-log", "silent": "ext4", "written": "ext4"}
FREE_BLOCK = 600
"""The first block of four behind the file system of the prepared disk; no checksum covers what was written there."""

EMPTY, MOVED, WRITTEN = FREE_BLOCK + 1, FREE_BLOCK + 3, FREE_BLOCK + 1
AGAIN = ("page", "silent", "written")
"""The volumes that are rehearsed in the second night, too."""

DATABASE_DISK_BYTES = DISKS_MADE["postgresql"].size_bytes

FIRST, SECOND = "first night", "second night"


@dataclass
class Store:
    """The volumes by what happens to them, and what their rehearsals found, by night."""

    deployment: Deployment
    things: Mapping[str, Thing]
    slots: dict[str, dict[str, str]] = field(default_factory=dict)
    rehearsed: dict[str, dict[str, Rehearsed]] = field(default_factory=dict)

    def night(self, night: str) -> None:
        """Every volume has a point of this night, with its copy."""
        self.deployment.next_night()
        self.deployment.plan()
        self.slots[night] = {
            name: self.deployment.until_copied(thing).point["slot_at"] for name, thing in self.things.items()
        }

    def rehearse(self, night: str, *names: str) -> None:
        """The points of these volumes of this night were rehearsed."""
        points = {name: (self.things[name], self.slots[night][name]) for name in names}
        self.rehearsed[night] = Rehearsals(self.deployment).run(points)

    def image(self, name: str) -> Path:
        """The file with the bytes of the volume itself."""
        return image_path(self.deployment.aws.data_directory, self.things[name].id)

    def stored(self, content: bytes) -> Path:
        """Where a block of this content is kept for all snapshots that hold it."""
        return stored_path(self.deployment.aws.data_directory, hashlib.sha256(content).hexdigest())


@pytest.fixture(scope="module")
def store(deployment: Deployment) -> Iterator[Store]:
    """Both nights and all their rehearsals have passed."""
    store = Store(deployment, {name: deployment.protect_a_volume(disk=disk) for name, disk in DISKS.items()})
    try:
        _two_nights(store)
        yield store
    finally:
        for thing in store.things.values():
            if thing in deployment.things:
                deployment.leave(thing)


def _two_nights(store: Store) -> None:
    chance = random.Random(14)  # noqa: S311 - the same bytes every time is the point
    blocks = {name: [chance.randbytes(BLOCK_BYTES) for _ in range(4)] for name in ("silent", "written")}
    for name, content in blocks.items():
        _write(store.image(name), FREE_BLOCK * BLOCK_BYTES, b"".join(content))
    store.night(FIRST)
    store.rehearse(FIRST, *DISKS)
    image = store.image("page")
    _write(image, _place(image, item(700).encode()), b"order 00070X")
    _write(store.image("written"), WRITTEN * BLOCK_BYTES, chance.randbytes(BLOCK_BYTES))
    store.night(SECOND)
    _write(store.stored(blocks["silent"][EMPTY - FREE_BLOCK]), 0, bytes(BLOCK_BYTES))
    _write(store.stored(blocks["silent"][MOVED - FREE_BLOCK]), 0, blocks["silent"][0])
    store.rehearse(SECOND, *AGAIN)


def _place(image: Path, content: bytes) -> int:
    with image.open("rb") as opened:
        return opened.read(DATABASE_DISK_BYTES).index(content)


def _write(file: Path, offset: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        opened.write(content)


@pytest.mark.parametrize("name", AGAIN)
def test_a_whole_volume_is_fit(store: Store, name: str) -> None:
    first = store.rehearsed[FIRST][name]
    assert (first.status, first.fitness) == ("SUCCEEDED", "fit"), first.reason
    assert first.story["contents"][0]["file_systems"] == ["ext4"]


def test_a_page_of_postgresql_that_changed_on_the_disk_makes_the_point_unfit(store: Store) -> None:
    page = store.rehearsed[SECOND]["page"]
    assert (page.error, page.fitness) == ("RehearsalFailed", "unfit")
    assert page.broken == [f"{store.things['page'].id}: the PostgreSQL data in '/pgdata' is whole"]
    assert "page 5 of /pgdata/base/5/" in page.reason
    assert "is not what its checksum says, and the WAL does not mend it" in page.reason


def test_a_segment_of_the_log_that_is_not_there_makes_the_point_unfit(store: Store) -> None:
    log = store.rehearsed[FIRST]["log"]
    assert (log.error, log.fitness) == ("RehearsalFailed", "unfit")
    assert log.broken == [f"{store.things['log'].id}: the PostgreSQL data in '/pgdata' is whole"]
    assert "segment 0000000100000000000000" in log.reason
    assert "before the checkpoint" in log.reason


def test_blocks_that_came_back_with_other_content_make_the_point_unfit(store: Store) -> None:
    """One is empty and one holds what another one held. Home and copy agree, and the file system has no checksum over
    them: only what is remembered of the first night tells."""
    silent = store.rehearsed[SECOND]["silent"]
    assert (silent.error, silent.fitness) == ("RehearsalFailed", "unfit")
    (broken,) = silent.broken
    assert broken.endswith("no block changed silently since the earlier point")
    assert f"differ and nothing says they changed: block {EMPTY}, {MOVED}" in silent.reason
    assert silent.reason.endswith("1 of them hold what another block held")


def test_a_block_that_was_written_to_is_no_damage(store: Store) -> None:
    written = store.rehearsed[SECOND]["written"]
    assert (written.status, written.fitness) == ("SUCCEEDED", "fit"), written.reason
    said = {one["what"].partition(": ")[2]: one["detail"] for one in written.story["evidence"]["assertions"]}
    assert "blocks were read again" in said["no block changed silently since the earlier point"]


@pytest.mark.parametrize("name", ["page", "silent"])
def test_the_unfit_point_is_held_and_a_recovery_takes_the_one_before(store: Store, name: str) -> None:
    rehearsals, thing = Rehearsals(store.deployment), store.things[name]
    unfit = store.rehearsed[SECOND][name]
    assert rehearsals.held(thing) == {
        store.slots[SECOND][name]: f"its rehearsal in {AWAY} found it unfit: {unfit.reason}"
    }
    chosen = rehearsals.recovery(thing)
    assert chosen["slot"]["at"] == store.slots[FIRST][name]
    assert [one["slot_at"] for one in chosen["passed_over"]] == [store.slots[SECOND][name]]


def test_nothing_of_what_was_restored_is_left(store: Store) -> None:
    rehearsals = Rehearsals(store.deployment)
    store.deployment.until("everything restored is gone", lambda: not rehearsals.leftovers())
    restored = [one.story["restored"] for night in store.rehearsed.values() for one in night.values()]
    assert len(restored) == len(DISKS) + len(AGAIN)
    assert all(restored)
