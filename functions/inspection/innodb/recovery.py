"""What InnoDB's recovery would bring back: pages in the doublewrite buffer, and pages that the redo log makes anew."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from functions.inspection import page_stretches
from functions.inspection.file_systems import Damaged, File, FileSystem, NotReadable
from functions.inspection.findings import Findings
from functions.inspection.innodb.log import LogBroken, LogUnknown, Redo, read_log
from functions.inspection.innodb.pages import (
    DEFAULT_PAGE_BYTES,
    Format,
    Verdict,
    judge_page,
    last_change,
    page_space,
)

LOG_NAME = re.compile(r"(?P<folder>.*)/(?:ib_logfile0|#innodb_redo/#ib_redo\d{1,19})")
DOUBLEWRITE_NAME = re.compile(r".*/#ib_\d{4,5}_\d{1,3}\.dblwr")
_TRANSACTION_SYSTEM_PAGE = 5
_DOUBLEWRITE_MAGIC = 536853855
_MOST_DOUBLEWRITE_BYTES = 64 << 20


def read_redo(
    root: str, files: Mapping[str, File], file_system: FileSystem, findings: Findings, *, most_bytes: int
) -> Redo | None:
    """The redo log of a data directory, and into the findings what is wrong with it; None when it cannot be followed.

    Errors: BudgetSpent.
    """
    names = sorted(name for name in files if LOG_NAME.fullmatch("/" + name))
    if not names:
        findings.unknown("innodb.log.elsewhere", f"{root} holds no redo log, which the server needs; is it elsewhere?")
        return None
    newest: Redo | None = None
    trouble = ""
    # MySQL 8.0.30 and later spread their log over files, of which only some hold a checkpoint.
    for name in names:
        file = files[name]
        try:
            redo = read_log(partial(file_system.read, file), file.size_bytes, most_bytes=most_bytes)
        except LogBroken as problem:
            trouble = trouble or f"{file.path}: {problem}"
        except (LogUnknown, NotReadable) as problem:
            findings.unknown("innodb.log.unknown", f"{file.path}: {problem}")
            return None
        except Damaged:
            findings.damage("innodb.log.unreadable", f"{file.path} cannot be read from the file system")
            return None
        else:
            newest = redo if newest is None or redo.checkpoint > newest.checkpoint else newest
            for at, length in page_stretches.places(file, 0, 512):
                findings.read("innodb-log", at, length)
    if newest is None:
        findings.damage("innodb.log.broken", trouble)
    else:
        _describe(newest, findings)
    return newest


def _describe(redo: Redo, findings: Findings) -> None:
    if redo.end is None:
        detail = "of a log of MySQL or MariaDB 10.5 to 10.7 the header and checkpoint are judged, not the records"
        findings.note("innodb.log.not-followed", detail)
    else:
        stretch = f"{redo.checkpoint:,} to {redo.end:,}"
        findings.note("innodb.recovery", f"it replays {redo.group_count:,} groups of changes, {stretch}")


ReadFile = Callable[[File, int, int], bytes | None]
"""(file, offset, length) -> what can be read of it; None when it cannot be read, and the findings say so."""


class Doublewrite:
    """The images of pages that were about to be written, in ibdata1 or, since MySQL 8.0.20, in files of their own.

    `own_pages` are the numbers of the pages in ibdata1 that hold images, and so are no pages of their own.
    """

    def __init__(self, files: Mapping[str, File], read: ReadFile, redo: Redo | None) -> None:
        self._files = files
        self._read = read
        self._redo = redo
        self._images: dict[tuple[int, int], list[bytes]] | None = None
        self._page_bytes = DEFAULT_PAGE_BYTES
        self.own_pages: frozenset[int] = frozenset()

    def find_in_system_tablespace(self, file: File, known: Format) -> None:
        """The place of the images is noted on the page of the transaction system: trx0sys.h, TRX_SYS_DOUBLEWRITE."""
        self._page_bytes = known.page_bytes
        page = self._read(file, _TRANSACTION_SYSTEM_PAGE * known.page_bytes, known.page_bytes) or b""
        at = known.page_bytes - 200
        if int.from_bytes(page[at + 10 : at + 14], "big") == _DOUBLEWRITE_MAGIC:
            each = max(64, (1 << 20) // known.page_bytes)
            firsts = [int.from_bytes(page[place : place + 4], "big") for place in (at + 14, at + 18)]
            self.own_pages = frozenset(number for first in firsts for number in range(first, first + each))

    def mends(self, number: int, known: Format) -> bool:
        """Whether recovery brings this page back from here.

        MariaDB takes no image from before the checkpoint; of MySQL that is not known, so every whole image counts.
        """
        for image in self._all().get((known.space, number), ()):
            page, redo = image[: known.page_bytes], self._redo
            in_time = redo is None or redo.end is None or redo.checkpoint <= last_change(page) <= redo.end
            if in_time and len(page) == known.page_bytes and judge_page(page, number, known) is Verdict.WHOLE:
                return True
        return False

    def _all(self) -> Mapping[tuple[int, int], list[bytes]]:
        if self._images is None:
            self._images = defaultdict(list)
            for image in self._stored():
                if any(image[:64]):
                    self._images[page_space(image), int.from_bytes(image[4:8], "big")].append(image)
        return self._images

    def _stored(self) -> Iterator[bytes]:
        page_bytes, left = self._page_bytes, _MOST_DOUBLEWRITE_BYTES
        system = self._files.get("ibdata1")
        places = [(system, number * page_bytes) for number in sorted(self.own_pages)] if system else []
        for name in sorted(name for name in self._files if DOUBLEWRITE_NAME.fullmatch("/" + name)):
            file = self._files[name]
            places += [(file, at) for at in range(0, min(file.size_bytes, left), page_bytes)]
            left -= min(file.size_bytes, left)
        for file, at in places:
            image = self._read(file, at, page_bytes)
            if image and len(image) == page_bytes:
                yield image
