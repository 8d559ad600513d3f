from __future__ import annotations

from datetime import timedelta

from functions.scoring.features import FEATURES
from functions.scoring.rules import BOUNDS
from tests.builders import GIB, NOON, a_run, a_story


def test_each_feature_is_read_from_the_run_in_its_own_unit() -> None:
    long = a_story(completed_at=NOON + timedelta(minutes=43), waits=2)
    run = a_run(waits=3, copies=(a_story(waits=1), long))
    assert {name: read(run) for name, read in FEATURES.items()} == {
        "lag_seconds": 60,
        "duration_seconds": 600,
        "full_size_bytes": 4 * GIB,
        "changed_bytes": GIB,
        "copy_seconds": 1800,
        "waits": 6,
    }


def test_what_a_run_does_not_tell_is_none_and_what_is_zero_is_zero() -> None:
    dumb = a_run(created_at=None, completed_at=None, full_size_bytes=None, changed_bytes=None, copies=())
    told = {name: read(dumb) for name, read in FEATURES.items()}
    assert told == dict.fromkeys(FEATURES) | {"waits": 0}
    empty = a_run(full_size_bytes=0, changed_bytes=0)
    assert FEATURES["full_size_bytes"](empty) == FEATURES["changed_bytes"](empty) == 0


def test_a_copy_without_an_end_does_not_hide_the_one_that_has_one() -> None:
    assert FEATURES["copy_seconds"](a_run(copies=(a_story(completed_at=None), a_story()))) == 600


def test_every_feature_has_bounds_and_a_unit_in_its_name() -> None:
    assert set(BOUNDS) == set(FEATURES)
    assert all(name == "waits" or name.endswith(("_seconds", "_bytes")) for name in FEATURES)
