"""What checkov finds in the templates, each finding with the resource it is about.

checkov wants an older boto3 than the functions do, so it runs as a program, in the environment that the Makefile makes.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.security.deployed import ROOT, Deployed
from tests.security.findings import Finding

PROGRAM = ROOT / "build/checkov/bin/checkov"
OPTIONS = ("--framework", "cloudformation", "--skip-download", "--soft-fail", "--compact", "--output", "json")


def read(deployed: Deployed) -> tuple[Finding, ...]:
    """Every finding, also one that a comment in a template would have checkov skip.

    Errors: FileNotFoundError where checkov is not installed.
    """
    results = _results(deployed.folder)
    assert not results["parsing_errors"], results["parsing_errors"]
    found = [*results["failed_checks"], *results["skipped_checks"]]
    looked_at = {_stack(check) for check in (*results["passed_checks"], *found)}
    assert looked_at == set(deployed.templates), "every template has something that checkov has a check for"
    return tuple(
        Finding(check["check_id"], "", deployed.resource(_stack(check), check["resource"].rpartition(".")[2]))
        for check in found
    )


def _results(templates: Path) -> Any:
    """What checkov answers from its own rules alone: it asks no server, and reads nobody's settings."""
    if not PROGRAM.exists():
        raise FileNotFoundError(f"{PROGRAM} is not there: run `make checkov`")
    with TemporaryDirectory() as nobodys_home:
        ran = subprocess.run(  # noqa: S603
            [PROGRAM, "--directory", ".", *OPTIONS],
            cwd=templates,
            env={"PATH": os.environ["PATH"], "HOME": nobodys_home, "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)["results"]


def _stack(check: Any) -> str:
    return check["file_path"].removeprefix("/").removesuffix(".template.json")
