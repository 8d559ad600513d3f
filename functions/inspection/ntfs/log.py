"""The state of $LogFile: at rest, or with changes that only Windows can replay."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from functions.inspection.ntfs.records import Fault, without_fixups

RESTART_PAGE_BYTES = 4096
"""Every NTFS of today uses pages of this size, and its log begins with two restart pages."""
_EMPTY = b"\xff"
_NO_CLIENT = 0xFFFF
_VOLUME_IS_CLEAN = 2


@dataclass(frozen=True, slots=True)
class LogState:
    """What the restart pages say. `is_at_rest`: nothing is to be replayed, and the rest lies as it is meant."""

    is_at_rest: bool
    is_empty: bool
    faults: tuple[tuple[int, Fault], ...]
    """Pages that cannot be believed, by their offset in the log."""
    unknown_version: str = ""


def read_state(head: bytes) -> LogState:
    """From the first two pages of the log. Both broken is damage; one broken may be a write that was cut short."""
    pages = [head[at : at + RESTART_PAGE_BYTES] for at in (0, RESTART_PAGE_BYTES)]
    if all(page == _EMPTY * RESTART_PAGE_BYTES for page in pages):
        return LogState(is_at_rest=True, is_empty=True, faults=())
    areas: list[tuple[int, bool, str]] = []
    faults: list[tuple[int, Fault]] = []
    for at, page in zip((0, RESTART_PAGE_BYTES), pages, strict=True):
        try:
            areas.append(_restart(page))
        except Fault as fault:
            faults.append((at, fault))
    if not areas:
        return LogState(is_at_rest=False, is_empty=False, faults=tuple(faults))
    _, is_at_rest, unknown_version = max(areas)
    return LogState(is_at_rest, is_empty=False, faults=tuple(faults), unknown_version=unknown_version)


def _restart(page: bytes) -> tuple[int, bool, str]:
    """The log sequence number of a restart page, whether the volume was left clean, and a version we do not know."""
    if page[:4] == b"CHKD":  # chkdsk was here, and left nothing to replay
        return struct.unpack_from("<Q", page, 8)[0], True, ""
    content = without_fixups(page, b"RSTR", first_fixups_at=0x1E)
    system_page, log_page, area_at, minor, major = struct.unpack_from("<IIHhh", content, 16)
    if system_page != RESTART_PAGE_BYTES or log_page != RESTART_PAGE_BYTES or area_at % 8 or area_at > 0x100:
        raise Fault("restart", f"pages of {system_page:,} and {log_page:,} bytes, the area at {area_at:,}")
    current, clients, _, in_use, flags = struct.unpack_from("<QHHHH", content, area_at)
    if in_use not in (_NO_CLIENT, *range(clients)):
        raise Fault("restart", f"client {in_use:,} of {clients:,}")
    unknown = "" if (major, minor) in ((1, 0), (1, 1), (2, 0)) else f"{major}.{minor}"
    # Windows raises the version to 2.0 while a volume is mounted, and sets it back when it is put away.
    is_at_rest = major == 1 and (in_use == _NO_CLIENT or bool(flags & _VOLUME_IS_CLEAN))
    return current, is_at_rest, unknown
