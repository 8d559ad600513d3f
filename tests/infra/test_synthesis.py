from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from conftest import block

import app
from infra import node
from infra.errors import CannotSynthesise


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings file that the environment names."""
    path = tmp_path / "settings.json"
    monkeypatch.setenv("HOLDFAST_SETTINGS_FILE", str(path))
    monkeypatch.setenv("CDK_OUTDIR", str(tmp_path / "cdk.out"))
    return path


def test_a_block_that_does_not_hold_ends_synth_with_every_problem(written: Path) -> None:
    wrong = block() | {"home": "Frankfurt", "rehearsals_per_day": -1}
    written.write_text(json.dumps(wrong))
    with pytest.raises(SystemExit) as end:
        app.main()
    said = str(end.value.code)
    assert "home: " in said
    assert "rehearsals_per_day: " in said
    assert "Hint: " in said


def test_a_settings_file_that_is_not_there_is_named(written: Path) -> None:
    with pytest.raises(SystemExit) as end:
        app.main()
    assert str(written) in str(end.value.code)


def test_a_settings_file_that_is_not_json_is_named(written: Path) -> None:
    written.write_text("home: eu-central-1")
    with pytest.raises(SystemExit) as end:
        app.main()
    assert str(written) in str(end.value.code)
    assert "not JSON" in str(end.value.code)


def test_without_any_settings_the_reader_is_shown_where_to_start() -> None:
    from infra import settings

    with pytest.raises(CannotSynthesise, match=r"README\.md"):
        settings.load(None)


def test_without_node_on_path_the_packaged_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSII_NODE", "")
    monkeypatch.setenv("PATH", "")
    node.choose()
    assert Path(os.environ["JSII_NODE"]).is_file()


def test_without_any_node_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSII_NODE", "")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(CannotSynthesise, match="uv sync"):
        node.choose()


def test_without_uv_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from infra import packaging

    monkeypatch.delenv("UV", raising=False)
    monkeypatch.setattr(packaging, "ROOT", Path("/nowhere"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(CannotSynthesise, match="make setup"):
        packaging.uv()


def test_a_uv_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from infra import packaging

    monkeypatch.setenv("UV", "/nowhere/uv")
    with pytest.raises(CannotSynthesise, match="/nowhere/uv does not run"):
        packaging.exported_requirements()


def test_what_uv_says_when_it_fails_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from infra import packaging

    broken = tmp_path / "uv"
    broken.write_text("#!/bin/sh\necho the lock is stale >&2\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setenv("UV", str(broken))
    with pytest.raises(CannotSynthesise, match="ended with 2:\nthe lock is stale"):
        packaging.install("boto3==1.0", tmp_path)


def test_a_registry_that_is_away_ends_synth_with_what_uv_says(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.write_text(json.dumps(block()))
    away = tmp_path / "uv"
    away.write_text('#!/bin/sh\n[ "$1" = export ] && exit 0\necho the registry is away >&2\nexit 2\n')
    away.chmod(0o755)
    monkeypatch.setenv("UV", str(away))
    with pytest.raises(SystemExit) as end:
        app.main()
    assert "the registry is away" in str(end.value.code)


def test_the_settings_layer_holds_the_block_as_an_importable_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infra.packaging import SettingsLayer

    assert SettingsLayer(block()).try_bundle(str(tmp_path), cast(Any, None)) is True
    assert json.loads((tmp_path / "python/holdfast_settings/settings.json").read_text()) == block()
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    monkeypatch.delitem(sys.modules, "holdfast_settings", raising=False)
    assert importlib.util.find_spec("holdfast_settings") is not None


def test_a_layer_is_bundled_again_only_when_its_content_changes() -> None:
    from infra.packaging import LibrariesLayer, SettingsLayer

    assert SettingsLayer(block()).fingerprint == SettingsLayer(block()).fingerprint
    assert SettingsLayer(block()).fingerprint != SettingsLayer(block() | {"rehearsals_per_day": 5}).fingerprint
    assert LibrariesLayer("boto3==1.0").fingerprint != LibrariesLayer("boto3==1.1").fingerprint


def test_a_trimmed_layer_holds_no_tests_and_no_compiled_python(tmp_path: Path) -> None:
    from infra.packaging import trim

    for file in ("lib/a.py", "lib/tests/test_a.py", "lib/tests/tests/b.py", "lib/__pycache__/a.pyc", "bin/tool"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    trim(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == ["lib/a.py"]
