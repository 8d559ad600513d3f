"""Reading the content of a snapshot, as rehearsals and recoveries do it, within a time and a cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from functions.aws.blocks import SnapshotBlocks
from functions.core.block_sets import BlockSet
from functions.core.errors import SnapshotGone
from functions.core.evidence import Assertion
from functions.core.rehearsals import ContentRead
from functions.handlers import frame
from functions.inspection.change.judgement import Shares, judge_change
from functions.inspection.devices import BudgetSpent, SnapshotDevice
from functions.inspection.file_systems import FileSystem
from functions.inspection.whole_disk import inspect_disk

READ_USD = 0.003 / 1000
LISTED_USD = 0.0006 / 1000
"""What EBS direct bills for a block read and for a page listed, in most Regions."""

PAGES_OF_A_DATABASE = 20_000
"""So many pages of each database are read at most, spread evenly: 156 MB of PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToRead:
    """A snapshot to be read. `before_id` is the snapshot of the point before, in the same Region, where there is one;
    `usual` is what earlier changes of the volume were like."""

    source_id: str
    snapshot_id: str
    region: str
    before_id: str | None = None
    before_at: datetime | None = None
    usual: Shares | None = None


@dataclass(slots=True)
class Read:
    """What one snapshot showed. Its file systems can be read on, and every block of that is counted too."""

    wanted: ToRead
    assertions: list[Assertion]
    file_systems: list[FileSystem]
    metadata_blocks: int
    device: SnapshotDevice
    blocks: SnapshotBlocks
    shares: Shares | None = None

    @property
    def content(self) -> ContentRead:
        """What reading took so far, for the record."""
        read_blocks, listed_pages = self.device.read_blocks, self.blocks.listed_pages
        return ContentRead(
            source_id=self.wanted.source_id,
            snapshot_id=self.wanted.snapshot_id,
            file_systems=tuple(one.kind for one in self.file_systems),
            metadata_blocks=self.metadata_blocks,
            read_blocks=read_blocks,
            listed_pages=listed_pages,
            price_usd=round(read_blocks * READ_USD + listed_pages * LISTED_USD, 6),
            change_shares=asdict(self.shares) if self.shares else None,
        )


class _InTime:
    """Blocks that can be read until a time, and not any more then: a function must answer before it is ended."""

    def __init__(self, blocks: SnapshotBlocks, until: datetime) -> None:
        self._blocks = blocks
        self._until = until
        self.size_bytes = blocks.size_bytes

    def read(self, indexes: Sequence[int]) -> Mapping[int, bytes | None]:
        if frame.now() > self._until:
            raise BudgetSpent("the time for reading is over")
        return self._blocks.read(indexes)


def read_snapshot(wanted: ToRead, blocks: SnapshotBlocks, *, until: datetime, budget_blocks: int) -> Read:
    """What the snapshot says about itself, and what its change since the point before says.

    Errors: those of reading at AWS: SnapshotGone, NotAllowed, AwsBusy, WorkFailed.
    """
    device = SnapshotDevice(_InTime(blocks, until), budget_blocks=budget_blocks)
    inspected = inspect_disk(device, most_pages=PAGES_OF_A_DATABASE)
    assertions = list(inspected.assertions)
    shares: Shares | None = None
    changed = _changed(wanted, blocks)
    if changed is not None and inspected.file_systems:
        try:
            finding = judge_change(
                inspected.file_systems,
                device,
                changed,
                seed=_seed(wanted.snapshot_id),
                changed_since=wanted.before_at,
                usual=wanted.usual,
            )
        except BudgetSpent as spent:
            what = "the change is not mass encryption"
            assertions.append(Assertion(what=what, held=None, detail=str(spent)))
        else:
            shares = finding.shares
            assertions.append(finding.assertion())
    return Read(
        wanted=wanted,
        assertions=[replace(one, what=f"{wanted.source_id}: {one.what}") for one in assertions],
        file_systems=inspected.file_systems,
        metadata_blocks=inspected.metadata_blocks,
        device=device,
        blocks=blocks,
        shares=shares,
    )


def _changed(wanted: ToRead, blocks: SnapshotBlocks) -> BlockSet | None:
    """What changed since the point before; None when there is none, when it was deleted meanwhile, or when EBS knows
    no lineage between the two. Then nothing is said about the change."""
    if wanted.before_id is None:
        return None
    try:
        return blocks.changed_since(wanted.before_id)
    except SnapshotGone:
        return None


def _seed(snapshot_id: str) -> int:
    """The same sample however often the state is tried again."""
    return int.from_bytes(snapshot_id.encode()[-6:], "big")
