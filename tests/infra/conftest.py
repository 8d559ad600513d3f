"""The templates as CloudFormation would get them. Nothing is bundled, nothing is asked of AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Set
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

    def functions(self) -> list[tuple[str, Resource]]:
        """Every function with its name; one of recovery is there once in each Region."""
        return [(it.properties["FunctionName"], it) for it in self.resources("AWS::Lambda::Function")]

    def function(self, name: str, *, region: str) -> Resource:
        """The function of that name in a Region."""
        (found,) = (it for called, it in self.functions() if (called, it.region) == (name, region))
        return found

    def machine(self, name: str, *, region: str) -> Resource:
        """The workflow of that name in a Region."""
        (found,) = (
            it
            for it in self.resources("AWS::StepFunctions::StateMachine")
            if (it.properties["StateMachineName"], it.region) == (name, region)
        )
        return found

    def rule(self, name: str, *, region: str) -> Resource:
        """The rule of that name in a Region."""
        rules = self.resources("AWS::Events::Rule")
        (found,) = (it for it in rules if (it.properties["Name"], it.region) == (name, region))
        return found

    def statements_of(self, resource: Resource) -> list[Mapping[str, Any]]:
        """What the role of a function or a workflow may do."""
        role = (resource.properties.get("Role") or resource.properties["RoleArn"])["Fn::GetAtt"][0]
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy")
            if policy.stack == resource.stack and {"Ref": role} in policy.properties["Roles"]
            for statement in policy.properties["PolicyDocument"]["Statement"]
        ]

    def statements_with(self, actions: Set[str]) -> dict[str, list[Mapping[str, Any]]]:
        """The functions whose roles hold one of the actions anywhere, with the statements that give it."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for name, function in self.functions():
            given = [s for s in self.statements_of(function) if actions & set(listed(s["Action"]))]
            if given:
                found.setdefault(name, []).extend(given)
        return found


def listed(value: Any) -> list[Any]:
    """IAM writes a list of one as the one."""
    return value if isinstance(value, list) else [value]


def written(value: Any) -> str:
    """A value of a template as one text, with `${...}` where only CloudFormation knows what stands there."""
    match value:
        case str() | int():
            return str(value)
        case list():
            return ".".join(written(part) for part in value)
        case {"Fn::Join": [between, parts]}:
            return between.join(written(part) for part in parts)
        case {"Ref": name}:
            return "${" + name.replace("::", ".") + "}"
    (told,) = value.values()  # of Fn::GetAtt, Fn::ImportValue, Fn::Select or Fn::Split
    return "${" + written(told) + "}"


def resources_of(statement: Mapping[str, Any]) -> list[str]:
    """What a statement is about."""
    return [written(resource) for resource in listed(statement["Resource"])]


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
def alone(synthesise: Callable[..., Assembly]) -> Assembly:
    """A deployment without copies: one Region that does everything, and two alarms that start a recovery."""
    rule = {"resource": "database/eu-central-1/orders", "region": "eu-central-1"}
    return synthesise(
        copies=[],
        policies={"daily": {"rpo": "24h", "keep": {"daily": 7}}},
        recover={"automatic": [{"alarm": "orders-down", **rule}, {"alarm": "billing-down", **rule}]},
    )


@pytest.fixture(scope="session")
def wide(synthesise: Callable[..., Assembly]) -> Assembly:
    """A deployment into five Regions of a known account."""
    return synthesise(account="123456789012", copies=["eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-1"])
