"""PostgreSQL's pg_control: what state the server was in, and where its recovery begins."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from functions.inspection.checksums import crc32c

CONTROL_FORMATS = {1201: "12", 1300: "13 to 16", 1700: "17", 1800: "18"}
"""PG_CONTROL_VERSION -> the major versions of PostgreSQL that write it. Other versions are not read."""

_CHECKSUM_AT = {1201: 288, 1300: 288, 1700: 288, 1800: 292}
"""PostgreSQL 18 keeps one more flag in front of the 32 bytes of mock authentication."""

_SHORTEST = 296


class ControlBroken(Exception):
    """The server would refuse this pg_control: it is short, or is not what its own checksum says."""


class ControlUnknown(Exception):
    """A pg_control of a version or an architecture whose layout is not known here."""


class State(IntEnum):
    """DBState, as pg_control.h counts it."""

    STARTUP = 0
    SHUT_DOWN = 1
    SHUT_DOWN_IN_RECOVERY = 2
    SHUTTING_DOWN = 3
    IN_CRASH_RECOVERY = 4
    IN_ARCHIVE_RECOVERY = 5
    IN_PRODUCTION = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What a check needs of pg_control. Places in the WAL are the bytes written since the cluster was made (LSN)."""

    version: int
    catalog_version: int
    system_identifier: int
    state: State
    checkpoint: int
    redo: int
    timeline: int
    full_page_writes: bool
    next_transaction: int
    next_object: int
    oldest_transaction: int
    recovered_until: int
    """minRecoveryPoint: recovery must come this far before the files agree with each other; 0 when it need not."""
    recovered_until_timeline: int
    backup_start: int
    backup_end_required: bool
    page_bytes: int
    pages_per_segment: int
    wal_page_bytes: int
    wal_segment_bytes: int
    has_checksums: bool

    @property
    def was_stopped(self) -> bool:
        """Whether the server was shut down cleanly, so that every page is on the disk as it was left."""
        return self.state in (State.SHUT_DOWN, State.SHUT_DOWN_IN_RECOVERY)


def read_control(content: bytes) -> Control:
    """The control data of a cluster.

    Source: src/include/catalog/pg_control.h, the layout of 64 bit little-endian machines.
    Errors: ControlBroken; ControlUnknown.
    """
    if len(content) < _SHORTEST:
        raise ControlBroken(f"{len(content)} bytes, {_SHORTEST} are needed")
    system_identifier, version, catalog_version, state = struct.unpack_from("<QIII", content)
    if version not in CONTROL_FORMATS:
        raise _of_unknown_version(content, version)
    checksum_at = _CHECKSUM_AT[version]
    stored = struct.unpack_from("<I", content, checksum_at)[0]
    if crc32c(content[:checksum_at]) != stored:
        raise ControlBroken("its content is not what its checksum says")
    checkpoint, redo, timeline = struct.unpack_from("<QQI", content, 32)
    next_transaction, next_object = struct.unpack_from("<QI", content, 64)
    recovered_until, recovered_until_timeline = struct.unpack_from("<QI", content, 136)
    page_bytes, pages_per_segment, wal_page_bytes, wal_segment_bytes = struct.unpack_from("<IIII", content, 216)
    if not (
        _is_power_of_two(page_bytes, 1024, 32768)
        and _is_power_of_two(wal_page_bytes, 1024, 65536)
        and _is_power_of_two(wal_segment_bytes, 1 << 20, 1 << 30)
        and 0 < pages_per_segment < 1 << 31
        and state <= State.IN_PRODUCTION
    ):
        raise ControlUnknown(f"pages of {page_bytes}, WAL segments of {wal_segment_bytes} bytes, state {state}")
    return Control(
        version=version,
        catalog_version=catalog_version,
        system_identifier=system_identifier,
        state=State(state),
        checkpoint=checkpoint,
        redo=redo,
        timeline=timeline,
        full_page_writes=bool(content[56]),
        next_transaction=next_transaction & 0xFFFFFFFF,
        next_object=next_object,
        oldest_transaction=struct.unpack_from("<I", content, 84)[0],
        recovered_until=recovered_until,
        recovered_until_timeline=recovered_until_timeline,
        backup_start=struct.unpack_from("<Q", content, 152)[0],
        backup_end_required=bool(content[168]),
        page_bytes=page_bytes,
        pages_per_segment=pages_per_segment,
        wal_page_bytes=wal_page_bytes,
        wal_segment_bytes=wal_segment_bytes,
        has_checksums=struct.unpack_from("<I", content, 252)[0] != 0,
    )


def covered_bytes(content: bytes) -> int:
    """How many bytes from the beginning a flipped bit in pg_control is noticed in; 0 for a layout not known here."""
    version = struct.unpack_from("<I", content, 8)[0] if len(content) >= _SHORTEST else 0
    return _CHECKSUM_AT[version] + 4 if version in _CHECKSUM_AT else 0


def _of_unknown_version(content: bytes, version: int) -> ControlBroken | ControlUnknown:
    """A version that is not known is damage when the checksum of a known layout does not fit either place."""
    known = any(
        crc32c(content[:at]) == struct.unpack_from("<I", content, at)[0]
        for at in range(200, min(len(content), 512) - 3, 4)
    )
    if known:
        return ControlUnknown(f"PG_CONTROL_VERSION {version}; known are {', '.join(map(str, CONTROL_FORMATS))}")
    swapped = int.from_bytes(content[8:12], "big")
    if swapped in CONTROL_FORMATS:
        return ControlUnknown(f"PG_CONTROL_VERSION {swapped} of a big-endian machine")
    return ControlBroken("neither its version nor its checksum is one that PostgreSQL writes")


def _is_power_of_two(number: int, least: int, most: int) -> bool:
    return least <= number <= most and number & (number - 1) == 0
