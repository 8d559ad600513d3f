"""Who may import whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT, imported, python_files

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": (),
    "scheduling": ("numpy",),
    "scoring": ("numpy",),
    "inspection": ("google_crc32c", "numpy"),
    "contracts": ("pydantic",),
    "aws": ("boto3", "botocore", "mypy_boto3_", "pg8000", "pymysql"),
    "ledger": ("pynamodb", "pydantic"),
}
"""What a room may import besides the standard library, functions.core and itself."""

ROOMS = (*MAY_IMPORT, "handlers")
OUTSIDE = ("infra", "embedded", "tests", "benchmarks", "app")
FROM_FUNCTIONS_TO_INFRA = ("functions.contracts.settings", "functions.core.errors", "functions.aws.permissions")


def begins(name: str, *heads: str) -> bool:
    """Whether the dotted name is one of the heads or lies in it; a head that ends in _ is a prefix."""
    return any(name == head or name.startswith(head if head.endswith("_") else head + ".") for head in heads)


def strangers(room: str, names: set[str]) -> set[str]:
    """The imports that a room of functions may not have."""
    friends = ("functions.core", f"functions.{room}", *MAY_IMPORT[room])
    return {n for n in names if not begins(n, *friends) and n.split(".")[0] not in sys.stdlib_module_names}


def violations(room: str) -> dict[str, set[str]]:
    found = {p.as_posix(): strangers(room, imports(p)) for p in python_files(f"functions/{room}/")}
    return {path: names for path, names in found.items() if names}


def imports(path: Path) -> set[str]:
    return imported((ROOT / path).read_text(), path)


def importers(
    *heads: str, outside_of: tuple[str, ...], among: tuple[str, ...] = ("functions/",)
) -> dict[str, set[str]]:
    """Who imports one of these, outside of the folders that may."""
    found = {
        path.as_posix(): {name for name in imports(path) if begins(name, *heads)}
        for path in python_files(*among)
        if not path.as_posix().startswith(outside_of)
    }
    return {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_the_standard_library_core_itself_and_its_own_tools_only(room: str) -> None:
    assert violations(room) == {}


def test_every_folder_of_functions_is_a_room_with_a_rule() -> None:
    assert {path.parts[1] for path in python_files("functions/") if len(path.parts) > 2} <= set(ROOMS)


def test_only_aws_imports_boto3() -> None:
    assert importers("boto3", "botocore", outside_of=("functions/aws/",)) == {}


def test_only_ledger_imports_pynamodb() -> None:
    assert importers("pynamodb", outside_of=("functions/ledger/",)) == {}


def test_nobody_imports_handlers() -> None:
    everybody = ("functions/", "infra/", "embedded/", "app.py")
    assert importers("functions.handlers", outside_of=("functions/handlers/",), among=everybody) == {}


def test_functions_imports_nothing_of_infra_embedded_or_tests() -> None:
    assert importers(*OUTSIDE, outside_of=()) == {}


def test_embedded_imports_nothing_of_functions_infra_or_tests() -> None:
    assert importers("functions", "infra", "tests", outside_of=(), among=("embedded/",)) == {}


def test_infra_reads_of_functions_the_settings_and_the_declared_permissions_only() -> None:
    taken = importers("functions", outside_of=(), among=("infra/", "app.py"))
    beyond = {
        path: {name for name in names if not begins(name, *FROM_FUNCTIONS_TO_INFRA, "functions.aws")}
        for path, names in taken.items()
    }
    assert {path: names for path, names in beyond.items() if names} == {}
    misused = {path: uses_beyond_permissions((ROOT / path).read_text(), names) for path, names in taken.items()}
    assert {path: names for path, names in misused.items() if names} == {}


def is_module(name: str) -> bool:
    """Whether the dotted name is a module or a package of this repository, and not something in one."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def uses_beyond_permissions(source: str, names: set[str]) -> set[str]:
    """What is read from modules of functions.aws that does not say PERMISSIONS."""
    tree = ast.parse(source)
    of_aws = {name for name in names if begins(name, "functions.aws") and not begins(name, "functions.aws.permissions")}
    modules = {name.rpartition(".")[2] for name in of_aws if is_module(name)}
    taken_out = {name for name in of_aws if not is_module(name) and "PERMISSIONS" not in name.rpartition(".")[2]}
    called_by = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in modules
    }
    return taken_out | {
        f"{called_by[node.value.id]}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in called_by
        and "PERMISSIONS" not in node.attr
    }


@pytest.mark.parametrize(
    ("room", "source", "stranger"),
    [
        ("core", "import boto3", "boto3"),
        ("core", "import pydantic.v1 as p", "pydantic.v1"),
        ("core", "from functions.ledger.works import Works", "functions.ledger.works.Works"),
        ("core", "from functions import aws", "functions.aws"),
        ("core", "from ..aws import clients", "functions.aws.clients"),
        ("core", "def f():\n    import numpy", "numpy"),
        ("core", "import importlib\nimportlib.import_module('boto3')", "boto3"),
        ("ledger", "from functions.aws.clients import clients", "functions.aws.clients.clients"),
        ("scoring", "from functions.scheduling import profile", "functions.scheduling.profile"),
        ("contracts", "from functions.corex import a", "functions.corex.a"),
    ],
)
def test_the_walker_sees_a_forbidden_import_however_it_is_written(room: str, source: str, stranger: str) -> None:
    assert strangers(room, imported(source, Path(f"functions/{room}/thing.py"))) == {stranger}


@pytest.mark.parametrize(
    "source", ["import json", "from functions.core import slots", "from . import slots", "import os.path"]
)
def test_the_walker_lets_core_and_the_standard_library_pass(source: str) -> None:
    assert strangers("core", imported(source, Path("functions/core/thing.py"))) == set()


def test_the_walker_sees_what_infra_reads_beyond_permissions() -> None:
    source = "from functions.aws import metrics as m, kinds\nm.PERMISSIONS\nm.written_bytes\nkinds.of()"
    names = imported(source, Path("infra/thing.py"))
    assert uses_beyond_permissions(source, names) == {"metrics.written_bytes", "kinds.of"}
    assert uses_beyond_permissions("from functions.aws.metrics import Metrics", {"functions.aws.metrics.Metrics"})
