"""A synthesised CDK assembly, deployed as it is: no Node, no CDK command line, no Docker."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from embedded import ACCOUNT, HOME_REGION, root
from embedded.host_layers import DEFAULT_CACHE, HostLayers, is_for_another_machine, zip_folder

# `cdk bootstrap` leaves this behind, and the CDK's templates refuse a lower one.
_BOOTSTRAP_PARAMETER, _BOOTSTRAP_VERSION = "/cdk-bootstrap/hnb659fds/version", "30"
_STACK_WALL_SECONDS = 600.0
_LOOK_SECONDS = 0.1


class DeploymentFailed(RuntimeError):
    """A stack did not come to stand; the message holds what CloudFormation said about it."""


def deploy(
    assembly: Path,
    endpoint: str,
    *,
    cache: Path | None = None,
    uv: str | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Every stack of `assembly` is created or up to date on the embedded AWS at `endpoint`."""
    layers = HostLayers(cache or DEFAULT_CACHE, uv)
    for stack in stacks(assembly):
        began = time.monotonic()
        target = _Target(endpoint, stack.region)
        target.bootstrap()
        with tempfile.TemporaryDirectory() as scratch:
            for asset in stack.assets():
                target.upload(asset, layers, Path(scratch))
        outcome = target.apply(stack)
        if say:
            say(f"{stack.name} in {stack.region}: {outcome} in {time.monotonic() - began:.1f} s")


# ---------------------------------------------------------------------------- what is to be deployed


@dataclass(frozen=True)
class Asset:
    """One file or folder the templates refer to, and where they expect it."""

    source: Path
    packaging: str
    bucket: str
    key: str
    region: str


@dataclass(frozen=True)
class Stack:
    """One stack of an assembly."""

    folder: Path
    artifact: dict[str, Any]
    identifier: str

    @property
    def name(self) -> str:
        return self.artifact["properties"].get("stackName", self.identifier)

    @cached_property
    def region(self) -> str:
        account, region = self.artifact["environment"].removeprefix("aws://").split("/")
        if account not in ("unknown-account", ACCOUNT):
            raise DeploymentFailed(
                f"stack {self.name} was synthesised for account {account}, the embedded one is {ACCOUNT}; "
                "synthesise without an account"
            )
        return HOME_REGION if region == "unknown-region" else region

    @property
    def template_url(self) -> str:
        """Where the template lies once the assets are uploaded; a request has no room for a large one."""
        place = self._filled(self.artifact["properties"]["stackTemplateAssetObjectUrl"])
        return f"https://s3.amazonaws.com/{place.removeprefix('s3://')}"

    @property
    def parameters(self) -> list[dict[str, str]]:
        given = self.artifact["properties"].get("parameters", {})
        return [{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()]

    @property
    def tags(self) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in self.artifact["properties"].get("tags", {}).items()]

    def assets(self) -> Iterator[Asset]:
        """The stack's assets, its template among them."""
        manifest = self.folder / f"{self.identifier}.assets.json"
        for file in json.loads(manifest.read_text())["files"].values():
            source = self.folder / file["source"]["path"]
            for place in file["destinations"].values():
                region = self._filled(place.get("region", self.region))
                bucket, key = self._filled(place["bucketName"]), self._filled(place["objectKey"])
                yield Asset(source, file["source"]["packaging"], bucket, key, region)

    def _filled(self, text: str) -> str:
        values = {"${AWS::AccountId}": ACCOUNT, "${AWS::Region}": self.region, "${AWS::Partition}": "aws"}
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text


def stacks(assembly: Path) -> list[Stack]:
    """The stacks of the assembly and of the assemblies nested in it, each after what it depends on."""
    manifest = assembly / "manifest.json"
    if not manifest.exists():
        raise DeploymentFailed(f"{assembly} is no cloud assembly: it has no manifest.json; synthesise it first")
    artifacts = json.loads(manifest.read_text())["artifacts"]
    graph = {name: artifact.get("dependencies", []) for name, artifact in artifacts.items()}
    ordered: list[Stack] = []
    for name in TopologicalSorter(graph).static_order():
        artifact = artifacts[name]
        if artifact["type"] == "aws:cloudformation:stack":
            ordered.append(Stack(assembly, artifact, name))
        elif artifact["type"] == "cdk:cloud-assembly":
            ordered += stacks(assembly / artifact["properties"]["directoryName"])
    return ordered


# ---------------------------------------------------------------------------- where it is deployed


@dataclass(frozen=True)
class _Target:
    """One Region of the embedded AWS."""

    endpoint: str
    region: str

    def client(self, service: str, region: str | None = None) -> Any:
        settings = {"s3": {"addressing_style": "path"}, "read_timeout": 300}
        return root.client(service, region or self.region, self.endpoint, **settings)

    def bootstrap(self) -> None:
        """The Region looks to the CDK as if it had been bootstrapped."""
        self.client("ssm").put_parameter(
            Name=_BOOTSTRAP_PARAMETER, Value=_BOOTSTRAP_VERSION, Type="String", Overwrite=True
        )

    def upload(self, asset: Asset, layers: HostLayers, scratch: Path) -> None:
        """The asset is where the templates expect it."""
        s3 = self.client("s3", asset.region)
        _have_bucket(s3, asset.bucket, asset.region)
        if asset.packaging == "file":
            body = asset.source
        elif is_for_another_machine(asset.source):
            body = layers.zip_of(asset.source)
        else:
            body = scratch / f"{asset.source.name}.zip"
            zip_folder(asset.source, body)
        with body.open("rb") as content:
            s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=content)

    def apply(self, stack: Stack) -> str:
        """The stack is as its template says; the word says what that took."""
        cloudformation = self.client("cloudformation")
        wanted = {
            "StackName": stack.name,
            "TemplateURL": stack.template_url,
            "Parameters": stack.parameters,
            "Tags": stack.tags,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
        }
        status = _status(cloudformation, stack.name)
        if status == "ROLLBACK_COMPLETE":
            # A stack that never came to stand cannot be updated, only made anew.
            cloudformation.delete_stack(StackName=stack.name)
            _wait(cloudformation, stack.name)
            status = None
        try:
            if status is None:
                cloudformation.create_stack(**wanted)
            else:
                cloudformation.update_stack(**wanted)
        except ClientError as refused:
            if "No updates are to be performed" in str(refused):
                return "unchanged"
            raise DeploymentFailed(f"stack {stack.name} in {self.region} was refused: {refused}") from refused
        ended = _wait(cloudformation, stack.name)
        if ended not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise DeploymentFailed(_account_of_failure(cloudformation, stack, ended))
        return "created" if ended == "CREATE_COMPLETE" else "updated"


def _have_bucket(s3: Any, name: str, region: str) -> None:
    elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        s3.create_bucket(Bucket=name, **elsewhere)


def _status(cloudformation: Any, name: str) -> str | None:
    try:
        status = cloudformation.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
    except ClientError as missing:
        if "does not exist" in str(missing):
            return None
        raise
    return None if status == "DELETE_COMPLETE" else status


def _wait(cloudformation: Any, name: str) -> str | None:
    """How the operation on the stack ended; None if it ended in the stack's deletion."""
    deadline = time.monotonic() + _STACK_WALL_SECONDS
    while time.monotonic() < deadline:
        status = _status(cloudformation, name)
        if status is None or not status.endswith("IN_PROGRESS"):
            return status
        time.sleep(_LOOK_SECONDS)
    raise DeploymentFailed(f"stack {name} is still at work after {_STACK_WALL_SECONDS:.0f} s; read the server's log")


def _account_of_failure(cloudformation: Any, stack: Stack, ended: str | None) -> str:
    events = cloudformation.describe_stack_events(StackName=stack.name)["StackEvents"]
    failed = [event for event in reversed(events) if event["ResourceStatus"].endswith("FAILED")]
    lines = [
        f"  {event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason', 'no reason')}"
        for event in failed
    ]
    return "\n".join(
        [
            f"stack {stack.name} in {stack.region} ended as {ended}:",
            *(lines or ["  CloudFormation gave no failed event; read the server's log"]),
            "Correct the template or embedded/corrections, then deploy again.",
        ]
    )
