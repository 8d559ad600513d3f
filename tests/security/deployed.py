"""What is deployed, read out of the templates: roles with everything they may do, and who may take them.

References are resolved as CloudFormation would: an ARN is spelled out with the account, the Region and the name, or
with the logical id where CloudFormation makes the name up.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.security.evaluator import Statement, listed

ACCOUNT = "111122223333"
HOME, AWAY = "eu-central-1", "eu-west-1"
ROOT = Path(__file__).parents[2]

NAMED_BY = {
    "AWS::DynamoDB::GlobalTable": "TableName",
    "AWS::Events::EventBus": "Name",
    "AWS::Events::Rule": "Name",
    "AWS::KMS::Alias": "AliasName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::Scheduler::ScheduleGroup": "Name",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}
ARNS = {
    "AWS::DynamoDB::GlobalTable": "dynamodb:{region}:{account}:table/{name}",
    "AWS::Events::EventBus": "events:{region}:{account}:event-bus/{name}",
    "AWS::Events::Rule": "events:{region}:{account}:rule/{name}",
    "AWS::IAM::ManagedPolicy": "iam::{account}:policy/{name}",
    "AWS::IAM::InstanceProfile": "iam::{account}:instance-profile/{name}",
    "AWS::IAM::Role": "iam::{account}:role/{name}",
    "AWS::KMS::Key": "kms:{region}:{account}:key/{name}",
    "AWS::Lambda::Function": "lambda:{region}:{account}:function:{name}",
    "AWS::Logs::LogGroup": "logs:{region}:{account}:log-group:{name}:*",
    "AWS::SNS::Topic": "sns:{region}:{account}:{name}",
    "AWS::SQS::Queue": "sqs:{region}:{account}:{name}",
    "AWS::Scheduler::ScheduleGroup": "scheduler:{region}:{account}:schedule-group/{name}",
    "AWS::StepFunctions::StateMachine": "states:{region}:{account}:stateMachine:{name}",
}
REF_IS_ARN = {"AWS::IAM::ManagedPolicy", "AWS::SNS::Topic", "AWS::StepFunctions::StateMachine"}


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource of one stack, its references resolved; there is one object for it."""

    stack: str
    region: str
    id: str
    type: str
    properties: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What people call it: its name, or its logical id where CloudFormation names it."""
        return str(self.properties.get(NAMED_BY.get(self.type, ""), self.id))

    def __str__(self) -> str:
        return f"{self.stack}/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role with the statements of all its policies; `of` is the function, workflow or rule it was made for."""

    of: str
    stack: str
    region: str
    id: str
    statements: tuple[Statement, ...]
    trust: tuple[Statement, ...]

    def __str__(self) -> str:
        return f"{self.of} in {self.region}"


@dataclass(frozen=True)
class Deployed:
    """Every stack of an assembly."""

    folder: Path
    templates: Mapping[str, Mapping[str, Any]]
    regions: Mapping[str, str]
    _resolved: dict[tuple[str, str], Resource] = field(default_factory=dict[tuple[str, str], Resource])

    @classmethod
    def read(cls, folder: Path) -> Deployed:
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
        stacks = {name: it for name, it in artifacts.items() if it["type"] == "aws:cloudformation:stack"}
        files = {name: folder / it["properties"]["templateFile"] for name, it in stacks.items()}
        return cls(
            folder=folder,
            templates={name: json.loads(file.read_text()) for name, file in files.items()},
            regions={name: it["environment"].rsplit("/", 1)[1] for name, it in stacks.items()},
        )

    def resources(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types, or every resource."""
        for stack, template in self.templates.items():
            for id, body in template["Resources"].items():
                if not types or body["Type"] in types:
                    yield self.resource(stack, id)

    def resource(self, stack: str, id: str) -> Resource:
        """The resource with that logical id."""
        if (stack, id) not in self._resolved:
            body = self.templates[stack]["Resources"][id]
            properties = self._resolve(stack, body.get("Properties", {}))
            self._resolved[stack, id] = Resource(stack, self.regions[stack], id, body["Type"], properties)
        return self._resolved[stack, id]

    @cached_property
    def roles(self) -> tuple[Role, ...]:
        """Every role that is made."""
        return tuple(
            Role(
                of=self._holders.get((role.stack, role.id), role.id),
                stack=role.stack,
                region=role.region,
                id=role.id,
                statements=tuple(self._statements(role)),
                trust=tuple(role.properties["AssumeRolePolicyDocument"]["Statement"]),
            )
            for role in self.resources("AWS::IAM::Role")
        )

    def role(self, of: str, region: str) -> Role:
        """The one role of that function, workflow or rule in a Region."""
        (found,) = (role for role in self.roles if (role.of, role.region) == (of, region))
        return found

    @cached_property
    def _holders(self) -> Mapping[tuple[str, str], str]:
        """Who works as a role: stack and logical id of the role, and a name."""
        holders: dict[tuple[str, str], str] = {}
        for profile in self.resources("AWS::IAM::InstanceProfile"):
            holders[profile.stack, profile.properties["Roles"][0]] = "machine of deep checks"
        for resource in self.resources():
            of = {
                "AWS::Lambda::Function": (resource.properties.get("Role"), resource.name),
                "AWS::StepFunctions::StateMachine": (resource.properties.get("RoleArn"), f"workflow {resource.name}"),
                "AWS::Scheduler::Schedule": (
                    resource.properties.get("Target", {}).get("RoleArn"),
                    f"clock for {resource.properties.get('Target', {}).get('Arn', '').rpartition(':')[2]}",
                ),
            }.get(resource.type)
            targets = resource.properties.get("Targets", []) if resource.type == "AWS::Events::Rule" else []
            for arn, name in [of] if of else [(target.get("RoleArn"), f"rule {resource.name}") for target in targets]:
                if arn:
                    holders.setdefault((resource.stack, arn.rpartition("/")[2]), name)
        return holders

    def _statements(self, role: Resource) -> Iterator[Statement]:
        for policy in self.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"):
            holders = [*listed(policy.properties.get("Roles", [])), policy.properties.get("RoleName")]
            if policy.stack == role.stack and role.id in holders:
                yield from policy.properties["PolicyDocument"]["Statement"]
        for policy in role.properties.get("Policies", []):
            yield from policy["PolicyDocument"]["Statement"]
        assert role.properties.get("PermissionsBoundary") is None, "no role of ours has one, so none is evaluated"
        ours = {arn for arn in role.properties.get("ManagedPolicyArns", []) if ":policy/" in arn}
        assert not ours, f"{role}: policies are attached by naming the role, where this reader looks for them"

    # ------------------------------------------------------------------------ references

    def _resolve(self, stack: str, value: Any) -> Any:
        """The value as CloudFormation fills it in."""
        if isinstance(value, list):
            return [it for it in (self._resolve(stack, part) for part in value) if it is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in self._functions:
                return self._functions[name](stack, argument)
        return {name: self._resolve(stack, part) for name, part in value.items()}

    @cached_property
    def _functions(self) -> Mapping[str, Callable[[str, Any], Any]]:
        return {
            "Ref": self._ref,
            "Fn::GetAtt": self._attribute,
            "Fn::Join": lambda stack, it: it[0].join(str(part) for part in self._resolve(stack, it[1])),
            "Fn::Select": lambda stack, it: self._resolve(stack, it[1])[int(it[0])],
            "Fn::Split": lambda stack, it: self._resolve(stack, it[1]).split(it[0]),
            "Fn::ImportValue": self._imported,
            "Fn::GetAZs": lambda stack, _: [f"{self.regions[stack]}{letter}" for letter in "abc"],
        }

    def _ref(self, stack: str, name: str) -> str | None:
        region = self.regions[stack]
        pseudo = {
            "AWS::Partition": "aws",
            "AWS::AccountId": ACCOUNT,
            "AWS::Region": region,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in pseudo:
            return pseudo[name]
        if name == "AWS::NoValue":
            return None
        if name not in self.templates[stack]["Resources"]:
            return f"parameter-{name}"
        return (
            self._arn(stack, name)
            if self.templates[stack]["Resources"][name]["Type"] in REF_IS_ARN
            else self._name(stack, name)
        )

    def _attribute(self, stack: str, argument: Any) -> str:
        id, _, attribute = argument.partition(".") if isinstance(argument, str) else (argument[0], "", argument[1])
        if attribute == "Arn":
            return self._arn(stack, id)
        if attribute == "StreamArn":
            return f"{self._arn(stack, id)}/stream/2026-01-01T00:00:00.000"
        return f"{id}.{attribute}"

    def _imported(self, stack: str, name: Any) -> Any:
        wanted = self._resolve(stack, name)
        for exporter, template in self.templates.items():
            for output in template.get("Outputs", {}).values():
                if self._resolve(exporter, output.get("Export", {}).get("Name")) == wanted:
                    return self._resolve(exporter, output["Value"])
        raise LookupError(f"no stack exports {wanted}, which {stack} imports")

    def _name(self, stack: str, id: str) -> str:
        body = self.templates[stack]["Resources"][id]
        named = body.get("Properties", {}).get(NAMED_BY.get(body["Type"], ""), id)
        return str(self._resolve(stack, named))

    def _arn(self, stack: str, id: str) -> str:
        type = self.templates[stack]["Resources"][id]["Type"]
        filled = ARNS[type].format(region=self.regions[stack], account=ACCOUNT, name=self._name(stack, id))
        return f"arn:aws:{filled}"


def once(folder: Path, name: str, make: Callable[[Path], None]) -> Path:
    """`folder/name`, made by whichever process of the test run comes first; the others wait for it."""
    made = folder / name
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            half = folder / f"{name}.half"
            half.mkdir()
            make(half)
            half.rename(made)
    return made
