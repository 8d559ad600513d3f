"""The templates as CloudFormation would get them. Nothing is bundled, nothing is asked of AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra import node

ROOT = Path(__file__).parents[2]
node.choose()


@dataclass(frozen=True)
class Resource:
    """One resource of one stack."""

    stack: str
    region: str
    id: str
    type: str
    properties: Mapping[str, Any]
    body: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.stack}/{self.id}"


@dataclass(frozen=True)
class Assembly:
    """Every stack of a deployment, by name, with the Region it goes to."""

    folder: Path
    templates: Mapping[str, Mapping[str, Any]]
    regions: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> Assembly:
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
        stacks = {name: it for name, it in artifacts.items() if it["type"] == "aws:cloudformation:stack"}
        return cls(
            folder=folder,
            templates={
                name: json.loads((folder / it["properties"]["templateFile"]).read_text()) for name, it in stacks.items()
            },
            regions={name: it["environment"].rsplit("/", 1)[1] for name, it in stacks.items()},
        )

    def resources(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types, or every resource."""
        for stack, template in self.templates.items():
            for id, body in template["Resources"].items():
                if not types or body["Type"] in types:
                    yield Resource(stack, self.regions[stack], id, body["Type"], body.get("Properties", {}), body)

    def one(self, type: str, stack: str) -> Resource:
        """The only resource of this type in the stack."""
        (found,) = (resource for resource in self.resources(type) if resource.stack == stack)
        return found

    def functions(self) -> Mapping[str, Resource]:
        """The functions by their names."""
        return {function.properties["FunctionName"]: function for function in self.resources("AWS::Lambda::Function")}

    def statements_of(self, function: Resource) -> list[Mapping[str, Any]]:
        """What the function's role may do."""
        role = function.properties["Role"]["Fn::GetAtt"][0]
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy")
            if policy.stack == function.stack and {"Ref": role} in policy.properties["Roles"]
            for statement in policy.properties["PolicyDocument"]["Statement"]
        ]


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


def block() -> dict[str, Any]:
    """The holdfast block of cdk.json."""
    return json.loads((ROOT / "cdk.json").read_text())["context"]["holdfast"]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Assembly]:
    """Synthesises cdk.json's block with some of it replaced."""
    from aws_cdk import App

    from infra import deployment, settings

    def synthesise(**replaced: Any) -> Assembly:
        folder = tmp_path_factory.mktemp("assembly")
        context = json.loads((ROOT / "cdk.json").read_text())["context"]
        app = App(context={**context, "aws:cdk:bundling-stacks": []}, outdir=str(folder))
        deployment.add_stacks(app, settings.load(block() | replaced))
        app.synth()
        return Assembly.read(folder)

    return synthesise


@pytest.fixture(scope="session")
def assembly(synthesise: Callable[..., Assembly]) -> Assembly:
    """What cdk.json as it stands deploys."""
    return synthesise()


@pytest.fixture(scope="session")
def try_out(synthesise: Callable[..., Assembly]) -> Assembly:
    """A deployment that is to leave nothing behind, in a known account, without a network for databases."""
    return synthesise(account="123456789012", removal="destroy", rehearse_databases=False, rehearsals_per_day=0)


@pytest.fixture(scope="session")
def wide(synthesise: Callable[..., Assembly]) -> Assembly:
    """A deployment into five Regions of a known account."""
    return synthesise(account="123456789012", copies=["eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-1"])
