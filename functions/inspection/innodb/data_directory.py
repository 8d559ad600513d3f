"""InnoDB data directories on a file system: whether a server would start from them and find every page whole.

Judged as after crash recovery: a page that was being written when the snapshot was taken is whole when the doublewrite
buffer holds it, or when the redo log makes it anew. Known are MySQL 5.7 and 8 and MariaDB 10.5 and later; the redo log
itself is followed for MariaDB 10.8 and later, so of the others the end of the log is not known.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from functions.inspection import page_stretches
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.innodb.log import Redo
from functions.inspection.innodb.pages import (
    DEFAULT_PAGE_BYTES,
    Format,
    Header,
    Kind,
    Verdict,
    covered_stretches,
    judge_page,
    last_change,
    page_space,
    read_header,
)
from functions.inspection.innodb.recovery import DOUBLEWRITE_NAME, LOG_NAME, Doublewrite, read_redo
from functions.inspection.page_stretches import Stretch

_SYSTEM = re.compile(r"(?P<folder>.*)/ibdata(?P<number>\d{1,3})")
_TABLESPACE = re.compile(r".*/(?:[^/]+\.ibd|undo\d{3}|undo_\d{3}|[^/]+\.ibu)")


@dataclass(frozen=True, slots=True)
class DataDirectory:
    """A server's data directory: where it is, and its InnoDB files by path from there."""

    root: str
    files: Mapping[str, File]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """How much a check saw. `mended_pages` are broken on the disk and whole after recovery."""

    pages: int = 0
    of_pages: int = 0
    broken_pages: int = 0
    mended_pages: int = 0
    unknown_pages: int = 0


@dataclass(frozen=True, slots=True)
class _Tablespace:
    file: File
    format: Format
    first: int
    """The number of the file's first page: the system tablespace goes on from file to file."""


def is_named_like_ours(path: str) -> bool:
    """Whether a file could belong to a data directory, by its name."""
    return any(names.fullmatch(path) for names in (_TABLESPACE, _SYSTEM, LOG_NAME, DOUBLEWRITE_NAME))


def find_data_directories(files: Iterable[File]) -> tuple[DataDirectory, ...]:
    """Every directory with a system tablespace or a redo log, and the InnoDB files below it.

    A directory that holds nothing but a redo log belongs to a server whose data lies elsewhere, and is left out.
    """
    roots: set[str] = set()
    found: list[File] = []
    for file in files:
        base = _SYSTEM.fullmatch(file.path) or LOG_NAME.fullmatch(file.path)
        if base:
            roots.add(base["folder"])
        if base or _TABLESPACE.fullmatch(file.path) or DOUBLEWRITE_NAME.fullmatch(file.path):
            found.append(file)
    directories: defaultdict[str, dict[str, File]] = defaultdict(dict)
    for file in found:
        root = next((folder for folder in _folders(file.path) if folder in roots), None)
        if root is not None:
            directories[root][file.path[len(root) + 1 :]] = file
    return tuple(
        DataDirectory(root or "/", own) for root, own in sorted(directories.items()) if any(map(_holds_pages, own))
    )


def _folders(path: str) -> Iterator[str]:
    """The folders above a path, the nearest first."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _holds_pages(name: str) -> bool:
    return bool(_SYSTEM.fullmatch("/" + name) or _TABLESPACE.fullmatch("/" + name))


def check(
    directory: DataDirectory,
    file_system: FileSystem,
    findings: Findings,
    *,
    most_pages: int | None = None,
    most_log_bytes: int = 2 << 30,
) -> Checked:
    """The findings say what a server would stumble over in this directory.

    The redo log and the first page of every tablespace come first; of the pages about `most_pages` are read at most,
    spread evenly. Errors: BudgetSpent.
    """
    redo = read_redo(directory.root, directory.files, file_system, findings, most_bytes=most_log_bytes)
    return _Check(directory, file_system, findings, redo).run(most_pages)


class _Check:
    """One check of one directory."""

    def __init__(
        self, directory: DataDirectory, file_system: FileSystem, findings: Findings, redo: Redo | None
    ) -> None:
        self._directory = directory
        self._file_system = file_system
        self._findings = findings
        self._redo = redo
        self._doublewrite = Doublewrite(directory.files, self._read, redo)
        self._counts: Counter[str] = Counter()

    def run(self, most_pages: int | None) -> Checked:
        spaces = list(self._tablespaces())
        self._check_names(spaces)
        of_pages = sum(one.file.size_bytes // one.format.page_bytes for one in spaces)
        pages = self._check_pages(spaces, of_pages, most_pages)
        self._summarise(pages, of_pages)
        return Checked(
            pages=pages,
            of_pages=of_pages,
            broken_pages=self._counts[Verdict.BROKEN],
            mended_pages=self._counts["mended"],
            unknown_pages=self._counts[Verdict.UNKNOWN],
        )

    def _tablespaces(self) -> Iterator[_Tablespace]:
        """Every file of pages whose first page says how to read it; the system tablespace is one in several files."""
        names = sorted(name for name in self._directory.files if _holds_pages(name))
        system = sorted(
            (name for name in names if _SYSTEM.fullmatch("/" + name)),
            key=lambda name: int(name.rpartition("ibdata")[2]),
        )
        if not system:
            detail = f"{self._directory.root} holds no system tablespace: it may lie elsewhere, and the server needs it"
            self._findings.unknown("innodb.system.elsewhere", detail)
        self._file_system.device.expect(
            at for name in names for at in page_stretches.places(self._directory.files[name], 0, DEFAULT_PAGE_BYTES)
        )
        first, known = 0, None
        for name in system:
            file = self._directory.files[name]
            known = known or self._open(file)
            if known:
                yield _Tablespace(file, known, first)
                if first == 0:
                    self._doublewrite.find_in_system_tablespace(file, known)
                first += file.size_bytes // known.page_bytes
        for name in names:
            if name not in system:
                file = self._directory.files[name]
                known = self._open(file)
                if known:
                    yield _Tablespace(file, known, 0)

    def _open(self, file: File) -> Format | None:
        content = self._read(file, 0, 4 * 65536)
        if content is None:
            return None
        if not any(content[:DEFAULT_PAGE_BYTES]):
            self._judge_unwritten(file)
            return None
        header = read_header(content)
        if header and self._is_page_0_fine(content, header):
            self._check_size(file, header)
            return header.format
        guessed = _guess(content)
        if guessed is None:
            detail = f"{file.path}: neither its first page nor the next ones are whole, so its format is not known"
            self._findings.damage("innodb.tablespace.header", detail, at=page_stretches.place(file, 0))
        return guessed

    def _is_page_0_fine(self, content: bytes, header: Header) -> bool:
        page = content[: header.format.page_bytes]
        return len(page) == header.format.page_bytes and judge_page(page, 0, header.format) is not Verdict.BROKEN

    def _judge_unwritten(self, file: File) -> None:
        """A tablespace that was being made has no first page yet; of one that is in use it is never all zeros."""
        name = file.path[len(self._directory.root.rstrip("/")) + 1 :]
        redo = self._redo
        made = redo and any(f"./{name}" in redo.named.get(space, ()) for space in redo.created)
        if made:
            self._findings.note("innodb.tablespace.new", f"{file.path} was being made; recovery makes it again")
        elif redo and redo.end is not None:
            self._findings.damage("innodb.tablespace.empty", f"{file.path} has no first page")
        else:
            self._findings.unknown("innodb.tablespace.empty", f"{file.path} has no first page; the log may make it")

    def _check_size(self, file: File, header: Header) -> None:
        is_table = file.path.endswith(".ibd")
        if is_table and header.pages * header.format.page_bytes > file.size_bytes:
            detail = f"{file.path} has {file.size_bytes:,} bytes, its header counts {header.pages:,} pages"
            self._findings.damage("innodb.tablespace.truncated", detail)

    def _check_names(self, spaces: Iterable[_Tablespace]) -> None:
        """A tablespace that the log has changes for and that is not there keeps the server from starting."""
        redo = self._redo
        if redo is None:
            return
        there = {one.format.space for one in spaces}
        for space, names in sorted(redo.named.items()):
            own = {name.removeprefix("./") for name in names}
            is_elsewhere = any(name.startswith("/") or ".." in name for name in own)
            if space in there | redo.removed | redo.created or own & self._directory.files.keys() or is_elsewhere:
                continue
            self._findings.damage("innodb.tablespace.missing", f"{min(names)} is missing; the log has changes for it")

    def _check_pages(self, spaces: list[_Tablespace], of_pages: int, most_pages: int | None) -> int:
        spaces.sort(key=lambda one: page_stretches.place(one.file, 0) or 0)
        by_path = {one.file.path: one for one in spaces}
        pages = 0
        share = min(1.0, most_pages / of_pages) if most_pages is not None and of_pages else 1.0
        for page_bytes in sorted({one.format.page_bytes for one in spaces}):
            files = [one.file for one in spaces if one.format.page_bytes == page_bytes]
            own = sum(file.size_bytes // page_bytes for file in files)
            every = (stretch for file in files for stretch in page_stretches.stretches(file, page_bytes))
            chosen = page_stretches.choose(every, of_pages=own, most_pages=None if share == 1.0 else int(own * share))
            for batch in page_stretches.in_batches(self._file_system, chosen, page_bytes):
                pages += sum(self._check_stretch(stretch, by_path[stretch.file.path]) for stretch in batch)
        return pages

    def _check_stretch(self, stretch: Stretch, one: _Tablespace) -> int:
        page_bytes = one.format.page_bytes
        content = self._read(stretch.file, stretch.first * page_bytes, stretch.count * page_bytes)
        if content is None:
            return 0
        count = len(content) // page_bytes
        for place in range(count):
            number = one.first + stretch.first + place
            if one.format.space or number not in self._doublewrite.own_pages:
                page = content[place * page_bytes : (place + 1) * page_bytes]
                self._check_page(page, number, one, (stretch.first + place) * page_bytes)
        return count

    def _check_page(self, page: bytes, number: int, one: _Tablespace, offset: int) -> None:
        verdict = judge_page(page, number, one.format)
        at = page_stretches.place(one.file, offset)
        redo, newest = self._redo, last_change(page)
        if verdict is Verdict.BROKEN:
            self._judge_broken(number, one, newest, at)
        elif verdict is Verdict.WHOLE and redo and redo.end is not None and newest > redo.end:
            self._counts[Verdict.BROKEN] += 1
            detail = f"page {number:,} of {one.file.path} was changed at {newest:,}; the log ends at {redo.end:,}"
            self._findings.damage("innodb.page.ahead-of-log", detail, at=at)
        else:
            self._counts[verdict] += 1
            if verdict is Verdict.WHOLE and not self._is_mended(number, one):
                for start, length in covered_stretches(page, one.format):
                    for place, taken in page_stretches.places(one.file, offset + start, length):
                        self._findings.read("innodb-page", place, taken)

    def _judge_broken(self, number: int, one: _Tablespace, newest: int, at: int | None) -> None:
        redo = self._redo
        detail = f"page {number:,} of {one.file.path}"
        if self._is_mended(number, one):
            self._counts["mended"] += 1
        elif redo is None or (redo.end is None and newest >= redo.checkpoint):
            self._counts[Verdict.BROKEN] += 1
            self._findings.unknown("innodb.page.unproven", f"{detail} is broken; the log may mend it", at=at)
        else:
            self._counts[Verdict.BROKEN] += 1
            detail += " is not what its checksum says, and nothing mends it"
            self._findings.damage("innodb.page.checksum", detail, at=at)

    def _is_mended(self, number: int, one: _Tablespace) -> bool:
        """Whether recovery brings this page back, makes it anew, or gives it up."""
        redo, space = self._redo, one.format.space
        by_log = redo is not None and ((space, number) in redo.made_anew or space in redo.removed)
        return by_log or self._doublewrite.mends(number, one.format)

    def _summarise(self, pages: int, of_pages: int) -> None:
        unknown, unsummed = self._counts[Verdict.UNKNOWN], self._counts[Verdict.UNSUMMED]
        if unknown:
            detail = f"{unknown:,} pages are compressed or encrypted in a way that cannot be judged here"
            self._findings.unknown("innodb.pages.unreadable", detail)
        if unsummed:
            self._findings.note("innodb.checksums", f"{unsummed:,} pages were written with no checksum")
        if self._counts["mended"]:
            detail = f"{self._counts['mended']:,} pages were being written; recovery mends or discards them"
            self._findings.note("innodb.pages.mended", detail)
        if pages < of_pages:
            self._findings.note("innodb.pages.sampled", f"{pages:,} of {of_pages:,} pages were read")

    def _read(self, file: File, offset: int, length: int) -> bytes | None:
        try:
            return self._file_system.read(file, offset, length)
        except NotReadable as problem:
            self._findings.unknown("innodb.file.unreadable", f"{file.path}: {problem}")
        except Damaged:
            self._findings.damage("innodb.file.unreadable", f"{file.path} cannot be read from the file system")
        return None


def _guess(content: bytes) -> Format | None:
    """The format in which the pages behind a broken first one are whole."""
    for kind in (Kind.FULL_CRC32, Kind.CRC32, Kind.COMPRESSED):
        for page_bytes in (16384, 8192, 4096, 32768, 65536, 2048, 1024):
            for number in (1, 2, 3):
                page = content[number * page_bytes : (number + 1) * page_bytes]
                if len(page) == page_bytes and any(page):
                    # What is compressed shows no number of its tablespace; the broken page 0 may still tell it.
                    is_compressed = kind is Kind.FULL_CRC32 and bool(page[24] & 0x80)
                    space = page_space(content if is_compressed else page)
                    known = Format(kind, page_bytes, space, 0x30 if kind is Kind.FULL_CRC32 else 0)
                    if judge_page(page, number, known) is Verdict.WHOLE:
                        return known
    return None
