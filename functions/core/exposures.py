"""Who may use our snapshots although nobody meant it: who is a stranger, and which snapshots to look at now.

EBS lists what is public, and what an account may restore that one can name. It does not list what is shared with an
account that nobody knows, and RDS lists neither: there each snapshot has to be asked for its attributes. A run asks so
many, in an order that leaves none out.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

EVERYBODY = "all"
"""AWS's word for public, in EBS and in RDS."""

EVERY = timedelta(minutes=5)
"""How often somebody looks."""

YOUNG = timedelta(hours=1)


class Family(StrEnum):
    """Snapshots that AWS shares by the same call; the word is that of the console."""

    EBS = "snapshot"
    DATABASE = "DB snapshot"
    CLUSTER = "DB cluster snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shareable:
    """One of our snapshots, as far as it matters who else may read it. `resource` is what its tag says."""

    family: Family
    region: str
    id: str
    resource: str
    started_at: datetime | None = None
    is_encrypted: bool = False
    is_copy: bool = False
    kms_key_id: str | None = None

    @property
    def may_be_public_unlisted(self) -> bool:
        """RDS shares with everybody only what is not encrypted, and has no listing of ours that are."""
        return self.family is not Family.EBS and not self.is_encrypted


class Shares(Protocol):
    """The port: who may use the snapshots of one family in one Region."""

    family: Family
    region: str

    def ours(self) -> Iterator[Shareable]:
        """Every snapshot here that Holdfast made, also one whose tags somebody took off; complete, or an error."""
        ...

    def find(self, id: str) -> Shareable | None:
        """One of ours; None when it does not exist or is not ours."""
        ...

    def listed(self, accounts: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """By account, or EVERYBODY, the ids that AWS itself lists as shared with it; none where it has no listing."""
        ...

    def shared_with(self, id: str) -> frozenset[str] | None:
        """The accounts that may use the snapshot, EVERYBODY among them when it is public; None when it is gone."""
        ...

    def withdraw(self, id: str, accounts: frozenset[str]) -> None:
        """None of these accounts may use the snapshot any more. EBS takes back every share of it, not only these.

        Errors: NotAllowed when the snapshot does not carry our tag.
        """
        ...


def strangers(shared_with: Iterable[str], allowed: frozenset[str]) -> frozenset[str]:
    """Those who may use a snapshot and whom nobody allowed; everybody is always a stranger."""
    return frozenset(shared_with) - (allowed - {EVERYBODY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Whose attributes are asked for in this run, and in how many runs everybody's have been."""

    to_ask: tuple[Shareable, ...]
    rounds: int


def sample(ours: Iterable[Shareable], now: datetime, *, budget: int = 500) -> Sample:
    """First what could be public without a listing, then the young, newest first, of these at most half a budget; then
    the others' turn, which comes for each once in `rounds` runs.

    Whose turn it is follows from the id and the time alone, so nothing has to be remembered between runs. Chance deals
    the ids out: a run asks for a fifth less than its budget on average, and seldom for a little more.
    """
    newest_first = sorted(ours, key=lambda one: (one.started_at is None, one.started_at or now, one.id), reverse=True)
    if len(newest_first) <= budget:
        return Sample(to_ask=tuple(newest_first), rounds=1)
    pressing = [one for one in newest_first if one.may_be_public_unlisted]
    pressing += [one for one in newest_first if _is_young(one, now) and not one.may_be_public_unlisted]
    first = {one.id: one for one in pressing[: budget // 2]}
    others = [one for one in newest_first if one.id not in first]
    rounds = 1  # powers of two: while their number grows, most snapshots keep their turn
    while len(others) > rounds * (budget - len(first)) * 4 / 5:
        rounds *= 2
    turn = int(now.timestamp() // EVERY.total_seconds()) % rounds
    theirs = (one for one in others if zlib.crc32(one.id.encode()) % rounds == turn)
    return Sample(to_ask=(*first.values(), *theirs), rounds=rounds)


def _is_young(one: Shareable, now: datetime) -> bool:
    return one.started_at is None or now - one.started_at < YOUNG
