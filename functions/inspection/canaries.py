"""Canaries: files of which the policy says what they must hold, and heartbeats that tell how fresh a point really is.

A manifest names many files at once. It needs no signature: the policy states its SHA-256, and the policy lies outside
of the volume, so whoever can change the volume cannot change both. No key has to be kept, handed around or renewed;
the price is that a new manifest needs a new line in the policy.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from functions.core import instants
from functions.core.evidence import Assertion
from functions.core.expected_files import (
    Expected,
    ExpectedFile,
    ExpectedHeartbeat,
    ExpectedManifest,
    HeartbeatBy,
)
from functions.inspection import page_stretches
from functions.inspection.devices import BudgetSpent
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable

MOST_BYTES = 256 << 20
"""Of one canary. What is longer is not read: a canary proves no more by being large."""
MOST_MANIFEST_BYTES = 4 << 20
MOST_MANIFEST_FILES = 10_000
MOST_HEARTBEAT_BYTES = 4096
MOST_AHEAD = timedelta(minutes=5)
"""A heartbeat may be so much younger than the snapshot before it counts as wrong: clocks of machines differ."""

_PIECE_BYTES = 8 << 20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMED = 3
"""So many files that are not as they should be are named; the others are counted."""


def check(expected: Iterable[Expected], file_system: FileSystem, *, taken_at: datetime) -> tuple[Assertion, ...]:
    """One assertion for each expectation, in the same order; `taken_at` is the instant of the snapshot.

    A file that is not there, is something else or cannot be followed on the disk is broken (False). What we cannot
    read, or may not read within the budget, is not checked (None). Errors: ValueError for an instant without a zone.
    """
    at = instants.aware(taken_at)
    return tuple(_assertion(one, file_system, at) for one in expected)


@dataclass(frozen=True, slots=True)
class _Answer:
    held: bool | None
    detail: str


class _Ended(Exception):
    """The question is answered before everything was read."""

    def __init__(self, held: bool | None, detail: str) -> None:
        super().__init__(detail)
        self.answer = _Answer(held, detail)


def _assertion(one: Expected, file_system: FileSystem, taken_at: datetime) -> Assertion:
    try:
        if isinstance(one, ExpectedFile):
            answer = _check_digest(one.path, one.sha256, file_system)
        elif isinstance(one, ExpectedManifest):
            answer = _check_manifest(one, file_system)
        else:
            answer = _check_heartbeat(one, file_system, taken_at)
    except _Ended as ended:
        answer = ended.answer
    return Assertion(what=f"{_WORDS[type(one)]} {one.path}", held=answer.held, detail=answer.detail)


_WORDS: Mapping[type, str] = {ExpectedFile: "canary", ExpectedManifest: "manifest", ExpectedHeartbeat: "heartbeat"}


def _check_digest(path: str, sha256: str, file_system: FileSystem) -> _Answer:
    file = _find(path, file_system)
    found = hashlib.sha256()
    for piece in _pieces(file, file_system, MOST_BYTES):
        found.update(piece)
    if found.hexdigest() != sha256:
        return _Answer(
            False, f"{file.size_bytes:,} bytes with SHA-256 {found.hexdigest()[:12]}..., not {sha256[:12]}..."
        )
    return _Answer(True, f"{file.size_bytes:,} bytes with the expected SHA-256")


def _check_manifest(one: ExpectedManifest, file_system: FileSystem) -> _Answer:
    content = b"".join(_pieces(_find(one.path, file_system), file_system, MOST_MANIFEST_BYTES))
    found = hashlib.sha256(content).hexdigest()
    if found != one.sha256:
        return _Answer(False, f"{len(content):,} bytes with SHA-256 {found[:12]}..., not {one.sha256[:12]}...")
    files = _read_manifest(content, posixpath.dirname(one.path))
    if files is None:
        most = f"at most {MOST_MANIFEST_FILES:,} files"
        return _Answer(None, f"it is as the policy says, and no JSON object of {most}, each with its SHA-256")
    return _sum_up({path: _answer(path, sha256, file_system) for path, sha256 in files.items()})


def _answer(path: str, sha256: str, file_system: FileSystem) -> _Answer:
    try:
        return _check_digest(path, sha256, file_system)
    except _Ended as ended:
        return ended.answer


def _sum_up(answers: Mapping[str, _Answer]) -> _Answer:
    wrong = {path: answer for path, answer in answers.items() if answer.held is False}
    unread = {path: answer for path, answer in answers.items() if answer.held is None}
    if not wrong and not unread:
        return _Answer(True, f"{len(answers):,} of {len(answers):,} files have the expected SHA-256")
    held = len(answers) - len(wrong) - len(unread)
    named = [f"{path}: {answer.detail}" for path, answer in [*wrong.items(), *unread.items()][:_NAMED]]
    counts = f"{held:,} of {len(answers):,} files hold, {len(wrong):,} do not, {len(unread):,} could not be read"
    return _Answer(False if wrong else None, "; ".join([counts, *named]))


def _read_manifest(content: bytes, folder: str) -> dict[str, str] | None:
    try:
        written = cast("object", json.loads(content))
    except (ValueError, RecursionError):
        return None
    if not isinstance(written, dict) or not 0 < len(cast("dict[str, object]", written)) <= MOST_MANIFEST_FILES:
        return None
    files: dict[str, str] = {}
    for path, sha256 in cast("dict[str, object]", written).items():
        if not isinstance(sha256, str) or not _DIGEST.fullmatch(sha256.lower()) or not path:
            return None
        files[posixpath.normpath(posixpath.join(folder, path))] = sha256.lower()
    return files


def _check_heartbeat(one: ExpectedHeartbeat, file_system: FileSystem, taken_at: datetime) -> _Answer:
    file = _find(one.path, file_system)
    beat = file.modified_at if one.by is HeartbeatBy.MODIFIED else _instant(file, file_system)
    if beat is None:
        return _Answer(None, "the file system keeps no time for it that can be one")
    age_seconds = (taken_at - beat).total_seconds()
    allowed_seconds = one.newest_within.total_seconds()
    said = f"the newest beat is {age_seconds:,.1f} s older than the snapshot; {allowed_seconds:,.0f} s are promised"
    if age_seconds < -MOST_AHEAD.total_seconds():
        return _Answer(False, f"the newest beat is {-age_seconds:,.1f} s younger than the snapshot: a clock is wrong")
    return _Answer(age_seconds <= allowed_seconds, said)


def _instant(file: File, file_system: FileSystem) -> datetime:
    content = b"".join(_pieces(file, file_system, MOST_HEARTBEAT_BYTES))
    try:
        return instants.parse(content.decode("ascii").strip())
    except ValueError:
        raise _Ended(False, f"its {len(content):,} bytes are no instant with a zone") from None


def _find(path: str, file_system: FileSystem) -> File:
    try:
        file = file_system.find(path)
    except Damaged:
        raise _Ended(False, "a folder on the way to it cannot be read") from None
    except BudgetSpent as problem:
        raise _Ended(None, f"not looked for: {problem}") from None
    if file is None:
        raise _Ended(False, "it is not there")
    if file.why_not:
        raise _Ended(None, f"its content cannot be read by us: {file.why_not}")
    return file


def _pieces(file: File, file_system: FileSystem, most_bytes: int) -> Iterable[bytes]:
    if file.size_bytes > most_bytes:
        raise _Ended(None, f"not read: {file.size_bytes:,} bytes, and at most {most_bytes:,} are")
    offset = 0
    while offset < file.size_bytes:
        length = min(_PIECE_BYTES, file.size_bytes - offset)
        try:
            file_system.device.expect(page_stretches.places(file, offset, length))
            piece = file_system.read(file, offset, length)
        except NotReadable as problem:
            raise _Ended(None, f"its content cannot be read by us: {problem}") from None
        except Damaged:
            raise _Ended(False, f"it cannot be read from byte {offset:,} on") from None
        except BudgetSpent as problem:
            raise _Ended(None, f"not read to its end: {problem}") from None
        if len(piece) != length:
            raise _Ended(False, f"it ends after {offset + len(piece):,} of {file.size_bytes:,} bytes")
        yield piece
        offset += length
