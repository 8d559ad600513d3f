"""Canaries and heartbeats: what the policy expects of single files, and an honest word when it could not be checked."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.core.evidence import Assertion
from functions.inspection import canaries
from functions.inspection.canaries import (
    Expected,
    ExpectedFile,
    ExpectedHeartbeat,
    ExpectedManifest,
    HeartbeatBy,
    check,
)
from functions.inspection.devices import BudgetSpent
from functions.inspection.file_systems import Damaged, File
from tests.inspection.directory_files import DirectoryFiles

TAKEN_AT = datetime(2026, 11, 20, 3, 0, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def files(tmp_path: Path) -> DirectoryFiles:
    (tmp_path / "data").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "data" / name).write_text(f"canary {name}\n" * 300)
    manifest = {name: digest((tmp_path / "data" / name).read_bytes()) for name in ("one", "two")}
    manifest["/data/three"] = digest((tmp_path / "data" / "three").read_bytes())
    (tmp_path / "data" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "data" / "beat").write_text("2026-11-20T02:59:18.500000Z\n")
    return DirectoryFiles(tmp_path)


def ask(expected: Expected, files: DirectoryFiles, at: datetime = TAKEN_AT) -> Assertion:
    (assertion,) = check([expected], files, taken_at=at)
    return assertion


def one(files: DirectoryFiles) -> ExpectedFile:
    return ExpectedFile(path="/data/one", sha256=digest((files.root / "data/one").read_bytes()))


def manifest(files: DirectoryFiles) -> ExpectedManifest:
    return ExpectedManifest(path="/data/manifest.json", sha256=digest(files.content("/data/manifest.json")))


def beat(**changed: object) -> ExpectedHeartbeat:
    return ExpectedHeartbeat(**{"path": "/data/beat", "newest_within": QUARTER} | changed)  # type: ignore[arg-type] - the tests choose


def test_a_canary_that_is_as_expected_holds(files: DirectoryFiles) -> None:
    assert ask(one(files), files) == Assertion(
        what="canary /data/one", held=True, detail="3,300 bytes with the expected SHA-256"
    )


def test_a_flipped_bit_in_a_canary_breaks_it(files: DirectoryFiles) -> None:
    files.flip("/data/one", 3299, 7)
    assertion = ask(one(files), files)
    assert assertion.held is False
    assert "3,300 bytes with SHA-256" in assertion.detail


def test_a_missing_canary_is_broken(files: DirectoryFiles) -> None:
    files.patches["/data/one"] = None
    assert (ask(one(files), files).held, ask(one(files), files).detail) == (False, "it is not there")


def test_a_canary_that_we_cannot_read_is_not_checked(files: DirectoryFiles) -> None:
    files.why_not["/data/one"] = "compressed by the file system"
    assertion = ask(one(files), files)
    assert assertion.held is None
    assert "compressed by the file system" in assertion.detail


def test_a_canary_that_cannot_be_followed_on_the_disk_is_broken(files: DirectoryFiles) -> None:
    files.damaged.add("/data/one")
    assert ask(one(files), files).held is False


def test_an_absurdly_large_canary_is_not_read(files: DirectoryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canaries, "MOST_BYTES", 3000)
    assertion = ask(one(files), files)
    assert assertion.held is None
    assert assertion.detail == "not read: 3,300 bytes, and at most 3,000 are"
    assert files.read_bytes == 0


def test_no_more_is_read_than_the_file_has(files: DirectoryFiles) -> None:
    ask(one(files), files)
    assert files.read_bytes == 3300


class Spent(DirectoryFiles):
    """Nothing may be read any more."""

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        raise BudgetSpent("4,000 of at most 4,000 blocks were read")


def test_a_spent_budget_leaves_a_canary_unchecked(files: DirectoryFiles) -> None:
    assert ask(one(files), Spent(files.root)).held is None


class Cut(DirectoryFiles):
    """Reads end early."""

    def read(self, file: File, offset: int = 0, length: int | None = None) -> bytes:
        return super().read(file, offset, length)[:-1]


def test_a_canary_that_ends_early_is_broken(files: DirectoryFiles) -> None:
    assert ask(one(files), Cut(files.root)) == Assertion(
        what="canary /data/one", held=False, detail="it ends after 3,299 of 3,300 bytes"
    )


class Lost(DirectoryFiles):
    """A folder on the way is broken."""

    def find(self, path: str) -> File | None:
        raise Damaged(path)


def test_a_canary_in_a_broken_folder_is_broken(files: DirectoryFiles) -> None:
    assert ask(one(files), Lost(files.root)).held is False


def test_a_manifest_answers_for_all_its_files(files: DirectoryFiles) -> None:
    assertion = ask(manifest(files), files)
    assert (assertion.held, assertion.detail) == (True, "3 of 3 files have the expected SHA-256")


def test_a_broken_and_a_missing_file_of_a_manifest_are_named(files: DirectoryFiles) -> None:
    expected = manifest(files)
    files.flip("/data/two", 5)
    files.patches["/data/three"] = None
    assertion = ask(expected, files)
    assert assertion.held is False
    assert assertion.detail.startswith("1 of 3 files hold, 2 do not, 0 could not be read; /data/two: ")
    assert "/data/three: it is not there" in assertion.detail


def test_a_manifest_with_an_unreadable_file_is_not_checked(files: DirectoryFiles) -> None:
    files.why_not["/data/two"] = "encrypted"
    assert ask(manifest(files), files).held is None


def test_a_manifest_that_was_rewritten_with_its_files_is_broken(files: DirectoryFiles) -> None:
    expected = manifest(files)
    files.patches["/data/one"] = b"encrypted by somebody else"
    files.patches["/data/manifest.json"] = json.dumps({"one": digest(b"encrypted by somebody else")}).encode()
    assert ask(expected, files).held is False


@pytest.mark.parametrize("content", [b"[]", b"{}", b"{", b'{"one": 5}', b'{"one": "abc"}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_none_is_not_checked(files: DirectoryFiles, content: bytes) -> None:
    files.patches["/data/manifest.json"] = content
    assert ask(manifest(files), files).held is None


def test_a_heartbeat_gives_the_age_in_seconds(files: DirectoryFiles) -> None:
    assertion = ask(beat(), files)
    assert assertion.held is True
    assert assertion.detail == "the newest beat is 41.5 s older than the snapshot; 900 s are promised"


def test_a_heartbeat_that_is_too_old_is_broken(files: DirectoryFiles) -> None:
    assert ask(beat(newest_within=timedelta(seconds=41)), files).held is False


def test_a_heartbeat_in_another_zone_is_the_same_instant(files: DirectoryFiles) -> None:
    files.patches["/data/beat"] = b"2026-11-20T04:59:18.5+02:00"
    assert "41.5 s older" in ask(beat(), files).detail


def test_a_heartbeat_a_little_ahead_is_fine_and_far_ahead_is_broken(files: DirectoryFiles) -> None:
    assert ask(beat(), files, TAKEN_AT - timedelta(minutes=4)).held is True
    assertion = ask(beat(), files, TAKEN_AT - timedelta(hours=2))
    assert assertion.held is False
    assert "a clock is wrong" in assertion.detail


@pytest.mark.parametrize("content", [b"", b"yesterday", b"2026-11-20T02:59:18", b"\xff\xfe", b"0" * 4000])
def test_a_heartbeat_that_holds_no_instant_is_broken(files: DirectoryFiles, content: bytes) -> None:
    files.patches["/data/beat"] = content
    assertion = ask(beat(), files)
    assert assertion.held is False
    assert assertion.detail == f"its {len(content):,} bytes are no instant with a zone"


def test_a_heartbeat_may_be_the_time_of_the_last_change(files: DirectoryFiles) -> None:
    files.modified_at["/data/beat"] = TAKEN_AT - timedelta(seconds=90)
    assertion = ask(beat(by=HeartbeatBy.MODIFIED), files)
    assert assertion.held is True
    assert "90.0 s older" in assertion.detail
    assert files.read_bytes == 0


def test_a_heartbeat_without_a_time_is_not_checked(files: DirectoryFiles) -> None:
    files.modified_at["/data/beat"] = None
    assert ask(beat(by=HeartbeatBy.MODIFIED), files).held is None


def test_the_answers_come_in_the_order_of_the_expectations(files: DirectoryFiles) -> None:
    answers = check([beat(), manifest(files), one(files)], files, taken_at=TAKEN_AT)
    assert [answer.what.split()[0] for answer in answers] == ["heartbeat", "manifest", "canary"]


def test_an_instant_without_a_zone_is_refused(files: DirectoryFiles) -> None:
    with pytest.raises(ValueError, match="without a zone"):
        check([one(files)], files, taken_at=datetime(2026, 11, 20))  # noqa: DTZ001 - what is refused


@pytest.mark.parametrize("path", ["data/one", "", "/data/"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no path of a file"):
        ExpectedFile(path=path, sha256="0" * 64)


def test_a_digest_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no SHA-256"):
        ExpectedManifest(path="/a", sha256="0" * 63)


def test_a_heartbeat_must_have_some_time() -> None:
    with pytest.raises(ValueError, match="longer than no time"):
        beat(newest_within=timedelta(0))
