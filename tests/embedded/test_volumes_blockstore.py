"""The bytes behind volumes and snapshots."""

import os
from pathlib import Path

import pytest

from embedded.volumes.blockstore import BLOCK_BYTES, PAGE_BYTES, BlockStore, changed_indexes, image_path, write_sparse


@pytest.fixture
def store(tmp_path: Path) -> BlockStore:
    return BlockStore(tmp_path)


def stored_blocks(root: Path) -> set[str]:
    return {path.name for path in (root / "blocks").rglob("*") if path.is_file()}


def write(image: Path, block_index: int, content: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(block_index * BLOCK_BYTES)
        file.write(content)


def disk_bytes(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_new_image_has_the_size_of_its_volume_and_costs_nothing(store: BlockStore, tmp_path: Path) -> None:
    store.create_image("vol-1", 100)
    assert image_path(tmp_path, "vol-1").stat().st_size == 100 << 30
    assert disk_bytes(image_path(tmp_path, "vol-1")) < 1 << 20


def test_a_capture_skips_holes_and_holds_each_written_block_whole(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 3, b"three")
    write(store.image("vol-1"), 2047, b"last")
    captured = store.capture("vol-1")
    assert sorted(captured) == [3, 2047]
    assert store.read(captured[3]) == b"three".ljust(BLOCK_BYTES, b"\0")
    assert store.read(captured[2047]).startswith(b"last")


def test_a_capture_is_not_changed_by_later_writes(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, b"before")
    captured = store.capture("vol-1")
    write(store.image("vol-1"), 0, b"after!")
    assert store.read(captured[0]).startswith(b"before")


def test_a_second_capture_stores_only_the_changed_block(store: BlockStore, tmp_path: Path) -> None:
    store.create_image("vol-1", 1)
    for index in range(5):
        write(store.image("vol-1"), index, b"block %d" % index)
    first = store.capture("vol-1")
    stored_before = stored_blocks(tmp_path)
    write(store.image("vol-1"), 2, b"changed")
    second = store.capture("vol-1", first)
    assert changed_indexes(first, second) == {2}
    assert stored_blocks(tmp_path) - stored_before == {second[2]}


def test_zeros_over_data_are_captured_and_zeros_over_nothing_are_not(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 1, b"data")
    first = store.capture("vol-1")
    write(store.image("vol-1"), 1, bytes(BLOCK_BYTES))
    write(store.image("vol-1"), 7, bytes(BLOCK_BYTES))
    second = store.capture("vol-1", first)
    assert sorted(second) == [1]
    assert store.read(second[1]) == bytes(BLOCK_BYTES)


def test_a_discarded_block_is_captured_as_zeros(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 1, b"data")
    first = store.capture("vol-1")
    os.truncate(store.image("vol-1"), 0)
    os.truncate(store.image("vol-1"), 1 << 30)
    assert store.read(store.capture("vol-1", first)[1]) == bytes(BLOCK_BYTES)


def test_an_image_made_of_blocks_is_the_same_and_keeps_the_holes(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, os.urandom(BLOCK_BYTES))
    write(store.image("vol-1"), 900, b"x" * 100)
    captured = store.capture("vol-1")
    store.create_image("vol-2", 1, captured)
    assert store.capture("vol-2") == captured
    assert store.image("vol-2").stat().st_size == 1 << 30
    assert disk_bytes(store.image("vol-2")) < 2 * BLOCK_BYTES


def test_a_block_costs_its_pages_and_not_its_size(store: BlockStore, tmp_path: Path) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, b"x")
    (digest,) = store.capture("vol-1").values()
    assert disk_bytes(tmp_path / "blocks" / digest[:2] / digest) <= 2 * PAGE_BYTES


def test_a_released_block_stays_while_another_snapshot_holds_it(store: BlockStore, tmp_path: Path) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, b"shared")
    write(store.image("vol-1"), 1, b"first only")
    first = store.capture("vol-1")
    write(store.image("vol-1"), 1, b"second only")
    second = store.capture("vol-1", first)
    store.release(first)
    assert stored_blocks(tmp_path) == {second[0], second[1]}
    store.release(second)
    assert stored_blocks(tmp_path) == set()


def test_blocks_held_by_a_copy_outlive_their_source(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, b"kept")
    captured = store.capture("vol-1")
    store.hold(captured)
    store.release(captured)
    assert store.read(captured[0]).startswith(b"kept")


def test_growing_an_image_keeps_what_it_held(store: BlockStore) -> None:
    store.create_image("vol-1", 1)
    write(store.image("vol-1"), 0, b"kept")
    store.grow_image("vol-1", 2)
    assert store.image("vol-1").stat().st_size == 2 << 30
    with store.image("vol-1").open("rb") as image:
        assert image.read(4) == b"kept"


@pytest.mark.parametrize("length", [1, PAGE_BYTES - 1, PAGE_BYTES, PAGE_BYTES + 1, 3 * PAGE_BYTES + 5])
def test_a_sparse_write_writes_every_byte_that_is_not_zero(tmp_path: Path, length: int) -> None:
    content = bytearray(os.urandom(length))
    content[: length // 2] = bytes(length // 2)
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.ftruncate(descriptor, 5 * PAGE_BYTES)
        write_sparse(descriptor, PAGE_BYTES, bytes(content))
    finally:
        os.close(descriptor)
    assert path.read_bytes()[PAGE_BYTES : PAGE_BYTES + length] == bytes(content)
