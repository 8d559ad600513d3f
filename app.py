"""The CDK app. `npx cdk deploy --all` runs it; `python app.py` alone writes the same cloud assembly to cdk.out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from functions.core.errors import BadMessage
from infra import node
from infra.errors import CannotSynthesise

CDK_JSON = Path(__file__).parent / "cdk.json"


def main() -> None:
    """The assembly is written, or standard error says why not and the exit code is 1."""
    try:
        node.choose()
        synthesise()
    except (BadMessage, CannotSynthesise) as problem:
        sys.exit(str(problem))


def synthesise() -> None:
    # Imported here, because importing aws_cdk starts Node.js, which must have been chosen before.
    from aws_cdk import App

    from infra import deployment, settings

    # The CDK command line hands over what cdk.json says, and with it whatever -c adds, which wins.
    # Without the command line nobody does.
    context = json.loads(CDK_JSON.read_text(encoding="utf-8"))["context"]
    app = App(context=context, outdir=os.environ.get("CDK_OUTDIR", "cdk.out"))
    file = app.node.try_get_context("holdfast-file") or os.environ.get("HOLDFAST_SETTINGS_FILE")
    deployment.add_stacks(app, settings.load(app.node.try_get_context("holdfast"), file=file))
    app.synth()


if __name__ == "__main__":
    main()
