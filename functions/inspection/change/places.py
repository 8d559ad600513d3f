"""What has always been at a place: files that did not change speak for or against new ones beside them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_UNCHANGED = 100_000
"""Of the unchanged files so many are remembered, spread over the walk: near ones remain near in every large folder."""


class Place(NamedTuple):
    """Where files of one kind lie: their ending, and the folder above their own, because programs that keep very many
    files spread them over sibling folders."""

    ending: str
    above: str

    @classmethod
    def of(cls, path: str) -> Place:
        """The place of a file."""
        folder, ending = folder_and_ending(path)
        return cls(ending, folder.rpartition("/")[0])


def folder_and_ending(path: str) -> tuple[str, str]:
    """The folder of a file, and what follows the last dot of its name; "" when it has none."""
    folder, _, name = path.rpartition("/")
    return folder, name.rpartition(".")[2] if "." in name else ""


@dataclass(slots=True, eq=False)
class UnchangedFiles:
    """Files of which nothing changed: where on the disk they begin, and how many bytes follow there in one piece."""

    paths: list[str] = field(default_factory=list[str])
    starts: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("q"))
    _met: int = 0
    _step: int = 1

    def add(self, path: str, start: int, length: int) -> None:
        """The file is remembered, or is one of those that are left out evenly because there are too many."""
        self._met += 1
        if self._met % self._step:
            return
        self.paths.append(path)
        self.starts.append(start)
        self.lengths.append(length)
        if len(self.paths) > MOST_UNCHANGED:
            self._step *= 2
            self.paths, self.starts, self.lengths = self.paths[::2], self.starts[::2], self.lengths[::2]

    def beside(self, path: str, wanted: int) -> Sequence[int]:
        """The numbers of at most so many files of the same place, those that stand nearest in order of names."""
        place = Place.of(path)
        here = sorted(
            (other, number)
            for number, other in enumerate(self.paths)
            if other.startswith(place.above) and Place.of(other) == place
        )
        middle = bisect_left(here, (path, 0))
        around = here[max(0, middle - wanted) : middle + wanted]
        return [number for _, number in around[:: -(-len(around) // wanted) or 1]]
