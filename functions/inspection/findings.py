"""What an inspection found, gathered so that a hostile disk can fill neither memory nor a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

MOST_KEPT = 20
"""Of one kind of finding, so many are kept with their details; the others are counted."""

LONGEST_DETAIL = 200


class Weight(StrEnum):
    """What a finding does to the verdict."""

    DAMAGE = "damage"
    """The content is not what its own checksums and structure promise: unfit."""
    UNKNOWN = "unknown"
    """Something could not be checked, so nothing is promised about it: undecided."""
    NOTE = "note"
    """Worth saying, and normal: a journal that needs replay, a feature that is not used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One observation. `code` is stable and names the check ("ext4.group-descriptor.checksum"), `detail` what was seen.

    `at` is the offset on the device that was inspected, where one place can be named.
    """

    weight: Weight
    code: str
    detail: str
    at: int | None = None


@dataclass(frozen=True, slots=True)
class Area:
    """A stretch of the device that holds metadata of this name, as the checks read it. What tests and benchmarks
    damage on purpose is chosen from these, so nothing that is read and judged is left out."""

    name: str
    offset: int
    length: int


class Findings:
    """The findings about one device. `areas` is filled only when `keeps_areas`: a large disk has millions."""

    def __init__(self, *, keeps_areas: bool = False) -> None:
        self._kept: list[Finding] = []
        self._counts: Counter[tuple[Weight, str]] = Counter()
        self._keeps_areas = keeps_areas
        self.areas: list[Area] = []

    def damage(self, code: str, detail: str, *, at: int | None = None) -> None:
        """Adds what is broken."""
        self._add(Weight.DAMAGE, code, detail, at)

    def unknown(self, code: str, detail: str, *, at: int | None = None) -> None:
        """Adds what could not be checked."""
        self._add(Weight.UNKNOWN, code, detail, at)

    def note(self, code: str, detail: str, *, at: int | None = None) -> None:
        """Adds what is worth saying and changes nothing."""
        self._add(Weight.NOTE, code, detail, at)

    def read(self, area: str, offset: int, length: int) -> None:
        """Remembers that metadata lies here."""
        if self._keeps_areas:
            self.areas.append(Area(area, offset, length))

    def of(self, weight: Weight) -> Sequence[Finding]:
        """The kept findings of that weight, in the order in which they were made."""
        return [finding for finding in self._kept if finding.weight is weight]

    def count(self, weight: Weight, code: str | None = None) -> int:
        """How many there were, kept or not."""
        return sum(n for (w, c), n in self._counts.items() if w is weight and code in (None, c))

    @property
    def is_damaged(self) -> bool:
        """Whether anything is broken."""
        return any(weight is Weight.DAMAGE for weight, _ in self._counts)

    def _add(self, weight: Weight, code: str, detail: str, at: int | None) -> None:
        self._counts[weight, code] += 1
        if self._counts[weight, code] <= MOST_KEPT:
            self._kept.append(Finding(weight=weight, code=code, detail=detail[:LONGEST_DETAIL], at=at))
