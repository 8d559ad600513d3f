"""The files that make the repository, and what a Python file names."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that is or would be committed, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],  # noqa: S607
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return tuple(sorted(path for name in listed.split("\0") if name and (ROOT / (path := Path(name))).is_file()))


def python_files(*rooms: str) -> tuple[Path, ...]:
    """The Python files under these folders, or all."""
    return tuple(
        path for path in tracked() if path.suffix == ".py" and (not rooms or path.as_posix().startswith(rooms))
    )


def imported(source: str, path: Path) -> set[str]:
    """Every module that this source imports, as a dotted name; from a package also the names taken out of it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = list(path.parts[: len(path.parts) - node.level]) if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            names |= {f"{origin}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and node.args and _is_an_import_in_disguise(node.func):
            names |= {str(first.value) for first in node.args[:1] if isinstance(first, ast.Constant)}
    return names


def _is_an_import_in_disguise(function: ast.expr) -> bool:
    return (isinstance(function, ast.Name) and function.id in ("__import__", "import_module")) or (
        isinstance(function, ast.Attribute) and function.attr == "import_module"
    )


def spoken(source: str) -> set[str]:
    """Every dotted name the code uses: `time.sleep`, `datetime.now`, and the bare names and modules."""
    words: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            words |= {node.attr, f"{_tail(node.value)}.{node.attr}"}
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Import):
            words |= {part for alias in node.names for part in (alias.name, alias.name.split(".")[0])}
        elif isinstance(node, ast.ImportFrom) and node.module:
            words |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return words


def _tail(value: ast.expr) -> str:
    if isinstance(value, ast.Attribute):
        return value.attr
    return value.id if isinstance(value, ast.Name) else "?"
