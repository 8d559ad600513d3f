"""The one way a correction reaches into ministack: it first checks that what it changes is still what it knew."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

_VERSION = "1.5.33"


def expect(holds: bool, what: str) -> None:
    """`what` is still so in the ministack that is installed."""
    assert holds, (  # noqa: S101 - a defect of the installation, not of an input
        f"a correction for ministack {_VERSION} no longer fits: expected {what}. "
        f"Install ministack=={_VERSION}, or read the new source and adapt embedded/corrections."
    )


def original(module: ModuleType | type, name: str, *fragments: str) -> Callable[..., Any]:
    """The function about to be replaced, after checking that its source still contains each fragment."""
    expect(hasattr(module, name), f"{module.__name__}.{name} to exist")
    function = getattr(module, name)
    source = inspect.getsource(function)
    for fragment in fragments:
        expect(fragment in source, f"{module.__name__}.{name} to contain {fragment!r}")
    return function


def rewritten(text: str, old: str, new: str, where: str) -> str:
    """`text` with its one `old` replaced by `new`."""
    expect(text.count(old) == 1, f"{where} to contain once {old!r}")
    return text.replace(old, new)


def recompiled(module: ModuleType, name: str, replacements: dict[str, str]) -> None:
    """The module's function runs with parts of its own source replaced; for what no wrapper can reach."""
    source = textwrap.dedent(inspect.getsource(original(module, name)))
    for old, new in replacements.items():
        source = rewritten(source, old, new, f"{module.__name__}.{name}")
    exec(compile(source, f"<{module.__name__}.{name}, corrected>", "exec"), vars(module))  # noqa: S102 - ministack's own source
