"""The notices AWS sends about itself, through ministack's EventBridge."""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import eventbridge

from embedded import ACCOUNT


def send(region: str, source: str, detail_type: str, detail: dict[str, Any], resources: list[str]) -> None:
    """The notice is on the Region's default bus, unless a fault loses or doubles it on its way to the rules."""
    entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": resources}
    with request_scope(ACCOUNT, region):
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
