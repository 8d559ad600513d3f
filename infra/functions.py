"""Every function: the verb it is named for, how long and how large it may be, and what it may do at AWS.

What a function may do follows from the calls it makes: the permissions stand beside the calls, in `functions.aws`.
What it may do with our own table, queues, topic and bus is granted by the stack that makes these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from functions.aws import (
    blocks,
    ebs_volumes,
    ec2_instances,
    executions,
    health,
    inventory,
    keys,
    locks,
    metrics,
    rds_clusters,
    rds_databases,
    recycle_bin,
    restores_ebs,
    restores_rds,
    shares_ebs,
    shares_rds,
)
from functions.aws.databases import checks as database_checks
from functions.aws.deep_checks import checkers, scripts
from functions.aws.permissions import Permission
from functions.aws.recoveries import ebs as recoveries_ebs
from functions.aws.recoveries import permissions_rds as recovery_permissions_rds
from functions.aws.recoveries import swaps_rds


class Reach(Enum):
    """In which Regions a function works."""

    HERE = "the Region it runs in"
    COPIES = "every Region that holds copies"
    EVERYWHERE = "every Region in use"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One function, before it is a resource."""

    verb: str
    timeout_seconds: int
    memory_mib: int = 256
    permissions: tuple[Permission, ...] = ()
    reach: Reach = Reach.HERE
    reads_content: bool = False
    for_deep_checks: tuple[Permission, ...] = ()
    """What it may do besides, where deep checks are made and nowhere else."""

    @property
    def name(self) -> str:
        return f"holdfast-{self.verb.replace('_', '-')}"

    @property
    def id(self) -> str:
        """The construct's id, and the placeholder that stands for the function in a workflow."""
        return "".join(word.capitalize() for word in self.verb.split("_"))

    @property
    def handler(self) -> str:
        return f"functions.handlers.{self.verb}.handler"


_SNAPSHOTS = (ebs_volumes, ec2_instances, rds_databases, rds_clusters)

JOIN_NETWORK = Permission(
    actions=(
        "ec2:AssignPrivateIpAddresses",
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSubnets",
        "ec2:UnassignPrivateIpAddresses",
    ),
    resources=("*",),
    why="not called: Lambda joins the function to its network with these, and asks for them on every resource",
)
"""Of a function that is put into a network, and only where there is one."""


def _once(permissions: Iterable[Permission]) -> tuple[Permission, ...]:
    """Each permission one time: kinds share some, and a Permission holds a mapping and cannot be hashed."""
    found: list[Permission] = []
    for permission in permissions:
        if permission not in found:
            found.append(permission)
    return tuple(found)


def _of(adapter: Mapping[str, tuple[Permission, ...]], *calls: str) -> tuple[Permission, ...]:
    return tuple(permission for call in calls for permission in adapter[call])


def _of_snapshots(*calls: str) -> tuple[Permission, ...]:
    return _once(permission for kind in _SNAPSHOTS for permission in _of(kind.PERMISSIONS, *calls))


def _of_shares(*calls: str) -> tuple[Permission, ...]:
    """What the calls need for the snapshots of every family."""
    families = (shares_ebs.PERMISSIONS, *shares_rds.PERMISSIONS.values())
    return _once(permission for family in families for permission in _of(family, *calls))


def _of_restores(*calls: str) -> tuple[Permission, ...]:
    """What the calls need for volumes and for databases; proofs are of volumes only."""
    adapters = (restores_ebs.PERMISSIONS, restores_rds.PERMISSIONS)
    return _once(p for adapter in adapters for p in _of(adapter, *(call for call in calls if call in adapter)))


def _of_recoveries(*calls: str) -> tuple[Permission, ...]:
    adapters = (recoveries_ebs.PERMISSIONS, recovery_permissions_rds.PERMISSIONS)
    return _once(p for adapter in adapters for p in _of(adapter, *(call for call in calls if call in adapter)))


TAKE_INVENTORY = Spec(
    verb="take_inventory",
    timeout_seconds=300,
    permissions=_of(inventory.PERMISSIONS, "resources"),
)
PLAN_BACKUPS = Spec(verb="plan_backups", timeout_seconds=120, permissions=_of(health.PERMISSIONS, "count"))
TAKE_SNAPSHOT = Spec(
    verb="take_snapshot",
    timeout_seconds=300,
    permissions=_once((*_of_snapshots("take", "find"), *_of(inventory.PERMISSIONS, "configuration"))),
)
TRACK_POINTS = Spec(
    verb="track_points",
    timeout_seconds=300,
    permissions=_of_snapshots("look", "changed_bytes"),
    reach=Reach.EVERYWHERE,
)
COPY_SNAPSHOT = Spec(
    verb="copy_snapshot",
    timeout_seconds=300,
    permissions=_of_snapshots("copy", "find"),
    reach=Reach.COPIES,
)
SWEEP = Spec(
    verb="sweep",
    timeout_seconds=600,
    permissions=(*_of_snapshots("ours", "look", "find"), *_of(health.PERMISSIONS, "count")),
    reach=Reach.EVERYWHERE,
)
MARK_EXPIRED = Spec(
    verb="mark_expired",
    timeout_seconds=600,
    permissions=(
        *_of_snapshots("ours", "mark_expired", "archive"),
        *_of(recycle_bin.PERMISSIONS, "held"),
        *_of(health.PERMISSIONS, "count"),
    ),
    reach=Reach.EVERYWHERE,
)
DELETE_EXPIRED = Spec(
    verb="delete_expired",
    timeout_seconds=900,
    permissions=_of_snapshots("delete"),
    reach=Reach.EVERYWHERE,
)
HEED_ALARM = Spec(
    verb="heed_alarm",
    timeout_seconds=60,
    permissions=_of(metrics.PERMISSIONS, "written_bytes"),
)
SCORE_RUN = Spec(verb="score_run", timeout_seconds=60)

WATCH_SHARING = Spec(
    verb="watch_sharing",
    timeout_seconds=600,
    permissions=(*_of_shares("ours", "find", "listed", "shared_with"), *_of(health.PERMISSIONS, "count")),
    reach=Reach.EVERYWHERE,
)
WITHDRAW_SHARES = Spec(
    verb="withdraw_shares",
    timeout_seconds=600,
    permissions=_of_shares("shared_with", "withdraw"),
    reach=Reach.EVERYWHERE,
)
CHECK_KEYS = Spec(
    verb="check_keys",
    timeout_seconds=600,
    permissions=(*_of_shares("ours"), *_of(keys.PERMISSIONS, "look")),
    reach=Reach.EVERYWHERE,
)
LOCK_POINTS = Spec(
    verb="lock_points",
    timeout_seconds=600,
    permissions=(
        *_of(ebs_volumes.PERMISSIONS, "ours"),
        *_of(health.PERMISSIONS, "count"),
        *_of(locks.PERMISSIONS, "held", "lock"),
    ),
    reach=Reach.EVERYWHERE,
)


def locking_at_most(days: int) -> Spec:
    """LOCK_POINTS with the right to lock for at most so many days: the longest lock that a policy asks for."""
    bound = {"NumericLessThanEquals": {"ec2:SnapshotLockDuration": str(days)}}

    def narrowed(permission: Permission) -> Permission:
        is_lock = "ec2:LockSnapshot" in permission.actions
        return replace(permission, conditions={**permission.conditions, **bound}) if is_lock else permission

    return replace(LOCK_POINTS, permissions=tuple(narrowed(permission) for permission in LOCK_POINTS.permissions))


CHOOSE_REHEARSAL = Spec(verb="choose_rehearsal", timeout_seconds=60)
START_RESTORE = Spec(verb="start_restore", timeout_seconds=120, permissions=_of_restores("begin"))
CHECK_RESTORE = Spec(
    verb="check_restore",
    timeout_seconds=120,
    permissions=_of_restores("look", "begin_proof", "look_proof"),
)
VERIFY_VOLUME = Spec(
    verb="verify_volume",
    timeout_seconds=900,
    memory_mib=1024,
    permissions=_of(blocks.PERMISSIONS, "compare", "changed_since"),
    reach=Reach.EVERYWHERE,
    reads_content=True,
)
VERIFY_DATABASE = Spec(
    verb="verify_database",
    timeout_seconds=300,
    permissions=_of(database_checks.PERMISSIONS, "check_database"),
)
RECORD_REHEARSAL = Spec(verb="record_rehearsal", timeout_seconds=60)
REMOVE_RESTORE = Spec(
    verb="remove_restore",
    timeout_seconds=120,
    permissions=_of_restores("remove", "remove_proof"),
    for_deep_checks=_of(checkers.PERMISSIONS, "remove"),
)
START_DEEP_CHECK = Spec(
    verb="start_deep_check",
    timeout_seconds=120,
    for_deep_checks=_of(checkers.PERMISSIONS, "launch"),
)
FOLLOW_DEEP_CHECK = Spec(
    verb="follow_deep_check",
    timeout_seconds=120,
    for_deep_checks=_once(
        (*_of(checkers.PERMISSIONS, "look", "attach"), *_of(scripts.PERMISSIONS, "is_online", "send", "ending"))
    ),
)

INSPECT_CONTENT = Spec(
    verb="inspect_content",
    timeout_seconds=900,
    memory_mib=3072,
    permissions=_of(blocks.PERMISSIONS, "read", "changed_since"),
    reads_content=True,
)
REAP_REHEARSALS = Spec(
    verb="reap_rehearsals",
    timeout_seconds=300,
    permissions=_of_restores("leftovers", "remove", "remove_proof"),
    for_deep_checks=_once(_of(checkers.PERMISSIONS, "leftovers", "remove")),
)

CHOOSE_RECOVERY = Spec(
    verb="choose_recovery",
    timeout_seconds=60,
    permissions=_once((*_of_snapshots("look"), *recovery_permissions_rds.NEWEST_PERMISSIONS)),
)
PLAN_RECOVERY = Spec(verb="plan_recovery", timeout_seconds=120, permissions=_of_recoveries("plan"))
ASK_APPROVAL = Spec(verb="ask_approval", timeout_seconds=30)
ANSWER_APPROVAL = Spec(verb="answer_approval", timeout_seconds=30, permissions=_of(executions.PERMISSIONS, "answer"))
START_RECOVERY = Spec(verb="start_recovery", timeout_seconds=120, permissions=_of_recoveries("begin"))
CHECK_RECOVERY = Spec(verb="check_recovery", timeout_seconds=120, permissions=_of_recoveries("look"))
CONFIGURE_RECOVERY = Spec(verb="configure_recovery", timeout_seconds=120, permissions=_of_recoveries("configure"))
VERIFY_RECOVERY = Spec(
    verb="verify_recovery",
    timeout_seconds=900,
    memory_mib=3072,
    permissions=_of(blocks.PERMISSIONS, "read"),
    reads_content=True,
)
REMOVE_RECOVERY = Spec(verb="remove_recovery", timeout_seconds=120, permissions=_of_recoveries("remove"))
RECORD_RECOVERY = Spec(verb="record_recovery", timeout_seconds=60)
STOP_RECOVERY = Spec(verb="stop_recovery", timeout_seconds=30)
READ_SET = Spec(verb="read_set", timeout_seconds=30)
NOTE_SET = Spec(verb="note_set", timeout_seconds=60)
SWAP_NAMES = Spec(verb="swap_names", timeout_seconds=60, permissions=_of(swaps_rds.PERMISSIONS, "look", "step"))
HOLD_POINT = Spec(verb="hold_point", timeout_seconds=30)
HEED_FAILURE = Spec(
    verb="heed_failure",
    timeout_seconds=60,
    permissions=_of(executions.PERMISSIONS, "start"),
    reach=Reach.EVERYWHERE,
)

AT_HOME = (
    TAKE_INVENTORY,
    PLAN_BACKUPS,
    TAKE_SNAPSHOT,
    TRACK_POINTS,
    COPY_SNAPSHOT,
    SWEEP,
    MARK_EXPIRED,
    DELETE_EXPIRED,
    HEED_ALARM,
    HEED_FAILURE,
    SCORE_RUN,
    WATCH_SHARING,
    CHECK_KEYS,
)
AT_HOME_BY_CHOICE = (LOCK_POINTS, WITHDRAW_SHARES)
"""Only where a policy has a lock, or the settings say enforce: nobody else holds these rights."""

AT_RECOVERY = (
    CHOOSE_REHEARSAL,
    START_RESTORE,
    CHECK_RESTORE,
    VERIFY_VOLUME,
    INSPECT_CONTENT,
    START_DEEP_CHECK,
    FOLLOW_DEEP_CHECK,
    VERIFY_DATABASE,
    RECORD_REHEARSAL,
    REMOVE_RESTORE,
    REAP_REHEARSALS,
    CHOOSE_RECOVERY,
    PLAN_RECOVERY,
    ASK_APPROVAL,
    ANSWER_APPROVAL,
    START_RECOVERY,
    CHECK_RECOVERY,
    CONFIGURE_RECOVERY,
    VERIFY_RECOVERY,
    REMOVE_RECOVERY,
    RECORD_RECOVERY,
    STOP_RECOVERY,
    READ_SET,
    NOTE_SET,
    SWAP_NAMES,
    HOLD_POINT,
)
"""Recovery, in every Region: nothing of it in a Region with copies needs the home Region to be there."""
