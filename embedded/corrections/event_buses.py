"""EventBridge: an event bus of another Region is a target like any other, and the event keeps the Region it is from.

ministack drops an event that is sent to a bus in another Region.
"""

from __future__ import annotations

import logging
from typing import Any

from ministack.core.responses import get_region, request_scope
from ministack.services import eventbridge

from embedded.corrections.expected import expect, original

_log = logging.getLogger(__name__)


def install() -> None:
    within_region = original(
        eventbridge, "_dispatch_to_event_bus", "spec.region != get_region()", "_dispatch_event(forwarded)"
    )
    expect(hasattr(eventbridge, "_event_buses"), "eventbridge._event_buses to exist")

    def dispatch(spec: Any, event: dict[str, Any], rule: dict[str, Any], path: list[Any], payload: Any = None) -> None:
        if spec.region == get_region():
            within_region(spec, event, rule, path, payload)
            return
        bus = spec.resource.partition("/")[2]
        with request_scope(spec.account_id, spec.region):
            if bus not in eventbridge._event_buses:
                _log.warning("there is no event bus %s; the event of %s is lost", spec, event.get("Region"))
                return
            forwarded = {**event, "EventBusName": bus, "_DispatchPath": [*path, rule.get("Name")]}
            if payload is not None:
                forwarded["Detail"] = payload
            eventbridge._dispatch_event(forwarded)

    eventbridge._dispatch_to_event_bus = dispatch
