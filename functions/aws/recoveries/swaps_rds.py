"""Giving a restored database the name of the original, in two renamings that can be taken back in reverse.

RDS makes endpoints out of names, so this is what points the applications at the restored one. It is never a part of
a recovery: somebody asks for it by itself, after the hand-over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from functions.aws import rds_described
from functions.aws.clients import Clients
from functions.aws.permissions import Permission
from functions.aws.recoveries import calls_rds as calls
from functions.core.errors import ResourceBusy, ResourceGone, Unsafe
from functions.core.recoveries import RECOVERY_TAG
from functions.core.resources import Kind

if TYPE_CHECKING:
    from mypy_boto3_rds import RDSClient

LONGEST_NAME = 63

_DATABASES = (
    "arn:{partition}:rds:{region}:{account}:db:*",
    "arn:{partition}:rds:{region}:{account}:cluster:*",
)

PERMISSIONS: Mapping[str, tuple[Permission, ...]] = {
    "look": (
        Permission(
            actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
            resources=_DATABASES,
            why="which of the three names are taken, and by what",
        ),
    ),
    "step": (
        Permission(
            actions=("rds:DescribeDBInstances", "rds:DescribeDBClusters"),
            resources=_DATABASES,
            why="which of the three names are taken, and by what",
        ),
        Permission(
            actions=("rds:ModifyDBInstance", "rds:ModifyDBCluster"),
            resources=_DATABASES,
            conditions={"BoolIfExists": {"rds:ManageMasterUserPassword": "false"}},
            why="the original carries no tag of ours, so a renaming cannot be limited to tagged ones: give this to the "
            "one role that swaps, and to nobody who restores. The password stays whose it is, and other groups are "
            "resources of the call, which are not given",
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapPlan:
    """Two databases or clusters of one Region that are to change names; `is_back` takes an earlier swap back."""

    kind: Kind
    region: str
    recovery_id: str
    original_id: str
    restored_id: str
    is_back: bool = False

    @property
    def aside_id(self) -> str:
        """The original's name while the restored one has its own."""
        ending = f"-before-{self.recovery_id}"
        return self.original_id[: LONGEST_NAME - len(ending)].rstrip("-") + ending


class SwapState(StrEnum):
    """How far it is. WAITING: RDS is renaming, or one of the two is busy."""

    READY = "ready"
    HALFWAY = "halfway"
    WAITING = "waiting"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapSeen:
    """What a look found. `rename` is the renaming that comes next, from and to; None where nothing is to be done."""

    state: SwapState
    detail: str
    rename: tuple[str, str] | None = None


class Swap:
    """Swaps names in one Region. What to do next follows from the names that exist, so every call may be repeated."""

    def __init__(self, region: str, clients: Clients) -> None:
        self.region = region
        self._rds: RDSClient = clients.retrying("rds", region)

    def look(self, plan: SwapPlan) -> SwapSeen:
        """How far the swap is.

        Errors: Unsafe when what has the restored one's place does not carry the tag of this recovery; ResourceGone
        when neither name leads to it; AwsBusy.
        """
        original, restored, aside = (
            self._described(plan, name) for name in (plan.original_id, plan.restored_id, plan.aside_id)
        )
        if _is_restored(original, plan):
            return self._seen_swapped(plan, original, restored, aside)
        if aside is not None and _is_restored(aside, plan):
            raise _unsafe(plan, f"{plan.aside_id} is what the recovery made")
        if restored is None:
            return self._seen_without_restored(plan, original, aside)
        if not _is_restored(restored, plan):
            raise _unsafe(plan, f"{plan.restored_id} does not carry its tag {RECOVERY_TAG}")
        return self._seen_apart(plan, original, restored, aside)

    def step(self, plan: SwapPlan) -> SwapSeen:
        """The next renaming is asked for, if there is one and both are available; what was seen before it.

        Errors: as `look`; NotAllowed.
        """
        seen = self.look(plan)
        if seen.rename is None:
            return seen
        old, new = seen.rename
        try:
            with calls.explained("rds:Modify", resource=old):
                self._rename(plan, old, new)
        except ResourceBusy as busy:
            return SwapSeen(state=SwapState.WAITING, detail=busy.what)
        return SwapSeen(state=SwapState.WAITING, detail=f"{old} is being renamed {new}")

    # what the names tell

    def _seen_apart(
        self,
        plan: SwapPlan,
        original: Mapping[str, Any] | None,
        restored: Mapping[str, Any],
        aside: Mapping[str, Any] | None,
    ) -> SwapSeen:
        """The restored one has its first name."""
        if original is not None and aside is not None:
            raise _unsafe(plan, f"{plan.original_id} and {plan.aside_id} both exist, and neither is the restored one")
        if plan.is_back:
            if aside is None:
                return _done(f"{plan.original_id} is the original again" if original else "nothing was swapped")
            return _next(plan.aside_id, plan.original_id, SwapState.HALFWAY, aside, restored)
        if original is not None:
            return _next(plan.original_id, plan.aside_id, SwapState.READY, original, restored)
        state = SwapState.READY if aside is None else SwapState.HALFWAY
        return _next(plan.restored_id, plan.original_id, state, restored, *([aside] if aside else []))

    def _seen_swapped(
        self,
        plan: SwapPlan,
        original: Mapping[str, Any] | None,
        restored: Mapping[str, Any] | None,
        aside: Mapping[str, Any] | None,
    ) -> SwapSeen:
        """The restored one has the original's name."""
        if restored is not None:
            raise _unsafe(plan, f"{plan.restored_id} exists beside {plan.original_id}, which is the restored one")
        if not plan.is_back:
            if not _is_available(original):
                return _waiting(plan.original_id, original)
            where = f"; the original is {plan.aside_id}" if aside else "; there is no original any more"
            return _done(f"{plan.original_id} is the restored one{where}")
        return _next(plan.original_id, plan.restored_id, SwapState.READY, original, *([aside] if aside else []))

    def _seen_without_restored(
        self, plan: SwapPlan, original: Mapping[str, Any] | None, aside: Mapping[str, Any] | None
    ) -> SwapSeen:
        """Neither name leads to the restored one: RDS may be between two names."""
        if original is None and aside is not None:
            return _waiting(plan.restored_id, None)
        raise ResourceGone(
            f"what the recovery {plan.recovery_id} made is neither {plan.restored_id} nor {plan.original_id}",
            hint="somebody deleted or renamed it; look in CloudTrail who did",
        )

    # how RDS is asked

    def _described(self, plan: SwapPlan, name: str) -> Mapping[str, Any] | None:
        look = rds_described.instance if plan.kind is Kind.DATABASE else rds_described.cluster
        return look(self._rds, name)

    def _rename(self, plan: SwapPlan, old: str, new: str) -> None:
        if plan.kind is Kind.DATABASE:
            self._rds.modify_db_instance(DBInstanceIdentifier=old, NewDBInstanceIdentifier=new, ApplyImmediately=True)
        else:
            self._rds.modify_db_cluster(DBClusterIdentifier=old, NewDBClusterIdentifier=new, ApplyImmediately=True)


def _is_restored(described: Mapping[str, Any] | None, plan: SwapPlan) -> bool:
    return described is not None and rds_described.tags_of(described).get(RECOVERY_TAG) == plan.recovery_id


def _word(described: Mapping[str, Any]) -> str:
    return described.get("DBInstanceStatus") or described.get("Status") or ""


def _is_available(described: Mapping[str, Any] | None) -> bool:
    return described is not None and _word(described) in ("available", "storage-optimization")


def _is_renaming(described: Mapping[str, Any]) -> bool:
    pending = described.get("PendingModifiedValues") or {}
    return "DBInstanceIdentifier" in pending or "DBClusterIdentifier" in pending


def _next(old: str, new: str, state: SwapState, *both: Mapping[str, Any] | None) -> SwapSeen:
    """The renaming that comes next, once both are available: after half a swap nobody answers on the old name."""
    for described in both:
        if described is None or not _is_available(described) or _is_renaming(described):
            return _waiting(old, described)
    return SwapSeen(state=state, detail=f"{old} is to be renamed {new}", rename=(old, new))


def _waiting(name: str, described: Mapping[str, Any] | None) -> SwapSeen:
    said = "not there yet" if described is None else _word(described)
    who = name if described is None else described.get("DBInstanceIdentifier") or described.get("DBClusterIdentifier")
    return SwapSeen(state=SwapState.WAITING, detail=f"{who} is {said}")


def _done(detail: str) -> SwapSeen:
    return SwapSeen(state=SwapState.DONE, detail=detail)


def _unsafe(plan: SwapPlan, what: str) -> Unsafe:
    return Unsafe(
        f"the names of {plan.original_id} and {plan.restored_id} are not swapped for {plan.recovery_id}: {what}",
        hint="look what has which name; rename by hand what is in the way",
    )
