"""The templates of a deployment, synthesised and looked through once for all processes of a test run."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from infra import node
from tests.security import findings
from tests.security.deployed import ACCOUNT, AWAY, HOME, ROOT, Deployed, once

node.choose()

OPTED_IN: dict[str, Any] = {
    "recover": {
        "automatic": [{"alarm": "orders-down", "resource": f"database/{HOME}/orders", "region": HOME}],
    },
    "guard": {
        "shared_with": ["210987654321"],
        "enforce": True,
        "recycle_bin": {"keep": "14d", "every_snapshot": True, "unlock_delay": "7d"},
        "block_public_access": {HOME: "block-all-sharing", AWAY: "block-all-sharing"},
    },
}
BY_POLICY: dict[str, Any] = {
    "lock": {"mode": "compliance", "for": "7d", "cool_off": "24h"},
    "deep_check": {"every": "30d"},
}
"""What cdk.json leaves out, and a deployment may have beside what it holds; and what its daily policy may ask for."""


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def deployed(run_folder: Path) -> Deployed:
    """What cdk.json deploys, and everything that can be had beside it; nothing is bundled or asked of AWS."""

    def make(folder: Path) -> None:
        from aws_cdk import App

        from infra import deployment, settings

        context = json.loads((ROOT / "cdk.json").read_text())["context"]
        block = context["holdfast"] | {"account": ACCOUNT} | OPTED_IN
        block["policies"] |= {"daily": block["policies"]["daily"] | BY_POLICY}
        app = App(context={**context, "aws:cdk:bundling-stacks": []}, outdir=str(folder))
        deployment.add_stacks(app, settings.load(block))
        findings.add_packs(app)
        with suppress(RuntimeError):  # findings end a synth, after the templates and the report are written
            app.synth()
        assert (folder / "validation-report.json").exists(), "the synth ended before cdk-nag had looked"

    return Deployed.read(once(run_folder, "everything", make))
