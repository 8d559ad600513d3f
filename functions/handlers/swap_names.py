"""Swap names: the restored database takes the original's name, or gives it back; one renaming for each call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.aws.recoveries.swaps_rds import Swap, SwapPlan
from functions.contracts import wire
from functions.core.errors import BadMessage, NoRecoveryPoint
from functions.core.recoveries import ID
from functions.core.resources import Kind, ResourceKey
from functions.handlers import frame
from functions.handlers.tools import Tools

EXAMPLE = '{"resource": "database/eu-central-1/orders", "recovery": "0a1b2c3d4e5f", "back": false}'


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesSwapped:
    """How far the swap is; asked again until it is done."""

    resource: str
    recovery: str
    is_back: bool
    state: str
    detail: str


def swap_names(event: dict[str, Any], tools: Tools, now: datetime) -> NamesSwapped:
    """The next renaming of the swap is asked for, if RDS is ready for it.

    The original keeps its data and stands aside under another name; with `back` true everything is as it was before.

    Errors: BadMessage when the input is no swap; NoRecoveryPoint when no such recovery was handed over here; Unsafe
    when what would be renamed was not made by that recovery.
    """
    resource, recovery_id, is_back = _asked(wire.given(event), tools)
    restored = next(
        (
            recovery.restored[0].id
            for recovery in tools.ledger.stories.recoveries(resource)
            if recovery.id == recovery_id
            and recovery.restored
            and not recovery.is_removed
            and recovery.request.region == tools.region
        ),
        None,
    )
    if restored is None:
        raise NoRecoveryPoint(
            f"no recovery {recovery_id} of {resource} was handed over in {tools.region}",
            hint="Take the identifier and the Region from the notice of the recovery.",
        )
    seen = Swap(tools.region, tools.clients).step(
        SwapPlan(
            kind=resource.kind,
            region=tools.region,
            recovery_id=recovery_id,
            original_id=resource.id,
            restored_id=restored,
            is_back=is_back,
        )
    )
    return NamesSwapped(
        resource=str(resource), recovery=recovery_id, is_back=is_back, state=str(seen.state), detail=seen.detail
    )


def _asked(given: Mapping[str, Any], tools: Tools) -> tuple[ResourceKey, str, bool]:
    recovery_id, is_back = given.get("recovery"), given.get("back", False)
    try:
        resource = ResourceKey.parse(str(given.get("resource")), account=tools.account)
        if not isinstance(recovery_id, str) or not ID.fullmatch(recovery_id) or not isinstance(is_back, bool):
            raise ValueError("recovery is 12 hexadecimal digits, and back is true or false")
        if resource.kind not in (Kind.DATABASE, Kind.CLUSTER):
            raise ValueError(f"a {resource.kind} has no name to swap; attach the restored volumes yourself")
    except ValueError as problem:
        raise BadMessage(f"not a swap of names: {problem}", hint=f"Start the execution with {EXAMPLE}") from problem
    return resource, recovery_id, is_back


handler = frame.event(swap_names)
