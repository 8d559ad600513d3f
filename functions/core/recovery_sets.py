"""Several recoveries in order: groups one after the other, the members of a group at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

MOST_MEMBERS = 100
"""What one execution carries through its states, which hold 256 KiB."""


class MemberState(StrEnum):
    """How far a member is."""

    PENDING = "pending"
    RECOVERED = "recovered"
    FAILED = "failed"


class WhenOneFails(StrEnum):
    """What becomes of the groups after one with a failed member."""

    STOP = "stop"
    GO_ON = "go on"


class Step(StrEnum):
    """What the workflow of a set does next."""

    GROUP = "group"
    END = "end"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One resource of a set: what its own recovery is given, and what became of it in one sentence."""

    resource: str
    group: int
    given: Mapping[str, object]
    state: MemberState = MemberState.PENDING
    told: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the recovery of a member ended, as its own execution said."""

    resource: str
    is_recovered: bool
    told: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverySet:
    """A set on its way. `group` is the one that is at work; groups count from 1."""

    id: str
    members: tuple[Member, ...]
    when_one_fails: WhenOneFails
    is_dry_run: bool = False
    group: int = 1
    step: Step = Step.GROUP
    problem: str = ""

    @property
    def groups(self) -> int:
        """How many there are."""
        return max((member.group for member in self.members), default=0)


def noted(whole: RecoverySet, outcomes: Iterable[Outcome]) -> RecoverySet:
    """The set after a group came back, with what happens next and why.

    A member that failed holds back the groups after its own, unless the request says to go on; a dry run always
    goes on, because it is there to show every obstacle at once. Members that are recovered are never begun again.
    """
    ended = {outcome.resource: outcome for outcome in outcomes}
    members = tuple(_noted(member, ended.get(member.resource)) for member in whole.members)
    whole = replace(whole, members=members)
    failed = [member for member in members if member.state is MemberState.FAILED]
    holds_back = failed and whole.when_one_fails is WhenOneFails.STOP and not whole.is_dry_run
    if whole.group < whole.groups and not holds_back:
        return replace(whole, group=whole.group + 1, step=Step.GROUP)
    if not failed:
        return replace(whole, step=Step.END, problem="")
    waiting = [member for member in members if member.state is MemberState.PENDING]
    rest = f"; {len(waiting)} in later groups were not begun" if waiting else ""
    named = "; ".join(f"{member.resource}: {member.told}" for member in failed)
    return replace(whole, step=Step.STOP, problem=f"{len(failed)} of {len(members)} failed{rest}: {named}")


def again(whole: RecoverySet) -> RecoverySet:
    """The set as a redrive goes on with it: what failed is pending again, from the first group that has any."""
    members = tuple(
        replace(member, state=MemberState.PENDING) if member.state is MemberState.FAILED else member
        for member in whole.members
    )
    pending = [member.group for member in members if member.state is MemberState.PENDING]
    return replace(whole, members=members, group=min(pending, default=whole.groups), step=Step.GROUP, problem="")


def _noted(member: Member, outcome: Outcome | None) -> Member:
    if outcome is None or member.state is MemberState.RECOVERED:
        return member
    state = MemberState.RECOVERED if outcome.is_recovered else MemberState.FAILED
    return replace(member, state=state, told=outcome.told)
