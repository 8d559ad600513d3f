"""Verify database: the restored database answers, and holds what the policy's checks expect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.aws.database_checks import check_database
from functions.core.evidence import judge
from functions.core.rehearsals import Rehearsal
from functions.handlers import frame
from functions.handlers.tools import Tools


def verify_database(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal with its evidence. This runs beside the database in the rehearsal's own network and reads the
    master secret there; neither leaves it."""
    assertions = [
        assertion
        for one in rehearsal.restored
        for assertion in check_database(
            one, rehearsal.checks, consistent_at=rehearsal.consistent_at, now=now, clients=tools.clients
        )
    ]
    return replace(rehearsal, evidence=judge(assertions), verified_at=frame.now())


handler = frame.task(Rehearsal)(verify_database)
