"""Withdraw shares: what strangers may use of ours is taken from them. It is deployed only where the settings say
`enforce`, and its role is the only one that can change who a snapshot is shared with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from functions.core.errors import HoldfastError
from functions.core.exposures import Family, Shares, strangers
from functions.core.findings import Concern
from functions.handlers import frame
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class SharesWithdrawn:
    """What is private again, and what is not with the reason why."""

    withdrawn: tuple[str, ...]
    stays: tuple[str, ...]


def withdraw_shares(tools: Tools, now: datetime) -> SharesWithdrawn:
    """Every snapshot that stands on the ledger as exposed, and that AWS says is still shared with strangers, is not.

    The ledger says only where to look. EBS takes back every share of a snapshot: people hear whose was meant.
    """
    allowed = tools.settings.guard.shared_with | {tools.account}
    withdrawn: list[str] = []
    stays: list[str] = []
    exposed = {(finding.region, finding.subject) for finding in tools.ledger.findings.standing(Concern.SHARE)}
    for region in sorted({region for region, _ in exposed} & set(tools.settings.regions)):
        for shares in tools.shares(region):
            for id in sorted(_ids(exposed, region, shares.family)):
                try:
                    said = _withdraw(shares, id, allowed)
                except HoldfastError as problem:
                    stays.append(f"{id} in {region}: {problem}")
                else:
                    withdrawn += said
    if withdrawn:  # what only stays was told when it was found, and its alarm stands
        tools.topic.notify(f"Shares of backups were taken back ({len(withdrawn)})", _notice(withdrawn, stays))
    if stays:
        frame.logger().error("some shares stay", extra={"why": stays})
    return SharesWithdrawn(withdrawn=tuple(withdrawn), stays=tuple(stays))


def _withdraw(shares: Shares, id: str, allowed: frozenset[str]) -> list[str]:
    """What was taken from whom; nothing when no stranger may use the snapshot any more."""
    shared_with = shares.shared_with(id) or frozenset()
    who = strangers(shared_with, allowed)
    if not who:
        return []
    shares.withdraw(id, who)
    said = f"{shares.family} {id} in {shares.region}: {', '.join(sorted(who))}"
    if shares.family is Family.EBS and (meant := shared_with - who):
        said += f"; with them {', '.join(sorted(meant))}, who may be given it again"
    return [said]


def _ids(exposed: set[tuple[str, str]], region: str, family: Family) -> set[str]:
    return {
        subject.removeprefix(f"{family} ")
        for where, subject in exposed
        if where == region and subject.startswith(f"{family} ")
    }


def _notice(withdrawn: list[str], stays: list[str]) -> str:
    lines = [f"- {one}" for one in withdrawn]
    if stays:
        lines += ["", "These could not be taken back; do it by hand:", *(f"- {one}" for one in stays)]
    return "\n".join(lines)


handler = frame.tick(withdraw_shares)
