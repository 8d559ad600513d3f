"""Files of which a policy says what they must hold: canaries, manifests that name many, and heartbeats."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

_DIGEST = re.compile(r"[0-9a-f]{64}")


class HeartbeatBy(StrEnum):
    """Where the instant of a heartbeat is read."""

    CONTENT = "content"
    """The file holds an instant with its zone as ISO 8601 writes it, and nothing else but white space."""
    MODIFIED = "modified"
    """The time at which the file was last changed, as the file system keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """A file with exactly this content."""

    path: str
    sha256: str

    def __post_init__(self) -> None:
        _refuse_relative(self.path)
        _refuse_no_digest(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedManifest:
    """A JSON file {path: SHA-256} with exactly this content, and every file that it names.

    A path in it that does not begin with "/" counts from the folder of the manifest.
    """

    path: str
    sha256: str

    def __post_init__(self) -> None:
        _refuse_relative(self.path)
        _refuse_no_digest(self.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedHeartbeat:
    """A file that something writes again and again: at the snapshot its instant is at most `newest_within` old."""

    path: str
    newest_within: timedelta
    by: HeartbeatBy = HeartbeatBy.CONTENT

    def __post_init__(self) -> None:
        _refuse_relative(self.path)
        if self.newest_within <= timedelta(0):
            raise ValueError(f"{self.path}: newest_within is longer than no time at all")


Expected = ExpectedFile | ExpectedManifest | ExpectedHeartbeat


def _refuse_relative(path: str) -> None:
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError(f"{path!r} is no path of a file from the root of a file system")
    if not path.isprintable():
        raise ValueError(f"{path!r} has characters that no report can show; expect a file with a plain name")


def _refuse_no_digest(sha256: str) -> None:
    if not _DIGEST.fullmatch(sha256):
        raise ValueError(f"{sha256!r} is no SHA-256 in 64 small hexadecimal digits")
