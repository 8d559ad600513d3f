"""What a person writes into the input of a recovery's execution."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
)

from functions.contracts.settings import LONGEST_APPROVAL, duration
from functions.core import instants
from functions.core.errors import BadMessage
from functions.core.plain_text import one_line
from functions.core.recoveries import TARGETS, Ending, RecoveryRequest, identity
from functions.core.recovery_sets import MOST_MEMBERS, Member, RecoverySet, WhenOneFails
from functions.core.resources import ResourceKey
from functions.core.slots import Slot

EXAMPLE = '{"resource": "database/eu-central-1/orders", "point": "latest good"}'


SET_EXAMPLE = (
    '{"groups": [[{"resource": "database/eu-central-1/orders"}], '
    '[{"resource": "volume/eu-central-1/vol-0123456789abcdef0"}]], "dry_run": true}'
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


Asker = Annotated[str, Field(max_length=200), AfterValidator(one_line)]
"""Who asked, as people will read it in a notice."""


class _Before(_Strict):
    before: AwareDatetime


class _Slot(_Strict):
    slot: AwareDatetime


class _Request(_Strict):
    resource: str
    point: Literal["latest good"] | _Before | _Slot = "latest good"
    region: str | None = None
    name: Annotated[str, Field(pattern=r"^[a-z](-?[a-z0-9])*$", max_length=63)] | None = None
    target: dict[str, Any] = {}
    then: Ending = Ending.HAND_OVER
    dry_run: StrictBool = False
    point_in_time: StrictBool = True
    verified_only: StrictBool = False
    approval_within: Annotated[timedelta, BeforeValidator(duration), Field(le=LONGEST_APPROVAL)] | None = None
    part_of: Annotated[str, Field(max_length=80)] | None = None
    asked_by: Asker = "a person"


def read(given: object, *, account: str, region: str) -> RecoveryRequest:
    """The request that the input of an execution in `region` says.

    Errors: BadMessage that lists every problem with its path.
    """
    try:
        written = _Request.model_validate(given)
        resource = ResourceKey.parse(written.resource, account=account)
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'input'}: {e['msg']}" for e in problem.errors()]
        raise _refused(lines) from problem
    except ValueError as problem:
        raise _refused([f"resource: {problem}"]) from problem
    unknown = sorted(set(written.target) - TARGETS[resource.kind])
    if unknown:
        known = ", ".join(sorted(TARGETS[resource.kind]))
        raise _refused([f"target.{name}: a {resource.kind} has no such setting; it has {known}" for name in unknown])
    if written.region not in (None, region):
        raise _refused([f"region: this execution runs in {region}; start it in {written.region} instead"])
    return RecoveryRequest(
        resource=resource,
        region=region,
        before=written.point.before if isinstance(written.point, _Before) else None,
        slot_at=written.point.slot if isinstance(written.point, _Slot) else None,
        name=written.name,
        overrides=written.target,
        ending=written.then,
        is_dry_run=written.dry_run,
        may_use_point_in_time=written.point_in_time,
        must_be_verified=written.verified_only,
        approval_seconds=int(within.total_seconds()) if (within := written.approval_within) else None,
        asked_by=written.asked_by,
    )


class _Set(_Strict):
    groups: Annotated[list[Annotated[list[dict[str, Any]], Field(min_length=1)]], Field(min_length=1)]
    when_one_fails: WhenOneFails = WhenOneFails.STOP
    dry_run: StrictBool = False
    asked_by: Asker = "a person"


def read_set(given: object, *, execution: str, account: str, region: str) -> RecoverySet:
    """The set that the input of an execution in `region` says: groups of requests, in the order of the groups.

    Errors: BadMessage that lists every problem of every member.
    """
    try:
        written = _Set.model_validate(given)
    except ValidationError as problem:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'input'}: {e['msg']}" for e in problem.errors()]
        raise _refused_set(lines) from problem
    set_id = identity(execution, "set")
    members: list[Member] = []
    problems: list[str] = []
    for number, group in enumerate(written.groups, start=1):
        for position, one in enumerate(group):
            asked = {"asked_by": written.asked_by, "dry_run": written.dry_run} | one | {"part_of": set_id}
            try:
                request = read(asked, account=account, region=region)
            except BadMessage as problem:
                problems.append(f"groups.{number}.{position}: {problem.what}")
                continue
            if written.dry_run and not request.is_dry_run:
                problems.append(f"groups.{number}.{position}: not a dry run in a set that is one")
            members.append(Member(resource=str(request.resource), group=number, given=asked))
    twice = sorted({m.resource for m in members if sum(o.resource == m.resource for o in members) > 1})
    problems += [f"{resource} is in the set more than once" for resource in twice]
    if len(members) > MOST_MEMBERS:
        problems.append(f"{len(members)} members; one set has at most {MOST_MEMBERS}: split it")
    if problems:
        raise _refused_set(problems)
    return RecoverySet(
        id=set_id, members=tuple(members), when_one_fails=written.when_one_fails, is_dry_run=written.dry_run
    )


def _refused_set(lines: list[str]) -> BadMessage:
    return BadMessage(
        "the input does not say which set to recover:\n" + "\n".join(f"  {one_line(line)}" for line in lines),
        hint=f"Start the execution with for example {SET_EXAMPLE}",
    )


def snapshot_named(given: object) -> str | None:
    """The snapshot that the input names in place of a resource; None when it names none."""
    named = _members(given).get("snapshot")
    return None if named is None else str(named)


def of_slot(given: object, slot: Slot) -> dict[str, Any]:
    """The same input with the resource and the point that a snapshot belongs to in place of the snapshot.

    Errors: BadMessage when the input names one of them as well, because then it asks for two things.
    """
    rest = {name: value for name, value in _members(given).items() if name != "snapshot"}
    twice = [f"{name}: a snapshot is named; leave one of them out" for name in ("resource", "point") if name in rest]
    if twice:
        raise _refused(twice)
    return {"resource": str(slot.resource), "point": {"slot": instants.text(slot.at)}, **rest}


def _members(given: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], given) if isinstance(given, Mapping) else {}


def _refused(lines: list[str]) -> BadMessage:
    return BadMessage(
        "the input does not say what to recover:\n" + "\n".join(f"  {one_line(line)}" for line in lines),
        hint=f"Start the execution with for example {EXAMPLE}",
    )
