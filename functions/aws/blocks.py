"""The content of EBS snapshots, read block by block through EBS direct: no volume, no instance.

A whole snapshot is compared with another by `compare`. `SnapshotBlocks` is also the port through which the inspection
reads: any block at any time, tokens listed page by page around what is asked for.
"""

from __future__ import annotations

import base64
import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

from functions.aws.clients import Clients
from functions.aws.faults import translated
from functions.aws.permissions import Permission
from functions.core.block_sets import BlockSet
from functions.core.errors import WorkFailed
from functions.core.evidence import Assertion

if TYPE_CHECKING:
    from mypy_boto3_ebs import EBSClient

BLOCK_BYTES = 512 * 1024
"""EBS direct knows one size of block."""

PAGE_BLOCKS = 10_000
READS = 3
"""How often a block is read whose bytes do not match the checksum sent with them."""

THREADS = 8
"""Blocks in flight at once; botocore keeps 10 connections, and more threads than those only queue for one."""

NAMED_INDEXES = 5

FEWEST = 100
"""EBS raises what is smaller to this."""

NEAR_BLOCKS = 2_000
"""How many tokens are listed around a block that is asked for: those of 1 GiB when it is full."""

PAGES_KEPT = 64
LAST_INDEX = 2**63

ZEROS = base64.b64encode(hashlib.sha256(bytes(BLOCK_BYTES)).digest()).decode()
"""The checksum of a block without content. EBS may store such a block or leave it out: both read the same."""

_OURS = Permission(
    actions=("ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"),
    resources=("arn:{partition}:ec2:{region}::snapshot/*",),
    conditions={"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}},
    why="reads the blocks of the points we took; nobody else's snapshots",
)
_DECRYPT = Permission(
    actions=("kms:Decrypt",),
    resources=("arn:{partition}:kms:{region}:{account}:key/*",),
    conditions={"Null": {"kms:EncryptionContext:aws:ebs:id": "false"}},
    why="not called: EBS decrypts a block as the caller; its data keys are bound to this context, and nothing else is "
    "opened",
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "compare": (
        _OURS,
        Permission(
            actions=("ebs:ListSnapshotBlocks", "ebs:GetSnapshotBlock"),
            resources=("arn:{partition}:ec2:{region}::snapshot/*",),
            conditions={"Null": {"aws:ResourceTag/holdfast:rehearsal": "false"}},
            why="reads the snapshot of a restored volume, the only way to its content without an instance",
        ),
        _DECRYPT,
    ),
    "read": (_OURS, _DECRYPT),
    "changed_since": (
        Permission(
            actions=("ebs:ListChangedBlocks",),
            resources=("arn:{partition}:ec2:{region}::snapshot/*",),
            conditions={"StringEquals": {"aws:ResourceTag/holdfast:managed": "1"}},
            why="lists what changed between two points of a volume",
        ),
    ),
}


class UnrelatedSnapshots(Exception):
    """EBS knows no lineage between two snapshots."""


@dataclass(frozen=True, slots=True)
class _Tokens:
    """The tokens of every block from where the page begins up to `end`."""

    end: int
    tokens: Mapping[int, str]


class SnapshotBlocks:
    """A completed snapshot as a sparse sequence of blocks of 512 KiB.

    `listed_pages` counts the listing requests so far, which AWS bills like reads.
    """

    def __init__(self, region: str, snapshot_id: str, clients: Clients) -> None:
        self.region = region
        self.snapshot_id = snapshot_id
        self.listed_pages = 0
        self._ebs: EBSClient = clients.retrying("ebs", region)
        self._tokens: OrderedDict[int, _Tokens] = OrderedDict()

    @cached_property
    def size_bytes(self) -> int:
        """The size of the volume the snapshot was taken of; EBS tells it in whole GiB, which is how it is sold."""
        page = self._page(MaxResults=FEWEST)
        return page["VolumeSize"] * 2**30

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        """The content of each block, None for one that holds no data; several at once.

        Errors: WorkFailed when the bytes of a block never match their checksum; SnapshotGone, NotAllowed, AwsBusy.
        """
        tokens = {index: self._token(index) for index in sorted(indexes)}
        held = {index: token for index, token in tokens.items() if token is not None}
        contents: dict[int, bytes | None] = dict.fromkeys(indexes)
        with ThreadPoolExecutor(THREADS, thread_name_prefix="blocks") as pool:
            contents.update(zip(held, pool.map(self.content, held.keys(), held.values()), strict=True))
        return contents

    def changed_since(self, earlier_id: str) -> BlockSet | None:
        """The blocks that may differ from an earlier snapshot of the volume, as EBS kept count; None when EBS knows
        no lineage between the two.

        Errors: SnapshotGone when the earlier one does not exist.
        """
        try:
            return BlockSet(self._changed(earlier_id))
        except UnrelatedSnapshots:
            return None

    def indexes(self) -> Iterator[tuple[int, str]]:
        """Every block that holds data with the token that reads it, over all pages.

        Lazily, because a full volume of 16 TiB has 33 million. An empty page with a token is not the end.
        """
        page = self._page()
        while True:
            for block in page.get("Blocks", ()):
                yield block["BlockIndex"], block["BlockToken"]
            if not page.get("NextToken"):
                return
            page = self._page(NextToken=page["NextToken"])

    def checksum(self, index: int, token: str) -> str:
        """The base64 SHA-256 of a block, computed from the bytes that arrived and equal to the one EBS sent.

        Errors: as `content`.
        """
        return _sha256(self.content(index, token))

    def content(self, index: int, token: str) -> bytes:
        """The bytes of a block, which match the checksum that EBS sent with them.

        Errors: WorkFailed when they never match; SnapshotGone, NotAllowed, AwsBusy.
        """
        seen = "nothing"
        for _ in range(READS):
            with translated("ebs:GetSnapshotBlock", resource=self.snapshot_id):
                answer = self._ebs.get_snapshot_block(SnapshotId=self.snapshot_id, BlockIndex=index, BlockToken=token)
                try:
                    data = answer["BlockData"].read()
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError) as cut:
                    seen = f"a reply cut short ({type(cut).__name__})"
                    continue
            if _sha256(data) == answer["Checksum"]:
                return data
            seen = f"{len(data):,} bytes that do not match the checksum sent with them"
        raise WorkFailed(
            f"block {index} of {self.snapshot_id} in {self.region} could not be read in {READS} attempts: {seen}",
            hint="start the rehearsal again; if it is the same block again, open a support case with the snapshot id",
        )

    def digest(self, budget_blocks: int) -> dict[int, str]:
        """The checksum of every block that holds data, or of `budget_blocks` of them spread evenly when there are
        more."""
        return self.checksums(spread(array("I", (index for index, _ in self.indexes())), budget_blocks))

    def checksums(self, wanted: Collection[int]) -> dict[int, str]:
        """The checksum of each wanted block that holds data; a block that holds none is missing from the answer.

        Lists the blocks once more, because keeping a token for every block of a large volume takes gigabytes.
        """
        chosen = frozenset(wanted)
        if not chosen:
            return {}
        tokens = {index: token for index, token in self.indexes() if index in chosen}
        with ThreadPoolExecutor(THREADS, thread_name_prefix="blocks") as pool:
            return dict(zip(tokens, pool.map(self.checksum, tokens.keys(), tokens.values()), strict=True))

    def _token(self, index: int) -> str | None:
        """The token that reads a block, None when it holds no data; lists the page around it when need be."""
        for start, page in self._tokens.items():
            if start <= index < page.end:
                self._tokens.move_to_end(start)
                return page.tokens.get(index)
        listed = self._page(MaxResults=NEAR_BLOCKS, StartingBlockIndex=index)
        while not listed.get("Blocks") and listed.get("NextToken"):
            listed = self._page(MaxResults=NEAR_BLOCKS, NextToken=listed["NextToken"])
        tokens = {block["BlockIndex"]: block["BlockToken"] for block in listed.get("Blocks", ())}
        self._tokens[index] = _Tokens(max(tokens) + 1 if listed.get("NextToken") else LAST_INDEX, tokens)
        if len(self._tokens) > PAGES_KEPT:
            self._tokens.popitem(last=False)
        return tokens.get(index)

    def _changed(self, earlier_id: str) -> Iterator[int]:
        position: dict[str, Any] = {}
        while True:
            with translated("ebs:ListChangedBlocks", resource=earlier_id):
                try:
                    page = self._ebs.list_changed_blocks(
                        FirstSnapshotId=earlier_id,
                        SecondSnapshotId=self.snapshot_id,
                        MaxResults=PAGE_BLOCKS,
                        **position,
                    )
                except self._ebs.exceptions.ValidationException as refusal:
                    if refusal.response.get("Reason") == "UNRELATED_SNAPSHOTS":
                        raise UnrelatedSnapshots from refusal
                    raise
            self.listed_pages += 1
            yield from (block.get("BlockIndex", 0) for block in page.get("ChangedBlocks", ()))
            next_token = page.get("NextToken")
            if not next_token:
                return
            position = {"NextToken": next_token}

    def _page(self, MaxResults: int = PAGE_BLOCKS, **position: Any) -> Mapping[str, Any]:  # noqa: N803 - AWS's word
        self.listed_pages += 1
        with translated("ebs:ListSnapshotBlocks", resource=self.snapshot_id):
            return self._ebs.list_snapshot_blocks(SnapshotId=self.snapshot_id, MaxResults=MaxResults, **position)


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was compared: the assertions, where the source holds data, and the checksum of each block read of it."""

    assertions: tuple[Assertion, ...]
    source_blocks: BlockSet
    source_checksums: Mapping[int, str]


def compare(source: SnapshotBlocks, restored: SnapshotBlocks, *, budget_blocks: int) -> Comparison:
    """What reading both snapshots says: the same blocks hold data, and the blocks read have the same content.

    At most `budget_blocks` block indexes are read; a sample is called a sample.
    """
    layout = side_by_side((i for i, _ in source.indexes()), (i for i, _ in restored.indexes()))
    lone = spread(layout.only_source, budget_blocks // 4), spread(layout.only_restored, budget_blocks // 4)
    shared = spread(layout.shared, budget_blocks - sum(map(len, lone)))
    of_source = source.checksums([*lone[0], *shared])
    return Comparison(
        assertions=judged(layout, source=of_source, restored=restored.checksums([*lone[1], *shared])),
        source_blocks=BlockSet(chain(layout.shared, layout.only_source)),
        source_checksums=of_source,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which blocks hold data in both snapshots, and which in one of them only; ascending."""

    shared: Sequence[int]
    only_source: Sequence[int]
    only_restored: Sequence[int]


def side_by_side(source: Iterable[int], restored: Iterable[int]) -> Layout:
    """The layout of two snapshots; one byte of memory for each block of the volume while it is made."""
    in_source, in_restored = 1, 2
    marks = bytearray()
    for mark, indexes in ((in_source, source), (in_restored, restored)):
        for index in indexes:
            if index >= len(marks):
                marks.extend(bytes(index + 1 - len(marks)))
            marks[index] |= mark

    def marked(mark: int) -> array[int]:
        return array("I", (index for index, seen in enumerate(marks) if seen == mark))

    return Layout(
        shared=marked(in_source | in_restored), only_source=marked(in_source), only_restored=marked(in_restored)
    )


def spread(indexes: Sequence[int], at_most: int) -> Sequence[int]:
    """All of them, or `at_most` of them at even distances, first and last included."""
    if len(indexes) <= at_most:
        return indexes
    if at_most <= 1:
        return indexes[:at_most]
    last = len(indexes) - 1
    return [indexes[step * last // (at_most - 1)] for step in range(at_most)]


def judged(layout: Layout, *, source: Mapping[int, str], restored: Mapping[int, str]) -> tuple[Assertion, Assertion]:
    """What follows from the checksums that were read.

    A block that only one snapshot has is as good as absent when it holds zeros; one that was not read leaves the
    first question open.
    """
    return _same_blocks(layout, source, restored), _same_content(layout, source, restored)


def _same_blocks(layout: Layout, source: Mapping[int, str], restored: Mapping[int, str]) -> Assertion:
    what = "the same blocks hold data"
    lone = len(layout.only_source) + len(layout.only_restored)
    read = {i: source[i] for i in layout.only_source if i in source}
    read |= {i: restored[i] for i in layout.only_restored if i in restored}
    filled = sorted(i for i, checksum in read.items() if checksum != ZEROS)
    counts = (
        f"{len(layout.shared):,} blocks in both, {len(layout.only_source):,} only in the source, "
        f"{len(layout.only_restored):,} only in the restored"
    )
    if filled:
        return Assertion(what=what, held=False, detail=f"{counts}; not empty: {_named(filled)}")
    if len(read) < lone:
        detail = f"{counts}; {len(read):,} of those {lone:,} were read and hold zeros, a sample; read more blocks"
        return Assertion(what=what, held=None, detail=detail)
    return Assertion(what=what, held=True, detail=f"{counts}, which hold zeros" if lone else counts)


def _same_content(layout: Layout, source: Mapping[int, str], restored: Mapping[int, str]) -> Assertion:
    what = "the content is the same"
    total = len(layout.shared)
    compared = [i for i in layout.shared if i in source and i in restored]
    if not compared:
        detail = f"none of {total:,} blocks was compared" if total else "neither snapshot holds a block to compare"
        return Assertion(what=what, held=None, detail=detail)
    extent = f"{len(compared):,} of {total:,} blocks" + (", a sample" if len(compared) < total else "")
    extent = f"{extent} ({len(compared) * BLOCK_BYTES:,} bytes)"
    differing = [i for i in compared if source[i] != restored[i]]
    if differing:
        detail = f"{len(differing):,} of the compared blocks differ: {_named(differing)}; compared {extent}"
        return Assertion(what=what, held=False, detail=detail)
    return Assertion(what=what, held=True, detail=f"compared {extent}")


def _named(indexes: Sequence[int]) -> str:
    first = ", ".join(str(index) for index in indexes[:NAMED_INDEXES])
    return f"block {first}" + (" and more" if len(indexes) > NAMED_INDEXES else "")
