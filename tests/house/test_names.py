"""What must not stand in the source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.sources import ROOT, python_files, spoken, tracked

EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "base"}
THINKERS = ("functions/core/", "functions/scheduling/", "functions/scoring/", "functions/inspection/")
GENERATED = {"uv.lock", "package-lock.json"}
PLACES = [re.compile(rf"(?<![\w.~*-])/{place}/") for place in ("work", "root")]
PROMISES = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")


def texts() -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for path in tracked():
        if path.name in GENERATED:
            continue
        try:
            found.append((path, (ROOT / path).read_text()))
        except UnicodeDecodeError:  # an image of a disk, say: bytes hold no words
            continue
    return found


def lines_with(*patterns: re.Pattern[str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if any(pattern.search(line) for pattern in patterns)
    ]


def speakers(words: set[str], *rooms: str) -> dict[str, set[str]]:
    found = {path.as_posix(): spoken((ROOT / path).read_text()) & words for path in python_files(*rooms)}
    return {path: said for path, said in found.items() if said}


def test_there_is_source_to_look_at() -> None:
    assert Path("functions/core/slots.py") in tracked()
    assert len(texts()) > 50


def test_no_module_or_package_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in python_files() if EMPTY_NAMES & {path.stem, *path.parent.parts}] == []


@pytest.mark.parametrize("room", THINKERS)
def test_what_thinks_never_asks_the_clock(room: str) -> None:
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
    assert speakers(clocks, room) == {}


@pytest.mark.parametrize("room", THINKERS)
def test_what_thinks_never_asks_the_environment(room: str) -> None:
    assert speakers({"os.environ", "os.getenv", "environ", "getenv"}, room) == {}


def test_no_function_sleeps() -> None:
    assert speakers({"time.sleep", "asyncio.sleep"}, "functions/") == {}


def test_no_function_uses_a_waiter_of_botocore() -> None:
    assert speakers({"get_waiter", "WaiterModel", "botocore.waiter"}, "functions/") == {}


def test_no_pickle_is_ever_loaded() -> None:
    assert speakers({"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}, "functions/") == {}


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert lines_with(*PLACES) == []


def test_no_file_promises_work_for_later() -> None:
    assert lines_with(PROMISES) == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("import time\ntime.sleep(1)", "time.sleep"),
        ("from time import sleep\nsleep(1)", "time.sleep"),
        ("import datetime\ndatetime.datetime.now()", "datetime.now"),
        ("from datetime import datetime\ndatetime.utcnow()", "datetime.utcnow"),
        ("ec2.get_waiter('snapshot_completed')", "get_waiter"),
        ("def f():\n    import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
    ],
)
def test_the_listener_hears_a_word_however_it_is_said(source: str, word: str) -> None:
    assert word in spoken(source)


@pytest.mark.parametrize(
    ("line", "is_a_place"), [("see /ro" + "ot/x", True), ("'/wo" + "rk/main'", True), ("a/wo" + "rk/b", False)]
)
def test_the_reader_tells_a_path_of_a_machine_from_a_folder(line: str, is_a_place: bool) -> None:
    assert any(pattern.search(line) for pattern in PLACES) is is_a_place
