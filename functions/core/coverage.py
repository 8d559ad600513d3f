"""Whether a resource is protected, and if not, by whose decision.

The question every inventory answers for every volume, instance, database and cluster: protected, excluded, or GAP.
An engine we have never heard of is a resource like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from functions.core.plain_text import one_line
from functions.core.policies import Settings
from functions.core.resources import Kind, Resource, ResourceKey

POLICY_TAG = "holdfast:policy"
REASON_TAG = "holdfast:reason"
REHEARSAL_TAG = "holdfast:rehearsal"
EXCLUDED = "none"


class Standing(StrEnum):
    """Where a resource stands with Holdfast."""

    PROTECTED = "protected"
    EXCLUDED = "excluded"
    GAP = "GAP"


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Where one resource stands, by whose word, and why.

    `policy` is set when the resource gets points of its own. A volume of a protected instance and a member of a
    protected cluster are protected without: `by` then names the instance or cluster.
    """

    resource: Resource
    standing: Standing
    by: str
    reason: str
    policy: str | None = None


def cover(resources: Iterable[Resource], settings: Settings) -> tuple[Coverage, ...]:
    """The coverage of each resource, in the order given; every resource gets exactly one."""
    seen = tuple(resources)
    alone = {r.key: _by_its_own_word(r, settings) for r in seen}
    return tuple(_with_its_owner(alone[r.key], alone) for r in seen)


def _by_its_own_word(resource: Resource, settings: Settings) -> Coverage:
    def answer(standing: Standing, by: str, reason: str, policy: str | None = None) -> Coverage:
        return Coverage(resource=resource, standing=standing, by=by, reason=reason, policy=policy)

    tagged = resource.tags.get(POLICY_TAG)
    if REHEARSAL_TAG in resource.tags:
        return answer(Standing.EXCLUDED, "holdfast", "it was made by a rehearsal and will be removed")
    if tagged == EXCLUDED:
        why = one_line(resource.tags.get(REASON_TAG, "").strip())
        return answer(Standing.EXCLUDED, f"tag {POLICY_TAG}", why or f"no reason given; add the tag {REASON_TAG}")
    if tagged is not None and tagged not in settings.policies:
        known = ", ".join(sorted(settings.policies))
        return answer(Standing.GAP, f"tag {POLICY_TAG}", f"there is no policy named {tagged!r}; known are {known}")
    if resource.key.kind is Kind.INSTANCE and not resource.members:
        return answer(Standing.EXCLUDED, "holdfast", "it has no EBS volumes")
    if resource.key.kind is Kind.DATABASE and resource.belongs_to is not None:
        return answer(Standing.GAP, "holdfast", f"its cluster {resource.belongs_to} is not protected")
    if tagged is not None:
        return answer(Standing.PROTECTED, f"tag {POLICY_TAG}", _under(tagged, resource, settings), tagged)
    default = settings.default_policy
    if default is not None:
        return answer(Standing.PROTECTED, "default policy", _under(default, resource, settings), default)
    if resource.key.kind is Kind.INSTANCE:
        return answer(Standing.EXCLUDED, "holdfast", "it carries no policy; its volumes are judged one by one")
    return answer(Standing.GAP, "holdfast", f"it carries no tag {POLICY_TAG} and there is no default policy")


def _under(policy: str, resource: Resource, settings: Settings) -> str:
    """The policy, and what it cannot do for this resource."""
    is_database = resource.key.kind in (Kind.DATABASE, Kind.CLUSTER)
    has_lock = settings.policies[policy].lock is not None
    return f"policy {policy}" + ("; its lock does not hold here, RDS has none" if is_database and has_lock else "")


def _with_its_owner(own: Coverage, alone: Mapping[ResourceKey, Coverage]) -> Coverage:
    """A volume follows its instance unless its own tag says otherwise; a member of a cluster always follows, because
    AWS takes no snapshot of it alone."""
    key, owner_id = own.resource.key, own.resource.belongs_to
    if owner_id is None or REHEARSAL_TAG in own.resource.tags:
        return own
    owner = alone.get(replace(key, kind=OWNERS.get(key.kind, key.kind), id=owner_id))
    if owner is None or (key.kind is Kind.VOLUME and own.by == f"tag {POLICY_TAG}"):
        return own
    if owner.policy is not None:
        reason = f"it is part of {owner.resource.key}, policy {owner.policy}"
        return Coverage(resource=own.resource, standing=Standing.PROTECTED, by=str(owner.resource.key), reason=reason)
    if key.kind is Kind.DATABASE and owner.standing is Standing.EXCLUDED:
        reason = f"its cluster is excluded: {owner.reason}"
        return Coverage(resource=own.resource, standing=Standing.EXCLUDED, by=owner.by, reason=reason)
    return own


OWNERS: Mapping[Kind, Kind] = {Kind.VOLUME: Kind.INSTANCE, Kind.DATABASE: Kind.CLUSTER}
"""What a kind may be part of."""
