"""Which blocks of a volume: a set of small numbers that stays small when there are 33 million of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator


class BlockSet(Collection[int]):
    """Block indexes, ascending. One byte for each block up to the highest one: 33 MB for a volume of 16 TiB."""

    def __init__(self, indexes: Iterable[int] = ()) -> None:
        self._marks = bytearray()
        for index in indexes:
            if index >= len(self._marks):
                self._marks.extend(bytes(index + 1 - len(self._marks)))
            self._marks[index] = 1

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and 0 <= index < len(self._marks) and self._marks[index] == 1

    def __iter__(self) -> Iterator[int]:
        position = self._marks.find(1)
        while position >= 0:
            yield position
            position = self._marks.find(1, position + 1)

    def __len__(self) -> int:
        return self._marks.count(1)
