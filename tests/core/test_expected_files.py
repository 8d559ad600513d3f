"""What a policy may expect of a file."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from functions.core.expected_files import ExpectedFile, ExpectedHeartbeat, ExpectedManifest, HeartbeatBy

DIGEST = "0123456789abcdef" * 4
HOUR = timedelta(hours=1)

MAKERS: list[Callable[[str], object]] = [
    lambda path: ExpectedFile(path=path, sha256=DIGEST),
    lambda path: ExpectedManifest(path=path, sha256=DIGEST),
    lambda path: ExpectedHeartbeat(path=path, newest_within=HOUR),
]
KINDS = pytest.mark.parametrize("make", MAKERS, ids=["file", "manifest", "heartbeat"])


@KINDS
@pytest.mark.parametrize("path", ["/canary", "/var/lib/orders/canary.txt", "/a b", "/…"])
def test_a_path_from_the_root_of_a_file_system_is_taken(make: Callable[[str], object], path: str) -> None:
    assert getattr(make(path), "path") == path  # noqa: B009 - the three have no common type


@KINDS
@pytest.mark.parametrize("path", ["", "canary", "./canary", "C:\\canary", "/", "/var/"])
def test_what_is_no_path_of_a_file_is_refused(make: Callable[[str], object], path: str) -> None:
    with pytest.raises(ValueError, match="no path of a file"):
        make(path)


@pytest.mark.parametrize("sha256", ["", DIGEST[:-1], DIGEST + "0", DIGEST.upper(), DIGEST[:-1] + "g", DIGEST + "\n"])
@pytest.mark.parametrize("shape", [ExpectedFile, ExpectedManifest])
def test_what_is_no_digest_is_refused(shape: type[ExpectedFile | ExpectedManifest], sha256: str) -> None:
    """A digest in capitals would never be equal to one that we compute."""
    with pytest.raises(ValueError, match="no SHA-256"):
        shape(path="/canary", sha256=sha256)


@pytest.mark.parametrize("span", [timedelta(0), timedelta(seconds=-1)])
def test_a_heartbeat_needs_a_time(span: timedelta) -> None:
    with pytest.raises(ValueError, match="newest_within"):
        ExpectedHeartbeat(path="/heartbeat", newest_within=span)


def test_a_heartbeat_is_read_from_its_content_unless_said_otherwise() -> None:
    assert ExpectedHeartbeat(path="/heartbeat", newest_within=HOUR).by is HeartbeatBy.CONTENT
