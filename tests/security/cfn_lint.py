"""What cfn-lint finds in the templates, each finding with the resource it is about and the place in it."""

from __future__ import annotations

import json

from cfnlint.api import ManualArgs, lint

from tests.security.deployed import Deployed
from tests.security.findings import Finding


def read(deployed: Deployed) -> tuple[Finding, ...]:
    """Every error and warning; `detail` is the path to what it is about, inside of the resource."""
    found: list[Finding] = []
    for stack, template in deployed.templates.items():
        for match in lint(json.dumps(template), config=ManualArgs(regions=[deployed.regions[stack]])):
            path: list[str | int] = match.path  # pyright: ignore[reportAttributeAccessIssue] -- set at run time only
            section, id, *inside = map(str, path)
            assert section == "Resources", f"{match.rule.id} about {section} of {stack}: {match.message}"
            found.append(Finding(match.rule.id, "/".join(inside), deployed.resource(stack, id)))
    return tuple(found)
