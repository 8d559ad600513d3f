"""The SSM requests about managed instances and commands; parameters and everything else are ministack's."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ministack.core.responses import get_region

from embedded import clock
from embedded.instances.commands import Command, Commands, Invocation, Request
from embedded.instances.instances import Instances, Managed
from embedded.moto_service import Handler, Headers, Response

_DOCUMENT = "AWS-RunShellScript"
_PLUGIN = "aws:runShellScript"
_PARAMETERS = {"commands", "executionTimeout", "workingDirectory"}
_DEFAULT_SECONDS = 3600
_DELIVERY_SECONDS = range(30, 2_592_001)
_EXECUTION_SECONDS = range(5, 172_801)
_MOST_INSTANCES = 50
_MOST_PER_PAGE = 50
_AGENT_VERSION = "3.3.2299.0"


class _Refused(Exception):
    """An error of SSM, by its code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class SsmApi:
    """SSM, with `otherwise` for what is not answered here."""

    commands: Commands
    instances: Instances
    otherwise: Handler

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: dict[str, Any]) -> Response:
        """The answer to one request."""
        answer = self._answers().get(headers.get("x-amz-target", "").rpartition(".")[2])
        if answer is None:
            return await self.otherwise(method, path, headers, body, query)
        return await asyncio.to_thread(_respond, answer, body)

    def _answers(self) -> dict[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        return {
            "CancelCommand": self._cancel_command,
            "DescribeInstanceInformation": self._describe_instance_information,
            "GetCommandInvocation": self._get_command_invocation,
            "ListCommandInvocations": self._list_command_invocations,
            "ListCommands": self._list_commands,
            "SendCommand": self._send_command,
        }

    # -- instances

    def _describe_instance_information(self, wanted: dict[str, Any]) -> dict[str, Any]:
        filters = [(one["Key"], one["Values"]) for one in wanted.get("Filters") or []]
        filters += [(one["key"], one["valueSet"]) for one in wanted.get("InstanceInformationFilterList") or []]
        found = [one for one in self.instances.managed(get_region()) if _passes(one, filters)]
        return _page("InstanceInformationList", [_information(one) for one in found], wanted)

    # -- commands

    def _send_command(self, wanted: dict[str, Any]) -> dict[str, Any]:
        request = _request(wanted, get_region())
        known = {one.instance.id for one in self.instances.managed(request.region)}
        unknown = [instance_id for instance_id in request.instance_ids if instance_id not in known]
        if unknown:
            raise _Refused("InvalidInstanceId", f"Instances [[{', '.join(unknown)}]] not in a valid state for account")
        return {"Command": _command(self.commands.send(request))}

    def _get_command_invocation(self, wanted: dict[str, Any]) -> dict[str, Any]:
        plugin = wanted.get("PluginName")
        found = self.commands.find(get_region(), wanted["CommandId"], wanted["InstanceId"])
        if not found:
            raise _Refused("InvocationDoesNotExist", "")
        if plugin not in (None, _PLUGIN):
            raise _Refused("InvalidPluginName", f"The command has no step {plugin!r}; its only one is {_PLUGIN}.")
        return _invocation_in_detail(found[0])

    def _cancel_command(self, wanted: dict[str, Any]) -> dict[str, Any]:
        command = self.commands.command(get_region(), wanted["CommandId"])
        if command is None:
            raise _Refused("InvalidCommandId", f"There is no command {wanted['CommandId']}.")
        self.commands.cancel(command, wanted.get("InstanceIds") or [])
        return {}

    def _list_commands(self, wanted: dict[str, Any]) -> dict[str, Any]:
        command_id, instance_id = wanted.get("CommandId"), wanted.get("InstanceId")
        found = [
            _command(command)
            for command in self.commands.all(get_region())
            if command_id in (None, command.id) and (instance_id is None or instance_id in command.invocations)
        ]
        return _page("Commands", found, wanted)

    def _list_command_invocations(self, wanted: dict[str, Any]) -> dict[str, Any]:
        found = self.commands.find(get_region(), wanted.get("CommandId"), wanted.get("InstanceId"))
        with_details = bool(wanted.get("Details"))
        return _page("CommandInvocations", [_invocation(one, with_details) for one in found], wanted)


def _respond(answer: Callable[[dict[str, Any]], dict[str, Any]], body: bytes) -> Response:
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    try:
        return 200, headers, json.dumps(answer(json.loads(body or b"{}"))).encode()
    except _Refused as refused:
        said = {"__type": refused.code, "message": str(refused)}
    except KeyError as missing:
        said = {"__type": "ValidationException", "message": f"The request must contain the parameter {missing}"}
    return 400, headers, json.dumps(said).encode()


# ---------------------------------------------------------------------------- what was asked for


def _request(wanted: dict[str, Any], region: str) -> Request:
    document = str(wanted["DocumentName"]).rpartition("/")[2]
    if document != _DOCUMENT:
        raise _Refused("InvalidDocument", f"The document {document} does not exist here; {_DOCUMENT} does.")
    parameters = wanted.get("Parameters") or {}
    unknown = set(parameters) - _PARAMETERS
    if unknown or not parameters.get("commands"):
        raise _Refused(
            "InvalidParameters",
            f"{_DOCUMENT} takes {', '.join(sorted(_PARAMETERS))}, and needs commands; it was given "
            f"{', '.join(sorted(parameters)) or 'nothing'}.",
        )
    delivery_seconds = int(wanted.get("TimeoutSeconds") or _DEFAULT_SECONDS)
    if delivery_seconds not in _DELIVERY_SECONDS:
        raise _Refused("ValidationException", f"TimeoutSeconds is 30 to 2592000, not {delivery_seconds}.")
    return Request(
        region=region,
        instance_ids=_instance_ids(wanted),
        document=document,
        comment=wanted.get("Comment") or "",
        parameters=parameters,
        script="\n".join(parameters["commands"]) + "\n",
        directory=_only(parameters, "workingDirectory") or "/usr/bin",
        execution_timeout_seconds=_execution_timeout_seconds(parameters),
        timeout_seconds=delivery_seconds,
    )


def _instance_ids(wanted: dict[str, Any]) -> list[str]:
    ids = list(wanted.get("InstanceIds") or [])
    for target in wanted.get("Targets") or []:
        if target["Key"].lower() != "instanceids":
            raise _Refused("InvalidTarget", f"Targets are chosen by InstanceIds here, not by {target['Key']}.")
        ids += target["Values"]
    if not 1 <= len(ids) <= _MOST_INSTANCES:
        raise _Refused("ValidationException", f"A command goes to 1 to {_MOST_INSTANCES} instances, not {len(ids)}.")
    if len(set(ids)) < len(ids):
        raise _Refused("DuplicateInstanceId", "You can't specify an instance ID in more than one entry.")
    return ids


def _execution_timeout_seconds(parameters: Mapping[str, Sequence[str]]) -> int:
    said = _only(parameters, "executionTimeout") or str(_DEFAULT_SECONDS)
    if not re.fullmatch(r"[1-9]\d{0,5}", said) or int(said) >= _EXECUTION_SECONDS.stop:
        raise _Refused("InvalidParameters", f"executionTimeout is 1 to 172800 seconds, not {said!r}.")
    # The agent takes less than 5 seconds for a mistake and uses its default.
    return int(said) if int(said) in _EXECUTION_SECONDS else _DEFAULT_SECONDS


def _only(parameters: Mapping[str, Sequence[str]], name: str) -> str | None:
    said = parameters.get(name) or [""]
    return said[0] or None


# ---------------------------------------------------------------------------- how it is shown


def _passes(managed: Managed, filters: list[tuple[str, list[str]]]) -> bool:
    return all(_value(managed, key) in values for key, values in filters)


def _value(managed: Managed, key: str) -> str | None:
    if key.startswith("tag:"):
        tags = {tag["key"]: tag["value"] for tag in managed.instance.get_tags()}
        return tags.get(key.removeprefix("tag:"))
    information = {
        "InstanceIds": managed.instance.id,
        "PingStatus": managed.ping_status,
        "PlatformTypes": "Linux",
        "AgentVersion": _AGENT_VERSION,
        "ResourceType": "EC2Instance",
    }
    if key not in information:
        raise _Refused("InvalidFilterKey", f"{key!r} is none of {', '.join(information)}, tag:<key>.")
    return information[key]


def _information(managed: Managed) -> dict[str, Any]:
    instance = managed.instance
    return {
        "InstanceId": instance.id,
        "PingStatus": managed.ping_status,
        "LastPingDateTime": clock.now() if managed.ping_status == "Online" else managed.registered_at,
        "AgentVersion": _AGENT_VERSION,
        "IsLatestVersion": True,
        "PlatformType": "Linux",
        "PlatformName": "Amazon Linux",
        "PlatformVersion": "2023",
        "ResourceType": "EC2Instance",
        "IPAddress": instance.private_ip,
        "ComputerName": instance.private_dns_name,
        "SourceId": instance.id,
        "SourceType": "AWS::EC2::Instance",
    }


def _command(command: Command) -> dict[str, Any]:
    request, invocations = command.request, list(command.invocations.values())
    ended = [one for one in invocations if one.has_ended]
    status, details = _status_of_all(invocations)
    return {
        "CommandId": command.id,
        "DocumentName": request.document,
        "DocumentVersion": "$DEFAULT",
        "Comment": request.comment,
        "ExpiresAfter": command.expires_at,
        "Parameters": dict(request.parameters),
        "InstanceIds": list(request.instance_ids),
        "Targets": [],
        "RequestedDateTime": command.sent_at,
        "Status": status,
        "StatusDetails": details,
        "MaxConcurrency": "50",
        "MaxErrors": "0",
        "TargetCount": len(invocations),
        "CompletedCount": len(ended),
        "ErrorCount": sum(one.status in ("Failed", "TimedOut") for one in ended),
        "DeliveryTimedOutCount": sum(one.details == "DeliveryTimedOut" for one in ended),
        "TimeoutSeconds": request.timeout_seconds,
    }


def _status_of_all(invocations: list[Invocation]) -> tuple[str, str]:
    """The command's own status: that of the invocations if they agree, else the one that says most."""
    shown = [(one.status, one.details) for one in invocations]
    if all(status in ("Pending", "Delayed") for status, _ in shown):
        return "Pending", "Pending"
    for wanted in ("Cancelling", "InProgress", "Delayed", "Pending", "Failed", "TimedOut", "Cancelled"):
        for status, details in shown:
            if status == wanted:
                is_open = status in ("Delayed", "Pending")
                return ("InProgress", "InProgress") if is_open else (status, details)
    return "Success", "Success"


def _invocation_in_detail(one: Invocation) -> dict[str, Any]:
    request = one.command.request
    return {
        "CommandId": one.command.id,
        "InstanceId": one.instance_id,
        "Comment": request.comment,
        "DocumentName": request.document,
        "DocumentVersion": "$DEFAULT",
        "PluginName": _PLUGIN,
        "ResponseCode": one.response_code,
        "ExecutionStartDateTime": _written(one.began_at),
        "ExecutionElapsedTime": _elapsed(one),
        "ExecutionEndDateTime": _written(one.ended_at) if one.began_at is not None else "",
        "Status": one.status,
        "StatusDetails": one.details,
        "StandardOutputContent": one.stdout,
        "StandardOutputUrl": "",
        "StandardErrorContent": one.stderr,
        "StandardErrorUrl": "",
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": False},
    }


def _invocation(one: Invocation, with_details: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "CommandId": one.command.id,
        "InstanceId": one.instance_id,
        "InstanceName": "",
        "Comment": one.command.request.comment,
        "DocumentName": one.command.request.document,
        "DocumentVersion": "$DEFAULT",
        "RequestedDateTime": one.command.sent_at,
        "Status": one.status,
        "StatusDetails": one.details,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": [],
    }
    if with_details and one.began_at is not None:
        step = {
            "Name": _PLUGIN,
            "Status": one.status,
            "StatusDetails": one.details,
            "ResponseCode": one.response_code,
            "ResponseStartDateTime": one.began_at,
            "Output": one.stdout,
        }
        if one.ended_at is not None:
            step["ResponseFinishDateTime"] = one.ended_at
        shown["CommandPlugins"] = [step]
    return shown


def _page(member: str, found: list[dict[str, Any]], wanted: dict[str, Any]) -> dict[str, Any]:
    """One page; a token is the number of what comes next."""
    said = wanted.get("NextToken") or "0"
    if not said.isdecimal():
        raise _Refused("InvalidNextToken", "The specified token isn't valid; take it from the page before.")
    begin, size = int(said), int(wanted.get("MaxResults") or _MOST_PER_PAGE)
    page: dict[str, Any] = {member: found[begin : begin + size]}
    return page if begin + size >= len(found) else page | {"NextToken": str(begin + size)}


def _written(moment: float | None) -> str:
    if moment is None:
        return ""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _elapsed(one: Invocation) -> str:
    if one.began_at is None:
        return ""
    return f"PT{max(0.0, (one.ended_at or clock.now()) - one.began_at):.3f}S"
