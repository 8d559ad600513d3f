"""The `holdfast` block of cdk.json: checked at synth and carried to the functions, which read it with this code."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, ValidationError

from functions.core.coverage import EXCLUDED
from functions.core.deep_checks import MOST_COMMANDS, DeepCheckRule, DeepCommand
from functions.core.errors import BadMessage
from functions.core.expected_files import Expected, ExpectedFile, ExpectedHeartbeat, ExpectedManifest, HeartbeatBy
from functions.core.plain_text import one_line
from functions.core.policies import (
    AutomaticRecovery,
    DatabaseCheck,
    ExtraPoints,
    Guard,
    Lock,
    LockMode,
    LockOn,
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
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", written) if isinstance(written, str) else None
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
    found = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])", written) if isinstance(written, str) else None
    if not found:
        raise ValueError(f"{written!r} is not a time of day in UTC; write for example 02:30")
    return timedelta(hours=int(found[1]), minutes=int(found[2]))


Duration = Annotated[timedelta, BeforeValidator(duration)]
TimeOfDay = Annotated[timedelta, BeforeValidator(_time_of_day)]
WindowText = Annotated[Window, BeforeValidator(_window)]
Region = Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
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
    lasts: Duration = Field(alias="for")
    cool_off: Duration | Literal["none"] = timedelta(hours=24)
    on: LockOn = LockOn.BOTH
    beyond_retention: StrictBool = False


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


class _DeepCommand(_Strict):
    run: str
    directory: str = "/"
    within: Duration = timedelta(minutes=1)
    as_root: StrictBool = False


class _DeepCheck(_Strict):
    every: Duration = timedelta(days=30)
    within: Duration = timedelta(minutes=45)
    commands: Annotated[list[_DeepCommand], Field(max_length=MOST_COMMANDS)] = []


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
    deep_check: _DeepCheck | None = None


class _Automatic(_Strict):
    alarm: Annotated[str, Field(min_length=1, max_length=255)]
    resource: Annotated[str, Field(pattern=r"^(volume|instance|database|cluster)/[a-z0-9-]+/[A-Za-z0-9-]+$")]
    region: Region
    approval_within: Annotated[timedelta, BeforeValidator(duration), Field(le=LONGEST_APPROVAL)] | None = None


class _Recover(_Strict):
    into: dict[Region, dict[Kind, dict[str, Any]]] = {}
    automatic: list[_Automatic] = []
    automatic_per_day: Annotated[int, Field(ge=1, le=24)] = 1


AccountId = Annotated[str, Field(pattern=r"^[0-9]{12}$")]
KeyArn = Annotated[str, Field(pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$")]


class RecycleBin(_Strict):
    """How long deleted EBS snapshots can still be brought back: ours, or with `every_snapshot` all of the Region.

    AWS locks only rules that hold for every snapshot of the Region; `unlock_delay` is how long unlocking takes.
    """

    keep: Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(days=1), le=timedelta(days=365))]
    every_snapshot: StrictBool = False
    unlock_delay: (
        Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(days=7), le=timedelta(days=30))] | None
    ) = None


class _Guard(_Strict):
    shared_with: list[AccountId] = []
    enforce: StrictBool = False
    keys: list[KeyArn] = []
    recycle_bin: RecycleBin | None = None
    block_public_access: dict[Region, Literal["block-all-sharing", "block-new-sharing"]] = {}


class _Document(_Strict):
    home: Region
    copies: list[Region] = []
    account: Annotated[str, Field(pattern=r"^[0-9]{12}$")] | None = None
    notify: list[str] = []
    default_policy: PolicyName | None = None
    policies: dict[PolicyName, _Policy]
    rehearsals_per_day: Annotated[int, Field(ge=0, le=96)] = 4
    rehearse_databases: bool = True
    recover: _Recover = _Recover()
    guard: _Guard = _Guard()
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
            guard=_guard(written),
        )
    except ValueError as problem:
        raise _refused(str(problem).splitlines()) from problem
    return Configuration.model_construct(**written.__dict__, settings=settings)


def _guard(written: _Document) -> Guard:
    """Errors: ValueError for what AWS does not do, or where nothing of ours is."""
    guard, rule = written.guard, written.guard.recycle_bin
    problems = [
        f"guard.block_public_access.{region}: it is neither the home Region nor a copy Region"
        for region in guard.block_public_access
        if region not in (written.home, *written.copies)
    ]
    if rule is not None and rule.unlock_delay is not None and not rule.every_snapshot:
        problems.append(
            "guard.recycle_bin.unlock_delay: AWS locks no rule that goes by tags; say every_snapshot: true, and every "
            "snapshot of the Region goes through the bin, or leave unlock_delay out"
        )
    if rule is not None:
        problems += [
            f"guard.recycle_bin.{name}: give whole days"
            for name, span in (("keep", rule.keep), ("unlock_delay", rule.unlock_delay))
            if span is not None and span % timedelta(days=1)
        ]
    if problems:
        raise ValueError("\n".join(problems))
    return Guard(shared_with=frozenset(guard.shared_with), enforce=guard.enforce, keys=frozenset(guard.keys))


def _into(written: Mapping[str, Mapping[Kind, Mapping[str, Any]]]) -> dict[str, dict[str, dict[str, object]]]:
    """By Region and kind. Errors: ValueError for a setting that the kind does not have."""
    unknown = [
        f"recover.into.{region}.{kind}.{one_line(name)}: a {kind} has no such setting; "
        f"it has {', '.join(sorted(TARGETS[kind]))}"
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
        lock=_lock(written.lock) if written.lock else None,
        archive_after=written.archive_after,
        extra=ExtraPoints(**written.extra.model_dump()) if written.extra else None,
        checks=tuple(_check(position, check) for position, check in enumerate(written.checks)),
        files=tuple(_expected(position, file) for position, file in enumerate(written.files)),
        deep_check=_deep_check(written.deep_check) if written.deep_check else None,
    )
    return replace(policy, version=_version(policy))


def _lock(written: _Lock) -> Lock:
    """Errors: ValueError where the span is none that AWS can lock for."""
    cool_off = timedelta(0) if written.cool_off == "none" else written.cool_off
    if written.lasts % timedelta(days=1) or cool_off % timedelta(hours=1):
        raise ValueError("lock: for is whole days, such as 7d, and cool_off whole hours, such as 24h, or none")
    return Lock(
        mode=written.mode,
        days=written.lasts // timedelta(days=1),
        cool_off_hours=cool_off // timedelta(hours=1),
        on=written.on,
        beyond_retention=written.beyond_retention,
    )


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


def _deep_check(written: _DeepCheck) -> DeepCheckRule:
    """The rule; what is wrong with a command is said with its place among the others."""
    commands: list[DeepCommand] = []
    for position, command in enumerate(written.commands):
        try:
            commands.append(DeepCommand(**command.model_dump()))
        except ValueError as problem:
            raise ValueError(f"deep_check.commands.{position}.{problem}") from problem
    return DeepCheckRule(every=written.every, within=written.within, commands=tuple(commands))


def _version(policy: Policy) -> str:
    """A word for what the policy promises: the same however it is written, another when the promise is another.

    What rehearsals check is no part of what a point was taken under.
    """
    promise = {f.name: getattr(policy, f.name) for f in fields(policy) if f.name not in NO_PROMISE}
    return hashlib.sha256(repr(sorted(promise.items())).encode()).hexdigest()[:8]


NO_PROMISE = frozenset({"name", "version", "checks", "rehearse_every", "release_after", "files", "deep_check"})


def _refused(lines: list[str]) -> BadMessage:
    return BadMessage(
        "the holdfast block of cdk.json does not say what to do:\n"
        + "\n".join(f"  {one_line(line)}" for line in lines),
        hint="Mend the lines above; README.md shows a complete block.",
    )


def _path(steps: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in steps) or "holdfast"


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")
