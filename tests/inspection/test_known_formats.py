"""Formats known by their beginnings, names that promise one, and bytes that look random."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from functions.inspection.change.known_formats import Holds, is_text, known_by, promised_by
from functions.inspection.change.randomness import Look, chi_square, counts_of, look_of

WORDS = b"the quick brown fox jumps over the lazy dog and comes back for more of the same\n" * 400


def random_bytes(length: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(length)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", WORDS)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo("a.txt")
        member.size = len(WORDS)
        archive.addfile(member, io.BytesIO(WORDS))
    return buffer.getvalue()


def database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table one (id integer)")
    connection.commit()
    content = connection.serialize()
    connection.close()
    return content


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(WORDS), "gzip"),
        (lzma.compress(WORDS), "xz"),
        (bz2.compress(WORDS), "bzip2"),
        (zlib.compress(WORDS), "zlib"),
        (zlib.compress(WORDS, 1), "zlib"),
        (zipped(), "zip"),
        (tarred(), "tar"),
        (database(), "sqlite"),
        (b"\x28\xb5\x2f\xfd" + random_bytes(600), "zstd"),
        (b"\xff\xd8\xff\xe1" + random_bytes(600), "jpeg"),
        (b"\x89PNG\r\n\x1a\n" + random_bytes(600), "png"),
        (b"\0\0\0\x18ftypmp42" + random_bytes(600), "mp4, mov or heic"),
        (b"%PDF-1.7\n" + random_bytes(600), "pdf"),
        (b"PAR1" + random_bytes(600), "parquet"),
        (b"wOF2" + random_bytes(600), "woff"),
        (b"PACK\0\0\0\2" + random_bytes(600), "git pack"),
    ],
)
def test_a_format_is_known_by_its_beginning(content: bytes, name: str):
    known = known_by(content)
    assert known
    assert (known.name, known.holds) == (name, Holds.PACKED)


@pytest.mark.parametrize(
    "content", [b"LUKS\xba\xbe\0\2", b"Salted__12345678", b"age-encryption.org/v1\n", b"\x8c\x0d\4\t"]
)
def test_what_was_encrypted_on_purpose_is_told_from_what_is_packed(content: bytes):
    known = known_by(content)
    assert known
    assert known.holds is Holds.ENCRYPTED


@pytest.mark.parametrize("content", [b"", b"P", b"hello", bytes(600)])
def test_a_beginning_without_a_mark_is_not_known(content: bytes):
    assert known_by(content) is None


def test_few_random_beginnings_look_like_a_format():
    assert sum(known_by(random_bytes(300, seed)) is not None for seed in range(4_000)) <= 10


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("/srv/letter.docx", "docx"),
        ("/srv/LETTER.DOCX", "docx"),
        ("/srv/letter.docx.locked", "docx"),
        ("/srv/photo.jpg.id-7F3A.[one@example.org].xyz", "jpg"),
        ("/srv/backup.tar.gz", "gz"),
        ("/var/lib/postgresql/15/main/base/16384/24601", "postgresql"),
        ("/var/lib/postgresql/15/main/base/16384/24601_fsm.locked", "postgresql"),
        ("/data/pg_wal/000000010000000000000003", "postgresql"),
    ],
)
def test_a_name_promises_a_beginning(path: str, ending: str):
    assert promised_by(path) == ending


@pytest.mark.parametrize(
    "path",
    [
        "/srv/0F3C.xyz",
        "/srv/dump.sql.gpg",
        "/srv/site.js.br",
        "/srv/backup.tar.enc",
        "/srv/README",
        "/a.txt/data",
        "/",
        "",
    ],
)
def test_a_name_that_promises_nothing(path: str):
    assert promised_by(path) is None


def test_text_is_text_also_when_cut_inside_a_character():
    assert is_text(("Übergrößenträger " * 300).encode()[:4096])


@pytest.mark.parametrize("head", [b"", b"\x7fELF\2\1\1\0\0\0\0\0\0", random_bytes(4096), bytes(4096)])
def test_other_beginnings_are_no_text(head: bytes):
    assert not is_text(head)


def test_random_bytes_look_random_nearly_always():
    looks = [look_of(counts_of(random_bytes(4096, seed))) for seed in range(2_000)]
    assert looks.count(Look.RANDOM) >= 1_996


@pytest.mark.parametrize("length", [512, 1024, 4096])
def test_text_looks_patterned_at_any_length(length: int):
    assert look_of(counts_of(WORDS[:length])) is Look.PATTERNED


def test_bytes_that_are_spread_too_evenly_do_not_look_random():
    assert look_of(counts_of(bytes(range(256)) * 16)) is Look.UNEVEN


def test_zeros_are_empty():
    assert look_of(counts_of(bytes(4096))) is Look.EMPTY


def test_a_few_bytes_are_too_short_to_say():
    assert look_of(counts_of(random_bytes(200))) is Look.SHORT


def test_no_bytes_are_not_far_from_random_and_too_short():
    assert chi_square(counts_of(b"")) == 0.0
    assert look_of(counts_of(b"")) is Look.SHORT
