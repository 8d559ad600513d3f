"""What was read of a file in a sample, and whether that looks encrypted without a reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from functions.inspection.change.known_formats import Format, Holds, is_text, known_by, promised_by
from functions.inspection.change.randomness import Look, counts_of, look_of

BEGINNING_BYTES = 512
"""Kept of a file, for its format: every known mark lies within."""


class Standing(Enum):
    """What is thought of a file of which something was read."""

    ORDINARY = "ordinary"
    """Nothing in it looks random, or too little to matter."""
    EXPLAINED = "explained"
    """It looks random, and its header or its structure says why."""
    CUSTOMARY = "customary"
    """As the next two, and so do unchanged files of the same place: a cache, a repository of encrypted backups."""
    UNEXPLAINED = "unexplained"
    """It begins with random bytes, or was encrypted on purpose; nothing says that it should not be."""
    CONTRADICTED = "contradicted"
    """It looks random where its name or its own other parts say that it should not."""
    UNJUDGED = "unjudged"
    """Too short, empty, or its beginning was not read."""


@dataclass(slots=True)
class Seen:
    """What was read of one file: how it begins, and how its pieces look, by offset in the file."""

    head: Look | None = None
    beginning: bytes = b""
    pieces: dict[int, Look] = field(default_factory=dict[int, Look])

    def add(self, offset: int, piece: bytes) -> Look:
        """The piece at this offset of the file was read."""
        look = self.pieces[offset] = look_of(counts_of(piece))
        if offset == 0:
            self.head, self.beginning = look, piece[:BEGINNING_BYTES]
        return look

    @property
    def known(self) -> Format | None:
        """The format that the file begins with."""
        return known_by(self.beginning)

    def standing(self, path: str) -> Standing:
        """What follows from all of it."""
        looks = set(self.pieces.values())
        if Look.RANDOM not in looks:
            return Standing.ORDINARY if looks & {Look.PATTERNED, Look.UNEVEN} else Standing.UNJUDGED
        if self.head is None or self.head is Look.SHORT:
            return Standing.UNJUDGED
        if self.head is not Look.RANDOM:
            return self._standing_of_inside()
        if known := self.known:
            return Standing.EXPLAINED if known.holds is Holds.PACKED else Standing.UNEXPLAINED
        if promised_by(path) or any(look is Look.PATTERNED for offset, look in self.pieces.items() if offset):
            return Standing.CONTRADICTED
        return Standing.UNEXPLAINED

    def _standing_of_inside(self) -> Standing:
        random = [offset for offset, look in self.pieces.items() if look is Look.RANDOM]
        # A script with an archive behind it is text and then random to its end; text again behind it is not.
        is_torn = any(look is Look.PATTERNED and offset > min(random) for offset, look in self.pieces.items())
        if len(random) >= 2 and is_torn and is_text(self.beginning) and not self.known:
            return Standing.CONTRADICTED
        return Standing.EXPLAINED
