"""The trees of btrfs: nodes are read, judged in all their copies, searched and walked."""

from __future__ import annotations

import bisect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence

from functions.inspection.btrfs.chunks import ChunkMap, Unmapped
from functions.inspection.btrfs.format import (
    CHECKSUM_FIELD_BYTES,
    FIRST_FREE_ID,
    FIRST_KEY,
    LAST_FREE_ID,
    LAST_KEY,
    LOG_TREE,
    NODE_HEAD,
    RELOCATION_TREE,
    TOP_SUBVOLUME,
    Key,
    Node,
    Pointer,
    parse_node,
)
from functions.inspection.btrfs.superblock import Superblock
from functions.inspection.devices import Device, OutOfRange
from functions.inspection.file_systems import Damaged
from functions.inspection.findings import Findings

_KEPT_BYTES = 16 * 1024 * 1024
"""So many bytes of nodes are kept, taken apart, for searches."""

_EXPECTED_AT_ONCE = 128
_MOST_REPORTED = 100_000


def is_subvolume(tree: int) -> bool:
    """Whether a tree of that number holds files and directories."""
    return tree == TOP_SUBVOLUME or FIRST_FREE_ID <= tree <= LAST_FREE_ID


class Elsewhere(Exception):
    """Every copy of this place lies on devices that are not here."""


class Trees:
    """Reads nodes by their logical address. `elsewhere` counts the nodes that lie on other devices."""

    def __init__(self, device: Device, findings: Findings, superblock: Superblock, chunks: ChunkMap) -> None:
        self._device = device
        self._findings = findings
        self._superblock = superblock
        self._chunks = chunks
        self._kept: OrderedDict[int, Node] = OrderedDict()
        self._most_kept = max(64, _KEPT_BYTES // superblock.node_bytes)
        self._reported: set[tuple[str, int]] = set()
        self.elsewhere = 0

    def node(self, pointer: Pointer, *, every_copy: bool = False) -> Node:
        """The node as its parent describes it, from the first good copy; what is wrong with others is reported.

        Errors: Damaged when no copy is good, which is reported too; Elsewhere; BudgetSpent.
        """
        kept = None if every_copy else self._kept.get(pointer.logical)
        if kept is None:
            kept = self._read(pointer, every_copy=every_copy)
            self._kept[pointer.logical] = kept
            if len(self._kept) > self._most_kept:
                self._kept.popitem(last=False)
        else:
            self._kept.move_to_end(pointer.logical)
        wrong = _mismatch(kept, pointer)
        if wrong:
            self._report(wrong, pointer, self._first_place(pointer))
            raise Damaged(f"node {pointer.logical:,}: {wrong}")
        return kept

    def items(self, root: Pointer, low: Key = FIRST_KEY, high: Key = LAST_KEY) -> Iterator[tuple[Key, bytes]]:
        """Every item from `low` to `high`, both included, in key order.

        Errors: Damaged, Elsewhere when a node on the way cannot be read; BudgetSpent.
        """
        waiting = [root]
        while waiting:
            pointer = waiting.pop()
            node = self.node(pointer)
            if node.level:
                first = max(0, bisect.bisect_right(node.keys, low) - 1)
                last = bisect.bisect_right(node.keys, high)
                waiting += [node.child(position, pointer) for position in reversed(range(first, last))]
                continue
            for position in range(bisect.bisect_left(node.keys, low), bisect.bisect_right(node.keys, high)):
                yield node.keys[position], node.item(position)

    def walk(
        self,
        root: Pointer,
        *,
        every_copy: bool = False,
        judged: set[int] | None = None,
        leaves_out: Callable[[Pointer, Key | None], bool] | None = None,
    ) -> Iterator[Node]:
        """Every node that can be read, parents first, each level in the order in which it lies on the device.

        A node that cannot be read is reported and what is below it is left out. Nodes whose address is in `judged`
        are left out too, and the others are added to it. `leaves_out` is asked about every child, with the key of the
        next one. Errors: BudgetSpent.
        """
        seen: set[int] = set() if judged is None else judged
        level = [root]
        while level:
            below: list[Pointer] = []
            for pointer, node in self._in_order(level, every_copy, seen):
                yield node
                for position in range(len(node.keys) if node.level else 0):
                    following = node.keys[position + 1] if position + 1 < len(node.keys) else pointer.end
                    child = node.child(position, pointer)
                    if child.logical not in seen and not (leaves_out and leaves_out(child, following)):
                        below.append(child)
            level = below

    def leaves(self, root: Pointer) -> Iterator[Node]:
        """Every leaf that can be read, as `walk`, from the first good copy."""
        return (node for node in self.walk(root) if not node.level)

    def _in_order(
        self, pointers: Sequence[Pointer], every_copy: bool, seen: set[int]
    ) -> Iterator[tuple[Pointer, Node]]:
        ordered = sorted(pointers, key=self._first_place)
        for start in range(0, len(ordered), _EXPECTED_AT_ONCE):
            batch = ordered[start : start + _EXPECTED_AT_ONCE]
            self._device.expect(
                (at, self._superblock.node_bytes)
                for pointer in batch
                for at in self._places(pointer.logical, every_copy)
            )
            for pointer in batch:
                if pointer.logical in seen:
                    continue
                seen.add(pointer.logical)
                try:
                    yield pointer, self.node(pointer, every_copy=every_copy)
                except (Damaged, Elsewhere):
                    continue  # in the findings, or counted in `elsewhere`

    def _first_place(self, pointer: Pointer) -> int:
        return next(iter(self._places(pointer.logical, False)), -1)

    def _places(self, logical: int, every_copy: bool) -> list[int]:
        try:
            copies, _ = self._chunks.copies(logical)
        except Unmapped:
            return []
        here = [at for at in copies if at is not None]
        return here if every_copy else here[:1]

    def _read(self, pointer: Pointer, *, every_copy: bool) -> Node:
        try:
            copies, left = self._chunks.copies(pointer.logical)
        except Unmapped:
            self._report("address", pointer, None)
            raise Damaged(f"no chunk holds the node {pointer.logical:,}") from None
        if left < self._superblock.node_bytes:
            self._report("address", pointer, None)
            raise Damaged(f"the node {pointer.logical:,} does not fit into its chunk")
        good: Node | None = None
        here = [at for at in copies if at is not None]
        for at in here:
            if good is not None and not every_copy:
                break
            copy = self._copy(pointer, at)
            if good and copy and good.content[CHECKSUM_FIELD_BYTES:] != copy.content[CHECKSUM_FIELD_BYTES:]:
                self._report("copies", pointer, at)
            good = good or copy
        if good is None:
            self.elsewhere += not here
            raise Damaged(f"no copy of the node {pointer.logical:,} is good") if here else Elsewhere
        return good

    def _copy(self, pointer: Pointer, at: int) -> Node | None:
        """One copy if it is good; what is wrong is reported."""
        wrong, node = self._judge(pointer, at)
        if wrong:
            self._report(wrong, pointer, at)
            return None
        return node

    def _judge(self, pointer: Pointer, at: int) -> tuple[str, Node | None]:
        size, checksum = self._superblock.node_bytes, self._superblock.checksum
        try:
            content = self._device.read(at, size)
        except OutOfRange:
            return "truncated", None
        area = "log" if pointer.owner == LOG_TREE else "nodes"
        self._findings.read(area, at, checksum.length)
        self._findings.read(area, at + CHECKSUM_FIELD_BYTES, size - CHECKSUM_FIELD_BYTES)
        if checksum.of and checksum.of(content[CHECKSUM_FIELD_BYTES:]) != content[: checksum.length]:
            return "checksum", None
        file_system, logical, *_ = NODE_HEAD.unpack_from(content, CHECKSUM_FIELD_BYTES)
        if logical != pointer.logical:
            return "address", None
        if file_system != self._superblock.metadata_uuid:
            return "file-system", None
        try:
            node = parse_node(content)
        except ValueError:
            return "items", None
        return _mismatch(node, pointer), node

    def _report(self, fault: str, pointer: Pointer, at: int | None) -> None:
        place = (fault, pointer.logical if at is None else at)
        if place in self._reported:
            return
        if len(self._reported) < _MOST_REPORTED:
            self._reported.add(place)
        detail = f"node {pointer.logical:,} of tree {_tree_name(pointer.owner)}, level {pointer.level}"
        self._findings.damage(f"btrfs.node.{fault}", detail, at=at)


def _tree_name(tree: int) -> str:
    return str(tree if tree < 2**63 else tree - 2**64)


def _mismatch(node: Node, pointer: Pointer) -> str:
    """What a node, good in itself, contradicts of what its parent says; empty when nothing."""
    if node.level != pointer.level:
        return "level"
    if pointer.generation is not None and node.generation != pointer.generation:
        return "generation"
    if node.level and any(generation > node.generation for _, generation in node.slots):
        return "generation"
    if not _may_own(node.owner, pointer.owner):
        return "owner"
    if node.keys and pointer.first is not None and node.keys[0] != pointer.first:
        return "key-order"
    if node.keys and pointer.end is not None and node.keys[-1] >= pointer.end:
        return "key-order"
    return "" if node.keys or pointer.first is None else "items"


def _may_own(owner: int, tree: int) -> bool:
    """Subvolumes share nodes with each other and with the trees of a relocation; all others own theirs."""
    if is_subvolume(tree) or tree == RELOCATION_TREE:
        return is_subvolume(owner) or owner == RELOCATION_TREE
    return owner == tree
