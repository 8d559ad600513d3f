"""The prepared disks, laid out once for each test process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from embedded.disks import DISKS, lay
from embedded.disks.image_blocks import ImageBlocks


@pytest.fixture(scope="session")
def disk_path(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The image file of a prepared disk: ext4, xfs, btrfs, ntfs or gpt."""
    folder = tmp_path_factory.mktemp("disks")

    def path(name: str) -> Path:
        image = folder / f"{name}.img"
        if not image.exists():
            image.touch()
            with image.open("r+b") as file:
                file.truncate(DISKS[name].size_bytes)
            lay(name, image)
        return image

    return path


@pytest.fixture
def open_image() -> Iterator[Callable[[Path], ImageBlocks]]:
    """The blocks of any image file, closed when the test is over."""
    with ExitStack() as opened:
        yield lambda path: opened.enter_context(closing(ImageBlocks(path)))


@pytest.fixture
def disk(disk_path: Callable[[str], Path], open_image: Callable[[Path], ImageBlocks]) -> Callable[[str], ImageBlocks]:
    """The blocks of a prepared disk, to be damaged at will."""
    return lambda name: open_image(disk_path(name))
