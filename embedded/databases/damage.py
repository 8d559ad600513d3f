"""What storage can do to the content of a snapshot without anybody noticing: bytes that changed, a file that is lost.

The damaged snapshot gets content of its own, so the snapshot it was copied from, and its copies, stay whole. What RDS
shows of it, its size included, stays as it was: nothing but a restore finds out.
"""

from __future__ import annotations

import struct
from pathlib import Path

from embedded.databases.estate import estate
from embedded.databases.resources import Snapshot

PAGE_BYTES = 8192

_PAGE, _WAL = "page", "wal"
_HURT_BYTES = 64
# The begin of pg_control since PostgreSQL 9.3: the checkpoint's redo pointer, and after it the timeline.
_REDO_AND_TIMELINE = struct.Struct("<QI")
_REDO_AT = 40


def damage(snapshot: Snapshot, what: str, file: str = "", page: int = 0) -> str:
    """The file below the data directory of the snapshot that is damaged now; the message of a ValueError says why
    none is.

    "page" turns bits in the middle of page number `page` of `file`, as `pg_relation_filepath` names it. "wal" loses
    the segment with which recovery begins.
    """
    before = snapshot.image
    if before is None:
        raise ValueError(f"{snapshot.resource_id} has no content: only snapshots of postgres do, while they exist")
    if what not in (_PAGE, _WAL):
        raise ValueError(f'damage is "{_PAGE}" or "{_WAL}", not {what!r}')
    path = _inside(before.directory, file) if what == _PAGE else _first_segment(before.directory)
    if what == _PAGE and not 0 <= page < path.stat().st_size // PAGE_BYTES:
        raise ValueError(f"{file} has {path.stat().st_size // PAGE_BYTES} pages and no number {page}")
    hurt = path.relative_to(before.directory)

    def change(directory: Path) -> None:
        if what == _WAL:
            (directory / hurt).unlink()
        else:
            _turn_bits(directory / hurt, page * PAGE_BYTES + PAGE_BYTES // 2)

    snapshot.image = estate().images.change(before, change)
    estate().images.release(before)
    return str(hurt)


def _inside(directory: Path, file: str) -> Path:
    path = (directory / file).resolve()
    if not path.is_relative_to(directory.resolve()) or not path.is_file():
        raise ValueError(f"there is no file {file!r} in the snapshot; SELECT pg_relation_filepath('...') names one")
    return path


def _first_segment(directory: Path) -> Path:
    control = (directory / "global" / "pg_control").read_bytes()
    redo, timeline = _REDO_AND_TIMELINE.unpack_from(control, _REDO_AT)
    segments = sorted((directory / "pg_wal").glob("?" * 24))
    segment_bytes = max((segment.stat().st_size for segment in segments), default=0)
    if not segment_bytes:
        raise ValueError("the snapshot holds no segment of the write-ahead log")
    log, place = divmod(redo, 1 << 32)
    found = directory / "pg_wal" / f"{timeline:08X}{log:08X}{place // segment_bytes:08X}"
    if found not in segments:
        raise ValueError(f"recovery begins in {found.name}, and that segment is not there: it may be lost already")
    return found


def _turn_bits(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        content = file.read(_HURT_BYTES)
        file.seek(offset)
        file.write(bytes(byte ^ 0xFF for byte in content))
