"""Groups one after the other: who failed holds back who comes later, and who is recovered is never begun again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from functions.core.recovery_sets import (
    Member,
    MemberState,
    Outcome,
    RecoverySet,
    Step,
    WhenOneFails,
    again,
    noted,
)


def a_set(*groups: int, when_one_fails: WhenOneFails = WhenOneFails.STOP, is_dry_run: bool = False) -> RecoverySet:
    """So many members in each group, named by group and place."""
    members = tuple(
        Member(resource=f"{group}-{n}", group=group, given={})
        for group, size in enumerate(groups, start=1)
        for n in range(size)
    )
    return RecoverySet(id="0a1b2c3d4e5f", members=members, when_one_fails=when_one_fails, is_dry_run=is_dry_run)


def outcomes(whole: RecoverySet, *failed: str) -> list[Outcome]:
    """The group that is at work comes back; these of it failed."""
    return [
        Outcome(resource=member.resource, is_recovered=member.resource not in failed, told=f"told of {member.resource}")
        for member in whole.members
        if member.group == whole.group and member.state is MemberState.PENDING
    ]


def back(whole: RecoverySet, *failed: str) -> RecoverySet:
    return noted(whole, outcomes(whole, *failed))


def states(whole: RecoverySet) -> str:
    return "".join(member.state[0] for member in whole.members)


def test_the_next_group_begins_when_all_of_this_one_are_recovered() -> None:
    whole = back(a_set(2, 1))
    assert (whole.step, whole.group, states(whole)) == (Step.GROUP, 2, "rrp")
    assert whole.members[0].told == "told of 1-0"


def test_the_last_group_ends_it() -> None:
    whole = back(back(a_set(1, 1)))
    assert (whole.step, whole.problem, states(whole)) == (Step.END, "", "rr")


def test_a_failed_member_holds_back_the_groups_after_it_and_none_of_its_own() -> None:
    whole = back(a_set(2, 3), "1-0")
    assert (whole.step, whole.group, states(whole)) == (Step.STOP, 1, "frppp")
    assert whole.problem == "1 of 5 failed; 3 in later groups were not begun: 1-0: told of 1-0"


@pytest.mark.parametrize(
    "whole", [a_set(1, 1, when_one_fails=WhenOneFails.GO_ON), a_set(1, 1, is_dry_run=True)], ids=["go on", "dry run"]
)
def test_where_it_is_to_go_on_every_group_is_begun_and_the_failure_is_told_at_the_end(whole: RecoverySet) -> None:
    on = back(whole, "1-0")
    assert (on.step, on.group) == (Step.GROUP, 2)
    ended = back(on)
    assert (ended.step, states(ended)) == (Step.STOP, "fr")
    assert "1 of 2 failed: 1-0" in ended.problem


def test_a_member_of_which_nothing_came_back_is_not_recovered() -> None:
    """The workflow hands over what its Map answered; what is missing there was not done."""
    whole = noted(a_set(2), [Outcome(resource="1-0", is_recovered=True, told="")])
    assert states(whole) == "rp"


def test_an_outcome_of_a_stranger_changes_nobody() -> None:
    whole = noted(a_set(1), [Outcome(resource="9-9", is_recovered=False, told="")])
    assert states(whole) == "p"


def test_who_is_recovered_stays_so_whatever_is_said_later() -> None:
    """F30: a group that comes back twice."""
    whole = back(a_set(2), "1-1")
    late = noted(whole, [Outcome(resource="1-0", is_recovered=False, told="late")])
    assert states(late) == "rf"


class TestARedrive:
    """Only what failed is begun again, and what was held back follows."""

    def test_it_goes_on_in_the_group_that_failed(self) -> None:
        whole = again(back(back(a_set(1, 2, 1)), "2-1"))
        assert (whole.step, whole.group, whole.problem, states(whole)) == (Step.GROUP, 2, "", "rrpp")
        assert [one.resource for one in outcomes(whole)] == ["2-1"]

    def test_it_ends_when_the_rest_is_recovered(self) -> None:
        whole = again(back(a_set(1, 1), "1-0"))
        assert states(back(back(whole))) == "rr"
        assert back(back(whole)).step is Step.END

    def test_of_a_set_that_went_on_the_first_failed_group_is_the_next(self) -> None:
        whole = a_set(1, 1, 1, when_one_fails=WhenOneFails.GO_ON)
        ended = back(back(back(whole, "1-0"), "2-0"))
        on = again(ended)
        assert (on.group, states(on)) == (1, "ppr")
        on = back(on)
        assert (on.step, on.group) == (Step.GROUP, 2)

    def test_with_nothing_left_it_looks_at_the_last_group(self) -> None:
        whole = again(replace(a_set(1, 1), members=back(back(a_set(1, 1))).members))
        assert (whole.group, outcomes(whole)) == (2, [])


def test_the_number_of_groups_is_that_of_the_last_member() -> None:
    assert (a_set(1, 1, 2).groups, a_set().groups) == (3, 0)
