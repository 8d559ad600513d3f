"""What the six packs of cdk-nag find in the templates, each finding with the resource it is about."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.security.deployed import ACCOUNT, Deployed, Resource

PACKS = {"AwsSolutions", "HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321", "Serverless"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule about one resource; `detail` is what it names in brackets, with a Region and an account of no place."""

    rule: str
    detail: str
    resource: Resource

    def __str__(self) -> str:
        return f"{self.rule}{f'[{self.detail}]' if self.detail else ''} about {self.resource}"


def add_packs(app: Any) -> None:
    """The app is looked through by every pack when it is synthesised."""
    import cdk_nag
    from aws_cdk import Validations

    Validations.of(app).add_plugins(
        cdk_nag.AwsSolutionsChecks(),
        cdk_nag.HIPAASecurityChecks(),
        cdk_nag.NIST80053R4Checks(),
        cdk_nag.NIST80053R5Checks(),
        cdk_nag.PCIDSS321Checks(),
        cdk_nag.ServerlessChecks(),
    )


def read(deployed: Deployed) -> tuple[Finding, ...]:
    """Every finding of every pack."""
    reports = json.loads((deployed.folder / "validation-report.json").read_text())["pluginReports"]
    ran = {report["pluginName"] for report in reports}
    assert ran >= PACKS, f"these packs did not run: {PACKS - ran}"
    ids = _logical_ids(deployed.folder)
    return tuple(
        Finding(rule, _anywhere(detail), deployed.resource(*ids[construct["constructPath"]]))
        for report in reports
        for violation in report.get("violations", [])
        for rule, detail in [_parted(violation["ruleName"])]
        for construct in violation["violatingConstructs"]
    )


def _parted(name: str) -> tuple[str, str]:
    rule, _, detail = name.partition("[")
    return rule, detail.removesuffix("]")


def _anywhere(detail: str) -> str:
    """The same finding in another Region or account, or about another function, is the same."""
    detail = re.sub(r"\b[a-z]{2}-[a-z]+-\d\b", "REGION", detail.replace(ACCOUNT, "ACCOUNT"))
    detail = re.sub(r"\{.*RecoverMachine.*\}", "MACHINE", detail)
    return re.sub(r"<\w+?[0-9A-F]{8}\.Arn>", "FUNCTION", detail)


def _logical_ids(folder: Path) -> dict[str, tuple[str, str]]:
    """Stack and logical id, by the path of the construct."""
    found: dict[str, tuple[str, str]] = {}
    for file in folder.glob("*.metadata.json"):
        for path, entries in json.loads(file.read_text()).items():
            for entry in entries:
                if entry["type"] == "aws:cdk:logicalId":
                    found[path.removeprefix("/")] = (path.split("/")[1], entry["data"])
    return found
