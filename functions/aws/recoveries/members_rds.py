"""The members a restored cluster is to have: their names, their classes, and the tags that remember them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.aws.recoveries.settings_rds import is_multi_az_cluster

MEMBERS_TAG = "holdfast:recovery-members"
"""On a restored cluster: class and promotion tier of each member to be made, the writer first. A tag, because the
step that makes the members knows nothing but the cluster. Long lists go on in the same name with -2, -3."""
MEMBER_GROUP_TAG = "holdfast:recovery-member-group"
"""On a restored cluster: the parameter group of its members, where it is one of the user's own."""

LONGEST_TAG = 256
MOST_MEMBERS = 16
"""A writer and fifteen readers are what Aurora takes."""
USUAL_CLASS = "db.t4g.medium"
"""For a cluster whose configuration names no class: the smallest that every Aurora engine takes."""


@dataclass(frozen=True, slots=True)
class Member:
    """An instance to be made in a restored cluster."""

    instance_class: str
    promotion_tier: int

    def __str__(self) -> str:
        return f"{self.instance_class}/{self.promotion_tier}"


def member_name(cluster_identifier: str, number: int) -> str:
    """The name of a restored cluster's member: at most 63 characters, the limit of instances."""
    ending = f"-{number}"
    return cluster_identifier[: 63 - len(ending)].rstrip("-") + ending


def members_of(wanted: Mapping[str, Any]) -> tuple[Member, ...]:
    """The members to be made, the writer first; one where the configuration names none, because a cluster without
    an instance answers nobody."""
    return tuple(member for member, _ in with_settings(wanted))


def members_tags(members: Sequence[Member]) -> dict[str, str]:
    """The members as tags of the cluster, none of them longer than a tag may be."""
    lines = [""]
    for member in members:
        longer = f"{lines[-1]} {member}".strip()
        if len(longer) > LONGEST_TAG:
            lines.append(str(member))
        else:
            lines[-1] = longer
    return {MEMBERS_TAG if not at else f"{MEMBERS_TAG}-{at + 1}": line for at, line in enumerate(lines) if line}


def members_told(carried: Mapping[str, str]) -> tuple[Member, ...]:
    """The members that `members_tags` wrote; a word somebody spoilt is passed over."""
    names = [MEMBERS_TAG, *(f"{MEMBERS_TAG}-{number}" for number in range(2, 5))]
    words = " ".join(carried.get(name, "") for name in names).split()
    pairs = [word.rpartition("/") for word in words]
    return tuple(Member(first, int(tier)) for first, _, tier in pairs if first and tier.isdigit())[:MOST_MEMBERS]


def listed_in(wanted: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    members: Sequence[Mapping[str, Any]] = wanted.get("members") or ()
    return members[:MOST_MEMBERS]


def with_settings(wanted: Mapping[str, Any]) -> list[tuple[Member, Mapping[str, Any]]]:
    """Each member to be made and what it has for itself. A class somebody asks for is the class of every member."""
    if is_multi_az_cluster(wanted) or wanted.get("engine_mode") == "serverless":
        return []
    listed = listed_in(wanted)
    recorded = next((one["instance_class"] for one in listed if one.get("instance_class")), None)
    usual = str(wanted.get("instance_class") or recorded or USUAL_CLASS)
    is_overridden = usual != recorded
    found: list[tuple[Member, Mapping[str, Any]]] = []
    for one in listed or ({},):
        tier = one.get("promotion_tier")
        instance_class = usual if is_overridden else str(one.get("instance_class") or usual)
        member = Member(instance_class, 1 if tier is None else int(tier))
        own = {**one, "instance_class": member.instance_class, "promotion_tier": member.promotion_tier}
        found.append((member, own))
    return found
