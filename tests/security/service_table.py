"""AWS's service authorization reference, as cfn-lint ships it: which actions there are, and on what each acts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

WITHOUT_A_KIND = {"cloudwatch:GetMetricData", "cloudwatch:PutMetricData"}
"""CloudWatch asks about these for the whole account; the kind that the reference lists is of another service's data."""

ON_A_MACHINE = {"states:SendTaskFailure", "states:SendTaskSuccess"}
"""Step Functions asks about the state machine that waits under the token; the reference lists no resource type."""


@cache
def _reference() -> Mapping[str, Any]:
    file = resources.files("cfnlint").joinpath("data", "AdditionalSpecs", "Policies.json")
    return json.loads(file.read_text(encoding="utf-8"))


def exists(action: str) -> bool:
    """Whether AWS knows an action of that name."""
    service, _, name = action.partition(":")
    return name.lower() in _reference().get(service, {}).get("Actions", {})


def resource_types(action: str) -> Mapping[str, tuple[re.Pattern[str], ...]]:
    """The forms of ARN on which the action acts, by kind of resource; none where it acts on the whole account."""
    service, _, name = action.partition(":")
    if action in ON_A_MACHINE:
        kinds = ["statemachine"]
    elif action in WITHOUT_A_KIND:
        kinds = []
    else:
        kinds = _reference()[service]["Actions"][name.lower()].get("Resources", [])
    found: dict[str, tuple[re.Pattern[str], ...]] = {}
    for kind in kinds:
        owner, resource = _owner(service, kind)
        forms = _reference()[owner]["Resources"].get(resource, {}).get("ARNFormats", [])
        found[kind] = tuple(re.compile(_expression(form)) for form in forms)
    return found


def _owner(service: str, kind: str) -> tuple[str, str]:
    """EBS direct acts on EC2's snapshots."""
    here = _reference()[service]["Resources"]
    known = {name.lower(): name for name in here}
    if kind.lower() in known:
        return service, known[kind.lower()]
    return "ec2", kind


def _expression(form: str) -> str:
    """The reference's form of an ARN, matched by an ARN or by a policy's pattern for one."""
    return re.sub(r"\$\{\w+\}", r"[^:]*", form)
