"""Findings reach people once when they begin and once when they are over; then they are noted as told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from functions.contracts import published
from functions.core.findings import Changes, Finding
from functions.handlers.tools import Tools

MOST_TOLD = 50
"""Findings that one notice spells out; all of them are on the ledger."""


def tell(changes: Changes, tools: Tools, now: datetime, *, begun: str, over: str) -> None:
    """People and programs have heard what began and what is over, and the ledger says so.

    Told before noted: an end in between tells again, and never leaves somebody unwarned.
    """
    for subject, findings in ((begun, changes.begun), (over, changes.over)):
        if findings:
            tools.topic.notify(f"{subject} ({len(findings)})", _notice(findings, is_over=subject == over))
    for finding in changes.begun:
        tools.bus.publish(published.FINDING_BEGUN, published.finding(finding, account=tools.account, at=now))
        tools.ledger.findings.begin(finding, now)
    for finding in changes.over:
        tools.bus.publish(published.FINDING_OVER, published.finding(finding, account=tools.account, at=now))
        tools.ledger.findings.end(finding, now)


def _notice(findings: Sequence[Finding], *, is_over: bool) -> str:
    shown = findings[:MOST_TOLD]
    lines = [f"- {one.told}" if is_over else f"- {one.told}.\n  {one.next_step}" for one in shown]
    if is_over:
        lines.insert(0, "This does not hold any more:")
    if len(findings) > len(shown):
        lines.append(
            f"... and {len(findings) - len(shown)} more; the ledger has them under finding#{shown[0].concern}."
        )
    return "\n".join(lines)
