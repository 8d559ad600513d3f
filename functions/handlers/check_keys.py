"""Check keys: where the keys stand that our points are encrypted with, and whether copies lie under ours.

Once a day, and at once after a logged call that takes a key away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.contracts import logged_calls
from functions.core.errors import HoldfastError
from functions.core.exposures import Shareable
from functions.core.findings import Concern, Finding, changes
from functions.core.keys import Key, KeyState, trouble
from functions.core.plain_text import one_line
from functions.handlers import frame, settling, telling
from functions.handlers.tools import Tools


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysChecked:
    """What began and what is over, how many keys were looked at, and which could not be."""

    begun: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    looked_at: int = 0
    unseen: tuple[str, ...] = ()
    ignored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """One Region: our own key, the others by ARN, and the snapshots that need each."""

    region: str
    own: Key
    keys: dict[str, Key]
    snapshots: tuple[Shareable, ...]


def check_keys(event: dict[str, Any], tools: Tools, now: datetime) -> KeysChecked:
    """Every key trouble that this run saw is told and on the ledger, and every one that it saw to be over.

    A Region that does not answer is raised after everything else is done, and nothing there is judged.
    """
    call = logged_calls.read(event)
    if call is not None and (call.account != tools.account or call.region not in tools.settings.regions):
        return KeysChecked(ignored=f"a call of account {call.account} in {call.region} is none of ours")
    troubles: list[HoldfastError] = []
    looks: dict[str, _Look] = {}
    for region in (call.region,) if call else tools.settings.regions:
        with settling.apart(troubles):
            looks[region] = _look(region, tools)
    changed = changes(
        (finding for look in looks.values() for finding in _findings(look, tools)),
        tools.ledger.findings.standing(Concern.KEY),
        was_judged=lambda finding: _is_judged(finding, looks),
    )
    telling.tell(changed, tools, now, begun="Keys of backups need you", over="Keys of backups are well again")
    if troubles:
        raise troubles[0]
    seen = [key for look in looks.values() for key in look.keys.values()]
    return KeysChecked(
        begun=tuple(finding.told for finding in changed.begun),
        over=tuple(finding.told for finding in changed.over),
        looked_at=len(seen),
        unseen=tuple(key.arn for key in seen if key.state is KeyState.UNSEEN),
    )


def _look(region: str, tools: Tools) -> _Look:
    snapshots = tuple(one for shares in tools.shares(region) for one in shares.ours())
    keys = tools.keys(region)
    own = keys.look(tools.key_alias)
    needed = {one.kms_key_id for one in snapshots if one.kms_key_id} - {own.arn}
    return _Look(
        region=region,
        own=own,
        keys={own.arn: own} | {arn: keys.look(arn) for arn in sorted(needed)},
        snapshots=snapshots,
    )


def _findings(look: _Look, tools: Tools) -> Iterator[Finding]:
    for key in look.keys.values():
        under = [one for one in look.snapshots if one.kms_key_id == key.arn]
        wrong = trouble(key, snapshots=len(under), resources=len({one.resource for one in under}))
        if wrong is not None:
            yield _finding(look.region, f"key {key.arn}", str(key.state), wrong.told, wrong.next_step)
    allowed = tools.settings.guard.keys | {look.own.arn}
    if not look.own.arn.startswith("arn:"):
        return  # our own key was not found or not seen, which is told; what is foreign, nobody can say
    for one in look.snapshots:
        if one.is_copy and one.kms_key_id is not None and one.kms_key_id not in allowed:
            yield _finding(
                look.region,
                f"{one.family} {one.id}",
                "foreign key",
                f"the copy {one.id} in {look.region}, of {one_line(one.resource)}, is encrypted under {one.kms_key_id},"
                " which is neither Holdfast's key there nor in guard.keys: whoever holds that key decides whether it "
                "can be restored",
                "Find out in CloudTrail who copied it. If it is meant, add the key to guard.keys in cdk.json and "
                "deploy; if not, delete it by hand, and a copy under our key is made again.",
            )


def _finding(region: str, subject: str, what: str, told: str, next_step: str) -> Finding:
    return Finding(concern=Concern.KEY, region=region, subject=subject, what=what, told=told, next_step=next_step)


def _is_judged(finding: Finding, looks: dict[str, _Look]) -> bool:
    """A key that we may not look at any more has not become well."""
    look = looks.get(finding.region)
    if look is None:
        return False
    if not finding.subject.startswith("key "):
        return look.own.arn.startswith("arn:")
    key = look.keys.get(finding.subject.removeprefix("key "))
    return key is None or key.state is not KeyState.UNSEEN


handler = frame.event(check_keys)
