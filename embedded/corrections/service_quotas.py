"""Service Quotas: the quotas on EBS storage of an account, as AWS publishes them; ministack has no such service."""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions, router
from ministack.core.responses import error_response_json, json_response

from embedded.corrections.expected import expect

_STORAGE_TIB = {
    "L-D18FCD1D": ("gp2", 50.0),
    "L-7A658B76": ("gp3", 50.0),
    "L-FD252861": ("io1", 50.0),
    "L-09BD8365": ("io2", 20.0),
    "L-17AF77E8": ("sc1", 50.0),
    "L-82ACEF56": ("st1", 50.0),
    "L-9CF3C2EB": ("standard", 50.0),
}
"""By quota code: the volume type, and how much storage of it a Region of an account may have."""


def install() -> None:
    """`servicequotas:GetServiceQuota` is answered for EBS, and asks for permission."""
    from ministack import app

    handlers: dict[str, Any] = app.SERVICE_HANDLERS
    expect("servicequotas" not in handlers, "Service Quotas to be missing")
    router.SERVICE_PATTERNS["servicequotas"] = {"target_prefixes": ["ServiceQuotasV20190624"]}
    handlers["servicequotas"] = _handle
    iam_actions.SERVICE_TO_IAM_NAMESPACE["servicequotas"] = "servicequotas"
    iam_actions._BOTOCORE_SERVICE_MAP["servicequotas"] = ["service-quotas"]


async def _handle(*request: Any) -> Any:
    _method, _path, headers, body, _query = request
    action = headers.get("x-amz-target", "").rpartition(".")[2]
    if action != "GetServiceQuota":
        return error_response_json("InvalidAction", f"The embedded Service Quotas does not answer {action}", 400)
    wanted = json.loads(body)
    service, code = wanted.get("ServiceCode"), wanted.get("QuotaCode")
    if service != "ebs" or code not in _STORAGE_TIB:
        return error_response_json("NoSuchResourceException", f"There is no quota {code} of {service}", 400)
    volume_type, tebibytes = _STORAGE_TIB[code]
    name = f"Storage for {volume_type} volumes, in TiB"
    return json_response({"Quota": {"ServiceCode": "ebs", "QuotaCode": code, "QuotaName": name, "Value": tebibytes}})
