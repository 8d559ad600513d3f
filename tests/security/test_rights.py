"""Every sentence of the table of rights holds for the roles as they are deployed, in every Region where they are."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.security.acts import Act
from tests.security.deployed import AWAY, Deployed, Role
from tests.security.rights import MAY, MAY_NOT, NOBODY_ELSE_MAY, NOBODY_MAY

WITH_THE_COPIES = {"start-deep-check", "follow-deep-check"}
"""They may do something only where rehearsals are held by themselves; elsewhere there is nothing to do it to."""


def sentences(table: Mapping[str, tuple[Act, ...]], verb: str) -> list[object]:
    return [pytest.param(who, what, id=f"{who} {verb} {what.says}") for who, acts in table.items() for what in acts]


def roles_of(deployed: Deployed, who: str) -> list[Role]:
    found = [role for role in deployed.roles if role.of in (who, f"holdfast-{who}")]
    assert found, f"nobody is called {who}; there are {sorted({role.of for role in deployed.roles})}"
    return found


@pytest.mark.parametrize(("who", "what"), sentences(MAY, "may"))
def test_it_may(deployed: Deployed, who: str, what: Act) -> None:
    for role in roles_of(deployed, who):
        if who in WITH_THE_COPIES and role.region != AWAY:
            continue
        decision = what.decided(role)
        assert decision.allowed, f"{role} may not {what.says}: {decision}"


@pytest.mark.parametrize(("who", "what"), sentences(MAY_NOT, "may not"))
def test_it_may_not(deployed: Deployed, who: str, what: Act) -> None:
    """F74, F80, F90, F91."""
    for role in roles_of(deployed, who):
        decision = what.decided(role)
        assert not decision.allowed, f"{role} may {what.says}: {decision}"


@pytest.mark.parametrize("what", [pytest.param(what, id=f"nobody may {what.says}") for what in NOBODY_MAY])
def test_nobody_may(deployed: Deployed, what: Act) -> None:
    """F12, F82, F90: what shares is among it, so that no quota of sharing is ever met."""
    able = {str(role): what.decided(role) for role in deployed.roles if what.decided(role).allowed}
    assert not able, f"to {what.says}"


@pytest.mark.parametrize(("who", "what"), sentences(NOBODY_ELSE_MAY, "alone may"))
def test_one_alone_may(deployed: Deployed, who: str, what: Act) -> None:
    able = {role.of for role in deployed.roles if what.decided(role).allowed}
    assert able == {f"holdfast-{who}"}, f"to {what.says}"


def test_every_role_has_its_sentences(deployed: Deployed) -> None:
    told = {who if " " in who else f"holdfast-{who}" for who in {*MAY, *MAY_NOT}}
    silent = {role.of for role in deployed.roles} - told
    assert {who for who in silent if not who.startswith("clock for ")} == set(), "roles without a sentence"


def test_no_sentence_is_said_twice() -> None:
    said = [(who, what.says, what.asks) for table in (MAY, MAY_NOT) for who, acts in table.items() for what in acts]
    assert len({(who, says) for who, says, _ in said}) == len(said)


def test_the_table_says_at_least_120_times_no_and_as_often_yes() -> None:
    refused = sum(map(len, [*MAY_NOT.values(), NOBODY_MAY, *NOBODY_ELSE_MAY.values()]))
    assert refused >= 120
    assert sum(map(len, MAY.values())) >= 120
