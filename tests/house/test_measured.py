"""No README states a number that no benchmark measured."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from benchmarks import results
from benchmarks.results import Result

BAR: dict[str, object] = {"name": "a | b", "value": 12345.5, "bar": 10, "holds": True, "unit": "s"}


def a_result(*bars: Mapping[str, object]) -> Result:
    return Result(name="speed", measured_on="2026-11-20", machine="aarch64, Python 3.11.7", bars=bars)


def test_the_tables_say_what_was_measured() -> None:
    """After a change of what is kept: python -m benchmarks.results --write."""
    kept = list(results.kept())
    readme = (results.ROOT / "README.md").read_text(encoding="utf-8")
    assert results.with_table(readme, results.short(kept)) == readme
    assert results.long(kept) == (results.KEPT.parent / "RESULTS.md").read_text(encoding="utf-8")


def test_what_is_kept_comes_from_a_benchmark_that_exists() -> None:
    assert {result.name for result in results.kept()} <= set(results.names())


def test_every_bar_that_is_kept_is_whole() -> None:
    for result in results.kept():
        assert result.bars, result.name
        for bar in result.bars:
            assert {"name", "value", "bar", "holds", "unit"} <= bar.keys(), result.name


def test_a_bar_that_was_missed_is_told_as_missed() -> None:
    assert "| **missed** |" in results.short([a_result(BAR | {"holds": False})])
    assert "| a / b | 12,345.5 s | 10 | holds |" in results.short([a_result(BAR)])


def test_of_many_bars_the_readme_tells_how_many_hold_and_names_those_that_do_not() -> None:
    bars = [BAR | {"name": f"bar {number}", "holds": number != 3} for number in range(12)]
    table = results.short([a_result(*bars)])
    assert "| speed: bars that hold | 11 | 12 | **missed** |" in table
    assert "bar 3" in table
    assert "bar 4" not in table


def test_a_readme_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table"):
        results.with_table("# A README", "a table")


def test_a_benchmark_that_measured_nothing_keeps_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "KEPT", tmp_path)
    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    (tmp_path / "broken.py").write_text("raise SystemExit('no room')", encoding="utf-8")
    with pytest.raises(ValueError, match="measured nothing"):
        results.run("broken")
    assert list(tmp_path.glob("*.json")) == []
    (tmp_path / "fine.py").write_text(f"print({json.dumps(json.dumps({'bars': [BAR]}))})", encoding="utf-8")
    results.run("fine")
    assert [result.bars for result in results.kept()] == [[BAR]]
