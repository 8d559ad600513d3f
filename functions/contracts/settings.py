"""The `holdfast` block of cdk.json: checked at synth and carried to the functions, which read it with this code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, ValidationError

from functions.core.coverage import EXCLUDED
from functions.core.errors import BadMessage
from functions.core.expected_files import Expected, ExpectedFile, ExpectedHeartbeat, ExpectedManifest, HeartbeatBy
from functions.core.policies import (
    AutomaticRecovery,
    DatabaseCheck,
    ExtraPoints,
    Lock,
    LockMode,
    Policy,
    Settings,
    Tiers,
    Window,
)
from functions.core.recoveries import TARGETS
from functions.core.resources import Kind

MOST_CHECKS = 40
"""All of a policy's checks share the few minutes that the function has, and ride in the workflow's state, which AWS
bounds to 256 KiB."""

LONGEST_APPROVAL = timedelta(days=1)
"""A recovery that waits longer for a person would outlive its workflow."""

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def duration(written: object) -> timedelta:
    """The span that for example `90m`, `24h` or `7d` says. Errors: ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,4})([mhd])", written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a duration; write for example 15m, 24h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def _time_of_day(written: object) -> timedelta:
    return _clock_time(written)


def _window(written: object) -> Window:
    starts, dash, ends = written.partition("-") if isinstance(written, str) else ("", "", "")
    if not dash:
        raise ValueError(f"{written!r} is not a window; write for example 08:00-18:00")
    return Window(starts=_clock_time(starts), ends=_clock_time(ends))


def _clock_time(written: object) -> timedelta:
    found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a time of day in UTC; write for example 02:30")
    return timedelta(hours=int(found[1]), minutes=int(found[2]))


Duration = Annotated[timedelta, BeforeValidator(duration)]
TimeOfDay = Annotated[timedelta, BeforeValidator(_time_of_day)]
WindowText = Annotated[Window, BeforeValidator(_window)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
PolicyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, allow_inf_nan=False)


class _Keep(_Strict):
    hourly: StrictInt = 0
    daily: StrictInt = 0
    weekly: StrictInt = 0
    monthly: StrictInt = 0
    yearly: StrictInt = 0


class _Lock(_Strict):
    mode: LockMode
    days: StrictInt


class _Extra(_Strict):
    written_gib: float
    per_day: StrictInt = 4


class _Check(_Strict):
    database: str
    statement: str
    at_least: StrictInt | None = None
    newest_within_minutes: StrictInt | None = None


class _File(_Strict):
    path: str
    sha256: str


class _Manifest(_Strict):
    manifest: str
    sha256: str


class _Heartbeat(_Strict):
    heartbeat: str
    newest_within: Duration
    by: HeartbeatBy = HeartbeatBy.CONTENT


class _Policy(_Strict):
    rpo: Duration
    keep: _Keep
    copy_to: list[Region] = []
    starts: TimeOfDay | None = None
    avoid: list[WindowText] = []
    rehearse_every: Duration = timedelta(days=7)
    release_after: Duration | None = None
    lock: _Lock | None = None
    archive_after: Duration | None = None
    extra: _Extra | None = None
    checks: Annotated[list[_Check], Field(max_length=MOST_CHECKS)] = []
    files: Annotated[list[_File | _Manifest | _Heartbeat], Field(max_length=100)] = []


class _Automatic(_Strict):
    alarm: Annotated[str, Field(min_length=1, max_length=255)]
    resource: Annotated[str, Field(pattern=r"^(volume|instance|database|cluster)/[a-z0-9-]+/[A-Za-z0-9-]+$")]
    region: Region
    approval_within: Annotated[timedelta, BeforeValidator(duration), Field(le=LONGEST_APPROVAL)] | None = None


class _Recover(_Strict):
    into: dict[Region, dict[Kind, dict[str, Any]]] = {}
    automatic: list[_Automatic] = []
    automatic_per_day: Annotated[int, Field(ge=1, le=24)] = 1


class _Document(_Strict):
    home: Region
    copies: list[Region] = []
    account: Annotated[str, Field(pattern=r"^\d{12}$")] | None = None
    notify: list[str] = []
    default_policy: PolicyName | None = None
    policies: dict[PolicyName, _Policy]
    rehearsals_per_day: Annotated[int, Field(ge=0, le=96)] = 4
    rehearse_databases: bool = True
    recover: _Recover = _Recover()
    removal: Literal["retain", "destroy"] = "retain"


class Configuration(_Document):
    """The whole block: what the functions need (`settings`) and what only the deployment needs."""

    settings: Settings


def read(document: Any) -> Configuration:
    """The configuration that a parsed `holdfast` block says.

    Errors: BadMessage that lists every problem with its path, so that one reading of the error mends them all.
    """
    try:
        written = _Document.model_validate(document)
    except ValidationError as problem:
        lines = [f"{_path(e['loc'])}: {_said(e['msg'])}" for e in problem.errors()]
        raise _refused(lines) from problem
    problems: list[str] = []
    policies: dict[str, Policy] = {}
    for name, policy in written.policies.items():
        if name == EXCLUDED:
            problems.append(f"policies.{name}: the name is taken; as a tag it excludes a resource")
            continue
        try:
            policies[name] = _policy(name, policy)
        except ValueError as problem:
            problems.append(f"policies.{name}.{problem}")
    if problems:
        raise _refused(problems)
    try:
        settings = Settings(
            home_region=written.home,
            copy_regions=tuple(dict.fromkeys(written.copies)),
            policies=policies,
            default_policy=written.default_policy,
            recover_into=_into(written.recover.into),
            automatic=tuple(AutomaticRecovery(**rule.model_dump()) for rule in written.recover.automatic),
            automatic_per_day=written.recover.automatic_per_day,
        )
    except ValueError as problem:
        raise _refused(str(problem).splitlines()) from problem
    return Configuration.model_construct(**written.__dict__, settings=settings)


def _into(written: Mapping[str, Mapping[Kind, Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, object]]]:
    """By Region and kind. Errors: ValueError for a setting that the kind does not have."""
    unknown = [
        f"recover.into.{region}.{kind}.{name}: a {kind} has no such setting; it has {', '.join(sorted(TARGETS[kind]))}"
        for region, kinds in written.items()
        for kind, settings in kinds.items()
        for name in settings
        if name not in TARGETS[kind]
    ]
    if unknown:
        raise ValueError("\n".join(unknown))
    return {region: {str(kind): dict(given) for kind, given in kinds.items()} for region, kinds in written.items()}


def _policy(name: str, written: _Policy) -> Policy:
    policy = Policy(
        name=name,
        version="",
        rpo=written.rpo,
        keep=Tiers(**written.keep.model_dump()),
        copy_to=tuple(dict.fromkeys(written.copy_to)),
        starts=written.starts,
        avoid=tuple(written.avoid),
        rehearse_every=written.rehearse_every,
        release_after=written.release_after,
        lock=Lock(mode=written.lock.mode, days=written.lock.days) if written.lock else None,
        archive_after=written.archive_after,
        extra=ExtraPoints(**written.extra.model_dump()) if written.extra else None,
        checks=tuple(_check(position, check) for position, check in enumerate(written.checks)),
        files=tuple(_expected(position, file) for position, file in enumerate(written.files)),
    )
    return replace(policy, version=_version(policy))


def _check(position: int, written: _Check) -> DatabaseCheck:
    """The check; what is wrong with it is said with its place among the others."""
    try:
        return DatabaseCheck(**written.model_dump())
    except ValueError as problem:
        raise ValueError(f"checks.{position}{str(problem).removeprefix('checks')}") from problem


def _expected(position: int, written: _File | _Manifest | _Heartbeat) -> Expected:
    try:
        match written:
            case _File():
                return ExpectedFile(path=written.path, sha256=written.sha256)
            case _Manifest():
                return ExpectedManifest(path=written.manifest, sha256=written.sha256)
            case _Heartbeat():
                return ExpectedHeartbeat(path=written.heartbeat, newest_within=written.newest_within, by=written.by)
    except ValueError as problem:
        raise ValueError(f"files.{position}: {problem}") from problem


def _version(policy: Policy) -> str:
    """A word for what the policy promises: the same however it is written, another when the promise is another.

    What rehearsals check is no part of what a point was taken under.
    """
    promise = {f.name: getattr(policy, f.name) for f in fields(policy) if f.name not in NO_PROMISE}
    return hashlib.sha256(repr(sorted(promise.items())).encode()).hexdigest()[:8]


NO_PROMISE = frozenset({"name", "version", "checks", "rehearse_every", "release_after", "files"})


def _refused(lines: list[str]) -> BadMessage:
    return BadMessage(
        "the holdfast block of cdk.json does not say what to do:\n" + "\n".join(f"  {line}" for line in lines),
        hint="Mend the lines above; README.md shows a complete block.",
    )


def _path(steps: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in steps) or "holdfast"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
