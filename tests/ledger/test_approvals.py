"""Who waits for a person's answer, and until when."""

from __future__ import annotations

from datetime import timedelta

from functions.ledger.approvals import REMEMBERED, Approval
from functions.ledger.ledger import Ledger
from tests.builders import NOON, a_key
from tests.ledger.dynamodb import items

ID = "0a1b2c3d4e5f"
HOUR = timedelta(hours=1)


def ask(ledger: Ledger, number: int = 1, *, recovery_id: str = ID, later: timedelta = HOUR) -> bool:
    now = NOON + later
    return ledger.approvals.ask(recovery_id, a_key(), f"token-{number}", until=now + HOUR, now=now)


def test_nobody_who_never_asked_waits(ledger: Ledger) -> None:
    ask(ledger, recovery_id="1" * 12)
    assert ledger.approvals.newest(ID) is None


def test_who_asked_waits_until_its_time_is_over(ledger: Ledger) -> None:
    assert ask(ledger)
    assert ledger.approvals.newest(ID) == Approval(
        recovery_id=ID, resource=str(a_key()), token="token-1", until=NOON + 2 * HOUR
    )


def test_the_newest_question_is_the_one_that_is_answered(ledger: Ledger) -> None:
    for number, minutes in enumerate((30, 1, 90)):
        assert ask(ledger, number, later=timedelta(minutes=minutes))
    newest = ledger.approvals.newest(ID)
    assert newest is not None
    assert newest.token == "token-2"


def test_one_question_is_written_once(ledger: Ledger) -> None:
    """F30."""
    assert ask(ledger)
    assert not ask(ledger, 2)
    newest = ledger.approvals.newest(ID)
    assert newest is not None
    assert newest.token == "token-1"


def test_a_question_is_forgotten_a_while_after_its_time(ledger: Ledger) -> None:
    ask(ledger)
    assert int(items()[0]["forget_at"]["N"]) == int((NOON + 2 * HOUR + REMEMBERED).timestamp())
