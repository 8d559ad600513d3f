"""F94: what is shipped is what was locked, it can be listed, and the same sources make the same asset anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_s3_assets as assets

from infra import node, packaging

ROOT = Path(__file__).parents[2]
LOCK: dict[str, Any] = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
node.choose()


def test_every_distribution_in_the_lock_has_its_sha_256() -> None:
    of_others = [package for package in LOCK["package"] if package["name"] != "holdfast"]
    listed = [
        one for package in of_others for one in [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
    ]
    assert len(listed) >= len(of_others) > 50
    assert [one["url"] for one in listed if not re.fullmatch(r"sha256:[0-9a-f]{64}", one.get("hash", ""))] == []


def test_everything_that_a_layer_installs_is_pinned_and_checked_by_hash() -> None:
    for which in (packaging.RUNTIME, packaging.INSPECTION):
        requirements = packaging.exported_requirements(which).replace("\\\n", " ").splitlines()
        assert requirements
        for line in requirements:
            assert re.match(r"[A-Za-z0-9._-]+==\S+ ", line), line
            assert "--hash=sha256:" in line, line


def bill_of_materials(tmp_path: Path) -> dict[str, Any]:
    """What `make sbom` writes."""
    made = tmp_path / "sbom.cdx.json"
    [line] = [line for line in (ROOT / "Makefile").read_text().splitlines() if "cyclonedx" in line]
    command = line.replace("@$(UV)", packaging.uv()[0]).replace("$(SBOM)", str(made)).split()
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True)  # noqa: S603 - our own Makefile's words
    return json.loads(made.read_text())


def test_the_bill_of_materials_lists_what_the_layers_hold_and_nothing_else(tmp_path: Path) -> None:
    bill = bill_of_materials(tmp_path)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    assert bill["metadata"]["component"]["name"] == "holdfast"
    shipped = {
        line.partition(" ")[0].partition(";")[0].strip()
        for which in (packaging.RUNTIME, packaging.INSPECTION)
        for line in packaging.exported_requirements(which).replace("\\\n", " ").splitlines()
    }
    assert {f"{one['name']}=={one['version']}" for one in bill["components"]} == shipped
    for one in bill["components"]:
        hashes = [sum_ for reference in one["externalReferences"] for sum_ in reference.get("hashes", [])]
        assert hashes, one["name"]
        assert {sum_["alg"] for sum_ in hashes} == {"SHA-256"}


def asset_of(folder: Path) -> tuple[str, dict[str, bytes]]:
    """The hash of the functions' code and the files in it, when it is built from this folder."""
    out = folder.parent / f"{folder.name}.out"
    stack = cdk.Stack(cdk.App(outdir=str(out)), "Code")
    asset = assets.Asset(stack, "Code", path=str(folder), ignore_mode=cdk.IgnoreMode.GIT, exclude=list(packaging.CODE))
    staged = Path(asset.asset_path) if Path(asset.asset_path).is_absolute() else out / asset.asset_path
    files = {path.relative_to(staged).as_posix(): path.read_bytes() for path in staged.rglob("*") if path.is_file()}
    return asset.asset_hash, files


@pytest.fixture
def copied(tmp_path: Path) -> tuple[Path, Path]:
    """The sources in two folders: copied in another order, at another time, with other leavings beside them."""
    here, there = tmp_path / "here", tmp_path / "some where else"
    for folder, seconds in ((here, 1_000_000_000), (there, 1_500_000_000)):
        shutil.copytree(ROOT / "functions", folder / "functions", ignore=shutil.ignore_patterns("__pycache__"))
        for number, path in enumerate(folder.rglob("*")):
            os.utime(path, (seconds + number, seconds + number))
    (there / "functions/core/__pycache__").mkdir()
    (there / "functions/core/__pycache__/slots.cpython-313.pyc").write_bytes(b"compiled")
    (there / "README.md").write_text("not shipped")
    (there / ".git").mkdir()
    return here, there


def test_two_builds_in_two_folders_at_two_times_are_the_same_asset(copied: tuple[Path, Path]) -> None:
    here, there = map(asset_of, copied)
    assert here == there
    _, files = here
    assert "functions/handlers/take_snapshot.py" in files
    assert {name.partition("/")[0] for name in files} == {"functions"}
    assert [name for name in files if name.endswith((".pyc", ".md"))] == []


def test_another_byte_is_another_asset(copied: tuple[Path, Path]) -> None:
    here, there = copied
    changed = there / "functions/core/slots.py"
    changed.write_bytes(changed.read_bytes() + b"\n")
    assert asset_of(here)[0] != asset_of(there)[0]
