"""Calls that CloudTrail logged and EventBridge passed on: hints where to look sooner, never the truth.

They come only where the account has a trail that logs management events, and within a few minutes mostly.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from functions.core.errors import BadMessage
from functions.core.exposures import Family
from functions.core.plain_text import one_line

DETAIL_TYPE = "AWS API Call via CloudTrail"

SHARING = {
    "ModifySnapshotAttribute": (Family.EBS, "snapshotId"),
    "ModifyDBSnapshotAttribute": (Family.DATABASE, "dBSnapshotIdentifier"),
    "ModifyDBClusterSnapshotAttribute": (Family.CLUSTER, "dBClusterSnapshotIdentifier"),
}
"""Calls that share a snapshot, and where CloudTrail writes which one."""

KEY_CHANGES = ("DeleteImportedKeyMaterial", "DisableKey", "ScheduleKeyDeletion")
"""Calls after which a key cannot be used."""

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,254}")


class _Detail(BaseModel):
    model_config = ConfigDict(extra="ignore")
    event_name: str = Field(alias="eventName")
    request_parameters: dict[str, Any] | None = Field(default=None, alias="requestParameters")


class LoggedCall(BaseModel):
    """One call of the AWS API, as EventBridge delivers what CloudTrail logged."""

    model_config = ConfigDict(extra="ignore")
    detail_type: Literal["AWS API Call via CloudTrail"] = Field(alias="detail-type")
    account: str
    region: str
    detail: _Detail

    @property
    def shared(self) -> tuple[Family, str] | None:
        """The snapshot whose sharing changed; None for any other call, and where no snapshot is named."""
        family, parameter = SHARING.get(self.detail.event_name, (None, ""))
        named = (self.detail.request_parameters or {}).get(parameter)
        if family is None or not isinstance(named, str) or not IDENTIFIER.fullmatch(named):
            return None
        return family, named


def read(event: Mapping[str, Any]) -> LoggedCall | None:
    """The call that the event tells of; None when it is the clock's.

    Errors: BadMessage when it says that it tells of a call, and does not.
    """
    if event.get("detail-type") != DETAIL_TYPE:
        return None
    try:
        return LoggedCall.model_validate(event)
    except ValidationError as problem:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in problem.errors())
        raise BadMessage(
            f"not a logged call: {one_line(said, longest=600)}",
            hint="Compare it with call_*.json in events/; the rule that sent it may match too much.",
        ) from problem
