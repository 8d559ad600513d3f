"""Verify database: the restored database answers, and holds what the policy's checks expect."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from functions.aws.databases.checks import ALL_SECONDS, check_database
from functions.aws.databases.lines import Budget
from functions.core.evidence import judge
from functions.core.rehearsals import Rehearsal
from functions.handlers import frame
from functions.handlers.tools import Tools


def verify_database(rehearsal: Rehearsal, tools: Tools, now: datetime) -> Rehearsal:
    """The rehearsal with its evidence and what it counted. This runs beside the database in the rehearsal's own
    network and reads the master secret there; neither leaves it."""
    budget = Budget(ALL_SECONDS)
    found = [
        check_database(
            one,
            rehearsal.checks,
            consistent_at=rehearsal.consistent_at,
            now=now,
            clients=tools.clients,
            learned=rehearsal.learned,
            is_throwaway=True,
            budget=budget,
        )
        for one in rehearsal.restored
    ]
    return replace(
        rehearsal,
        evidence=judge(assertion for one in found for assertion in one.assertions),
        row_counts={table: rows for one in found for table, rows in one.row_counts.items()},
        estimated_tables=tuple(table for one in found for table in one.estimated_tables),
        first_query_at=min((one.first_query_at for one in found if one.first_query_at), default=None),
        verified_at=frame.now(),
    )


handler = frame.task(Rehearsal)(verify_database)
