"""IAM as ministack enforces it, with AWS's questions for EC2, EBS, RDS and SSM and for a clock that jumps.

* Calls to EC2, EBS, RDS and SSM are asked about as `authorization` says; ministack asks nothing about EBS.
* The tags of EC2 and RDS resources are read from moto, where they live, for `aws:ResourceTag` conditions.
* Each event that is put is asked about with its own bus and `events:source`, a quota by its service and code.
* An answer to a task token is asked about for the state machine that waits under it.
* A batch operation of SQS is allowed by the action it batches.
* A key that is named by its alias is asked about as that key.
* `${*}` in a policy is a literal asterisk, `cloudwatch:namespace` is known, and loopback counts as secure transport.
* A signature is not refused for its age: callers outside live on the wall's clock, the server does not.

Not asked, and so unproved here: key policies and `kms:` permissions behind EC2 and RDS calls, and anything that a
state machine calls by SDK integration.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

from ministack.core import iam_actions, iam_evaluator, sigv4
from ministack.services import tagging
from moto.core.exceptions import ServiceException
from moto.ec2.models import ec2_backends
from moto.rds.models import rds_backends

from embedded import ACCOUNT
from embedded.corrections import step_functions
from embedded.corrections.authorization import Question, questions, ssm_questions
from embedded.corrections.expected import expect, original
from embedded.volumes.kms import key_arn

# What is still to be asked about the request at hand, once its first resource has been found.
_still_to_ask: ContextVar[Sequence[Question]] = ContextVar("still_to_ask", default=())


def install() -> None:
    _read_tags_from_moto()
    _ask_about_every_resource()
    _understand_literal_asterisks()
    _count_loopback_as_secure()
    _accept_signatures_of_any_age()


def _ask_about_every_resource() -> None:
    expect("ebs" not in iam_actions.SERVICE_TO_IAM_NAMESPACE, "EBS to be without an IAM namespace")
    iam_actions.SERVICE_TO_IAM_NAMESPACE["ebs"] = "ebs"
    iam_actions._BOTOCORE_SERVICE_MAP["ebs"] = ["ebs"]
    extract_action = iam_actions.extract_iam_action
    extract_arn = original(iam_actions, "extract_resource_arn", 'if service == "ec2":', 'if service == "rds":')
    enforce = original(iam_evaluator, "enforce", "authenticate(access_key_id or", "service_context")

    def extract_resource_arn(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        parameters: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        _still_to_ask.set(())
        if service in ("ec2", "ebs", "rds"):
            action = extract_action(service, method, path, headers, body, parameters) or ""
            asked = questions(service, action, region, path, _plain(parameters))
        elif extract_action(service, method, path, headers, body, parameters) == "cloudwatch:PutMetricData":
            asked = [Question("cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": _namespace(body, parameters)})]
        elif service == "ssm":
            operation = (extract_action(service, method, path, headers, body, parameters) or "").partition(":")[2]
            asked = ssm_questions(operation, region, json.loads(body or b"{}"))
        elif extract_action(service, method, path, headers, body, parameters) == "events:PutEvents":
            asked = list(_entries(region, body))
        elif service == "servicequotas":
            asked = [_quota(extract_action(service, method, path, headers, body, parameters) or "", region, body)]
        elif service == "kms":
            asked = _key(extract_action(service, method, path, headers, body, parameters) or "", region, body)
        elif service == "states":
            asked = _answers(extract_action(service, method, path, headers, body, parameters) or "", body)
        else:
            asked = []
        if asked:
            _still_to_ask.set(asked)
            return asked[0].arn
        return extract_arn(service, method, path, headers, body, parameters, region, account)

    def enforce_all(
        access_key: str,
        action: str,
        service: str,
        region: str,
        resource_arn: str = "*",
        service_context: Mapping[str, Any] | None = None,
    ) -> Any:
        asked = _still_to_ask.get()
        _still_to_ask.set(())
        if service == "sqs":
            # IAM has no actions for the batches: SendMessageBatch is allowed by sqs:SendMessage.
            action = action.removesuffix("Batch")
        if not asked or asked[0].arn != resource_arn:
            return enforce(access_key, action, service, region, resource_arn, dict(service_context or {}))
        for question in asked:
            keys = {**(service_context or {}), **question.keys}
            denied = enforce(access_key, question.action, service, region, question.arn, keys)
            if denied:
                return denied
        return None

    iam_actions.extract_resource_arn = extract_resource_arn
    iam_evaluator.enforce = enforce_all


def _plain(parameters: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value[0] if isinstance(value, list) else value) for name, value in parameters.items() if value}


def _answers(action: str, body: bytes) -> list[Question]:
    """An answer to a task is asked about for the state machine that waits for it; it names only the token."""
    if not action.startswith("states:SendTask"):
        return []
    machine = step_functions.machine_waiting_under(str(json.loads(body).get("taskToken")))
    return [Question(action, machine)] if machine else []


def _key(action: str, region: str, body: bytes) -> list[Question]:
    """An operation on a key that is named by its alias is asked about with the key's ARN; one on the alias is not."""
    named = str(json.loads(body or b"{}").get("KeyId", ""))
    arn = key_arn(named, region) if named.startswith("alias/") and not action.endswith("Alias") else named
    return [Question(action, arn)] if arn != named else []


def _entries(region: str, body: bytes) -> Iterator[Question]:
    """Each event is asked about for its own bus and source."""
    for entry in json.loads(body or b"{}").get("Entries", []):
        bus = entry.get("EventBusName") or "default"
        arn = bus if bus.startswith("arn:") else f"arn:aws:events:{region}:{ACCOUNT}:event-bus/{bus}"
        yield Question("events:PutEvents", arn, {"events:source": entry.get("Source", "")})


def _quota(action: str, region: str, body: bytes) -> Question:
    """A quota is asked about by the service that has it, and its code."""
    wanted = json.loads(body or b"{}")
    name = f"{wanted.get('ServiceCode', '*')}/{wanted.get('QuotaCode', '*')}"
    return Question(action, f"arn:aws:servicequotas:{region}:{ACCOUNT}:{name}")


def _namespace(body: bytes, parameters: Mapping[str, Any]) -> str:
    """What PutMetricData writes to, in either of the protocols that our SDKs speak."""
    if body[:1] == b"{":
        return str(json.loads(body).get("Namespace", ""))
    return _plain(parameters).get("Namespace", "")


def _count_loopback_as_secure() -> None:
    """`aws:SecureTransport` is true: nothing leaves this machine, and every policy denies plain HTTP."""
    expect("_request_origin.get()[1]" in inspect.getsource(iam_evaluator.EvalContext), "EvalContext.secure_transport")
    origin = iam_evaluator._request_origin
    secure: Any = SimpleNamespace(set=origin.set, get=lambda: (origin.get()[0], True))
    iam_evaluator._request_origin = secure


def _read_tags_from_moto() -> None:
    original(iam_evaluator, "enforce", "from ministack.services.tagging import resource_tags")
    resource_tags = original(tagging, "resource_tags", "_RESOURCE_TAG_COLLECTORS")

    def tags_of(arn: str) -> dict[str, str] | None:
        _, _, service, region, _, resource = [*arn.split(":", 5), *[""] * 6][:6]
        if service == "ec2" and region:
            return dict(ec2_backends[ACCOUNT][region].tags.get(resource.rpartition("/")[2], {}))
        if service == "rds" and region:
            try:
                found = rds_backends[ACCOUNT][region].list_tags_for_resource(arn)
            except ServiceException:
                return None  # nothing of that name yet: it is about to be made
            return {tag["Key"]: tag["Value"] for tag in found}
        return resource_tags(arn)

    tagging.resource_tags = tags_of


def _understand_literal_asterisks() -> None:
    original(iam_evaluator, "_fnmatch_compile", 'if ch == "*":')

    def compile_pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        pieces = re.split(r"(\$\{[*?$]\}|\*|\?)", pattern)
        wild = {"*": ".*", "?": "."}
        regex = "".join(wild.get(piece) or re.escape(piece[2] if piece.startswith("${") else piece) for piece in pieces)
        return re.compile(f"^{regex}$", re.IGNORECASE if ignore_case else 0)

    iam_evaluator._fnmatch_compile = compile_pattern


def _accept_signatures_of_any_age() -> None:
    original(iam_evaluator, "authenticate", "skewed = request_time_failure(signature)")
    original(sigv4, "request_time_failure", "Signature expired")
    sigv4.request_time_failure = lambda *_, **__: None
