"""EBS direct of one Region as its client answers: which blocks a snapshot has, what is in them, what changed.

A block is a number that stands for 512 KiB of it, made when it is read.
"""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from tests.simulation import faults
from tests.simulation.ec2 import EbsSnapshot, Ec2
from tests.simulation.table import refusal

BLOCK_BYTES = 512 * 1024


class ValidationException(ClientError):
    """As the client's own factory of exceptions makes it."""


class EbsDirect:
    """One Region."""

    class exceptions:  # noqa: N801 - the name it has on a client
        """The errors that a client of EBS direct knows by name."""

        ValidationException = ValidationException

    def __init__(self, ec2: Ec2, now: Callable[[], datetime]) -> None:
        self._ec2 = ec2
        self._now = now

    def list_snapshot_blocks(
        self,
        *,
        SnapshotId: str,
        MaxResults: int = 10_000,
        NextToken: str | None = None,
        StartingBlockIndex: int = 0,
    ) -> dict[str, Any]:
        snapshot = self._readable(SnapshotId)
        first = int(NextToken) if NextToken else StartingBlockIndex
        left = [index for index in sorted(snapshot.blocks) if index >= first]
        page = left[:MaxResults]
        answer: dict[str, Any] = {
            "Blocks": [{"BlockIndex": index, "BlockToken": f"{SnapshotId}-{index}"} for index in page],
            "VolumeSize": snapshot.size_gib,
            "BlockSize": BLOCK_BYTES,
        }
        if len(page) < len(left):
            answer["NextToken"] = str(left[len(page)])
        return answer

    def list_changed_blocks(
        self,
        *,
        FirstSnapshotId: str,
        SecondSnapshotId: str,
        MaxResults: int,
        NextToken: str | None = None,
    ) -> dict[str, Any]:
        first, second = self._readable(FirstSnapshotId), self._readable(SecondSnapshotId)
        if first.volume_id != second.volume_id:
            raise ValidationException(
                refusal("ValidationException", "unrelated", "", 400, Reason="UNRELATED_SNAPSHOTS").response,
                "ListChangedBlocks",
            )
        differs = sorted(
            index for index in {*first.blocks, *second.blocks} if first.blocks.get(index) != second.blocks.get(index)
        )
        return {"ChangedBlocks": [{"BlockIndex": index} for index in differs], "BlockSize": BLOCK_BYTES}

    def get_snapshot_block(
        self,
        *,
        SnapshotId: str,
        BlockIndex: int,
        BlockToken: str,
        fault: str | None = None,
    ) -> dict[str, Any]:
        snapshot = self._readable(SnapshotId)
        version = snapshot.blocks[BlockIndex]
        content = _content(version)
        if fault == faults.DAMAGED_ON_THE_WAY:
            content = b"\x7f" + content[1:]
        return {"BlockData": io.BytesIO(content), "Checksum": _checksum(version), "DataLength": BLOCK_BYTES}

    def _readable(self, id: str) -> EbsSnapshot:
        snapshot = self._ec2.snapshots.get(id)
        if snapshot is None or self._now() < snapshot.visible_at:
            raise refusal("ResourceNotFoundException", f"{id} does not exist", "ListSnapshotBlocks", 404)
        if snapshot.state(self._now()) != "completed":
            raise ValidationException(
                refusal("ValidationException", "not completed", "", 400, Reason="INVALID_SNAPSHOT").response,
                "ListSnapshotBlocks",
            )
        return snapshot


@cache
def _content(version: int) -> bytes:
    """Text, so that nobody takes it for the structures of a file system."""
    return (f"version {version} ".encode() * BLOCK_BYTES)[:BLOCK_BYTES]


@cache
def _checksum(version: int) -> str:
    return base64.b64encode(hashlib.sha256(_content(version)).digest()).decode()
