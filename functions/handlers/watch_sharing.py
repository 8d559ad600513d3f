"""Watch sharing: who may use our snapshots although the settings do not name them, in every Region in use.

Every five minutes the clock asks for everything: what EBS lists as public, and the attributes of as many as a budget
lets be asked. A logged call that changed the sharing of one snapshot is a hint to look at that one at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

from functions.contracts import logged_calls
from functions.core.errors import HoldfastError
from functions.core.exposures import EVERY, EVERYBODY, Family, Shareable, Shares, sample, strangers
from functions.core.findings import Concern, Finding, changes
from functions.core.plain_text import one_line
from functions.handlers import frame, settling, telling
from functions.handlers.tools import Tools

MOST_KNOWN = 200
"""Of what stands in one family and Region, so much is asked after in a run; the rest stands on, and waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharingWatched:
    """What began and what is over, whose attributes were read, and within how many minutes every snapshot's are."""

    begun: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    standing: int = 0
    asked: int = 0
    each_within_minutes: int = 0
    ignored: str = ""


@dataclass(slots=True, kw_only=True)
class _Look:
    """What one look at one family in one Region saw. `asked` is the whole truth about a snapshot, `listed` is not."""

    shares: Shares
    ours: dict[str, Shareable] = field(default_factory=dict[str, Shareable])
    listed: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    rounds: int = 0
    asked: dict[str, frozenset[str] | None] = field(default_factory=dict[str, "frozenset[str] | None"])

    def at_one(self, id: str) -> None:
        """The snapshot of a hint was asked about, if it is ours."""
        one = self.shares.find(id)
        if one is not None:
            self.ours[one.id] = one
            self._ask([one.id])

    def at_everything(self, known: Iterable[Finding], allowed: frozenset[str], now: datetime) -> None:
        """Everything that AWS lists is known, what stood before was asked about, and the others' turn was kept."""
        self.ours = {one.id: one for one in self.shares.ours()}
        standing = list(known)
        accounts = {finding.what for finding in standing}
        self._list({EVERYBODY, *islice(sorted(accounts), MOST_KNOWN)})
        self._ask(islice(dict.fromkeys(_id(finding) for finding in standing), MOST_KNOWN))
        turn = sample(self.ours.values(), now)
        self.rounds = turn.rounds
        self._ask(one.id for one in turn.to_ask)
        # Whoever was given one snapshot may have been given others: EBS lists what an account may use that one names.
        self._list({who for found in self.exposed(allowed).values() for who in found} - accounts - {EVERYBODY})

    def exposed(self, allowed: frozenset[str]) -> dict[str, frozenset[str]]:
        """By id, who may use a snapshot and is not allowed to."""
        seen = {
            id: frozenset(self.asked.get(id) or ()) | self.listed.get(id, set())
            for id in self.asked.keys() | self.listed.keys()
        }
        return {id: who for id, all_of_them in seen.items() if (who := strangers(all_of_them, allowed))}

    def _ask(self, ids: Iterable[str]) -> None:
        for id in ids:
            if id not in self.asked:
                self.asked[id] = self.shares.shared_with(id) if id in self.ours else None

    def _list(self, accounts: set[str]) -> None:
        for account, ids in self.shares.listed(accounts).items() if accounts else ():
            for id in ids & self.ours.keys():
                self.listed.setdefault(id, set()).add(account)


def watch_sharing(event: dict[str, Any], tools: Tools, now: datetime) -> SharingWatched:
    """Every exposure that this run saw is told and on the ledger, and every one that it saw to be over.

    What goes wrong with one family or Region is raised after everything else is done.
    """
    call = logged_calls.read(event)
    if call is not None and (call.account != tools.account or call.region not in tools.settings.regions):
        return SharingWatched(ignored=f"a call of account {call.account} in {call.region} is none of ours")
    hinted = call.shared if call else None
    troubles: list[HoldfastError] = []
    allowed = tools.settings.guard.shared_with | {tools.account}
    standing = tools.ledger.findings.standing(Concern.SHARE)
    looks: list[_Look] = []
    for region in (call.region,) if call else tools.settings.regions:
        for shares in tools.shares(region):
            if hinted is None or hinted[0] is shares.family:
                looks.append(look := _Look(shares=shares))
                known = [finding for finding in standing if _is_of(finding, shares)]
                with settling.apart(troubles):
                    look.at_one(hinted[1]) if hinted else look.at_everything(known, allowed, now)
    changed = changes(
        (finding for look in looks for finding in _findings(look, allowed)),
        standing,
        was_judged=lambda finding: any(_is_of(finding, look.shares) and _id(finding) in look.asked for look in looks),
    )
    telling.tell(changed, tools, now, begun="Backups are shared with strangers", over="Backups are private again")
    left = len(standing) + len(changed.begun) - len(changed.over)
    if call is None:
        tools.health.count(Exposed=left)
    if troubles:
        raise troubles[0]
    slowest = max((look.rounds for look in looks), default=0)
    return SharingWatched(
        begun=tuple(one_line(finding.told) for finding in changed.begun),
        over=tuple(one_line(finding.told) for finding in changed.over),
        standing=left,
        asked=sum(len(look.asked) for look in looks),
        each_within_minutes=slowest * int(EVERY.total_seconds() // 60),
    )


def _findings(look: _Look, allowed: frozenset[str]) -> Iterator[Finding]:
    family, region = look.shares.family, look.shares.region
    for id, who in sorted(look.exposed(allowed).items()):
        of = f"the {family} {id} in {region}, of {one_line(look.ours[id].resource)},"
        for account in sorted(who):
            told = f"{of} is shared with account {account}, which guard.shared_with does not name"
            if account == EVERYBODY:
                told = f"{of} is public: everybody can copy and read it"
            yield Finding(
                concern=Concern.SHARE,
                region=region,
                subject=f"{family} {id}",
                what=account,
                told=told,
                next_step=_next_step(family, region, id, account),
            )


def _next_step(family: Family, region: str, id: str, account: str) -> str:
    """How a person takes the share back."""
    match family:
        case Family.EBS:
            whom = "--group-names all" if account == EVERYBODY else f"--user-ids {account}"
            call = (
                f"ec2 modify-snapshot-attribute --snapshot-id {id} --attribute createVolumePermission "
                f"--operation-type remove {whom}"
            )
        case Family.DATABASE:
            call = f"rds modify-db-snapshot-attribute --db-snapshot-identifier {id}"
        case Family.CLUSTER:
            call = f"rds modify-db-cluster-snapshot-attribute --db-cluster-snapshot-identifier {id}"
    if family is not Family.EBS:
        call = f"{call} --attribute-name restore --values-to-remove {account}"
    if account == EVERYBODY:
        return f"Take it back: aws --region {region} {call}; CloudTrail says who gave it."
    return (
        f"Take it back: aws --region {region} {call}; CloudTrail says who gave it. If it is meant, add the account to "
        "guard.shared_with in cdk.json and deploy."
    )


def _is_of(finding: Finding, shares: Shares) -> bool:
    return finding.region == shares.region and finding.subject.startswith(f"{shares.family} ")


def _id(finding: Finding) -> str:
    return finding.subject.rpartition(" ")[2]


handler = frame.event(watch_sharing)
