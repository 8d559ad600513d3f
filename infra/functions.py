"""Every function: the verb it is named for, how long and how large it may be, and what it may do at AWS.

What a function may do follows from the calls it makes: the permissions stand beside the calls, in `functions.aws`.
What it may do with our own table, queues, topic and bus is granted by the stack that makes these.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from functions.aws import (
    blocks,
    database_checks,
    ebs_volumes,
    ec2_instances,
    health,
    inventory,
    metrics,
    rds_clusters,
    rds_databases,
    restores_ebs,
    restores_rds,
)
from functions.aws.permissions import Permission


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

_JOIN_NETWORK = Permission(
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


def _of_restores(*calls: str) -> tuple[Permission, ...]:
    """What the calls need for volumes and for databases; proofs are of volumes only."""
    adapters = (restores_ebs.PERMISSIONS, restores_rds.PERMISSIONS)
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
    permissions=_of_snapshots("look", "lock", "changed_bytes"),
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
    permissions=(*_of_snapshots("ours", "mark_expired", "archive"), *_of(health.PERMISSIONS, "count")),
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
    permissions=_of(blocks.PERMISSIONS, "compare"),
    reach=Reach.EVERYWHERE,
)
VERIFY_DATABASE = Spec(
    verb="verify_database",
    timeout_seconds=300,
    permissions=(*_of(database_checks.PERMISSIONS, "check_database"), _JOIN_NETWORK),
)
RECORD_REHEARSAL = Spec(verb="record_rehearsal", timeout_seconds=60)
REMOVE_RESTORE = Spec(
    verb="remove_restore",
    timeout_seconds=120,
    permissions=_of_restores("remove", "remove_proof"),
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
    SCORE_RUN,
)
AT_RECOVERY = (
    CHOOSE_REHEARSAL,
    START_RESTORE,
    CHECK_RESTORE,
    VERIFY_VOLUME,
    VERIFY_DATABASE,
    RECORD_REHEARSAL,
    REMOVE_RESTORE,
)
