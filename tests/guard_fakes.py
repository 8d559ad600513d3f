"""Sharing, locks and keys of the AWS in memory, behind the ports that watch over them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from functions.core import labels
from functions.core.errors import NotAllowed, SnapshotGone
from functions.core.exposures import EVERYBODY, Family, Shareable, Shares
from functions.core.keys import Key, KeyState
from functions.core.locks import HeldLock, LockRequest, LockState
from functions.core.policies import LockMode
from functions.core.resources import Kind
from tests.builders import ACCOUNT
from tests.fakes import FakeAws, Held

FAMILIES: Mapping[Kind, Family] = {
    Kind.VOLUME: Family.EBS,
    Kind.INSTANCE: Family.EBS,
    Kind.DATABASE: Family.DATABASE,
    Kind.CLUSTER: Family.CLUSTER,
}


def our_key(region: str) -> str:
    """The ARN behind our alias there."""
    return f"arn:aws:kms:{region}:{ACCOUNT}:key/holdfast"


@dataclass(slots=True, kw_only=True)
class Guarded:
    """Who may use which snapshot, by Region and id; which are locked; where keys stand. `asked` counts the calls."""

    aws: FakeAws
    shared: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    locked: dict[tuple[str, str], tuple[LockRequest, datetime]] = field(default_factory=dict)
    keys: dict[tuple[str, str], Key] = field(default_factory=dict)
    binned: dict[tuple[str, str], datetime] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def share(self, region: str, id: str, account: str = EVERYBODY) -> None:
        """Somebody gives the snapshot away."""
        self.shared.setdefault((region, id), set()).add(account)

    def key(self, region: str, arn: str, state: KeyState, deleted_at: datetime | None = None) -> None:
        """The key stands like this from now on."""
        self.keys[region, arn] = Key(arn=arn, region=region, state=state, deleted_at=deleted_at)

    def encrypt(self, region: str, id: str, arn: str) -> None:
        """The snapshot is under this key."""
        held = self.aws.held[region, id]
        held.snapshot = replace(held.snapshot, is_encrypted=True, kms_key_id=arn)


class FakeShares:
    """The port `Shares`. RDS lists nothing, as the real one."""

    def __init__(self, guarded: Guarded, family: Family, region: str) -> None:
        self.family = family
        self.region = region
        self._guarded = guarded

    def ours(self) -> Iterator[Shareable]:
        self._guarded.aws.arrive(self.region, "ours")
        yield from [self._read(id, held) for id, held in self._held()]

    def find(self, id: str) -> Shareable | None:
        return next((self._read(one, held) for one, held in self._held() if one == id), None)

    def listed(self, accounts: Iterable[str]) -> Mapping[str, frozenset[str]]:
        self._guarded.asked["listed"] += 1
        if self.family is not Family.EBS:
            return {account: frozenset() for account in accounts}
        return {
            account: frozenset(
                id
                for (region, id), who in self._guarded.shared.items()
                if region == self.region and account in who and (account == EVERYBODY or EVERYBODY not in who)
            )
            for account in accounts
        }

    def shared_with(self, id: str) -> frozenset[str] | None:
        self._guarded.aws.arrive(self.region, "shared_with")
        self._guarded.asked["shared_with"] += 1
        if (self.region, id) not in self._guarded.aws.held:
            return None
        return frozenset(self._guarded.shared.get((self.region, id), ()))

    def withdraw(self, id: str, accounts: frozenset[str]) -> None:
        self._guarded.aws.arrive(self.region, "withdraw")
        if self._guarded.aws.held[self.region, id].snapshot.tags.get(labels.MANAGED) != "1":
            raise NotAllowed(f"{id} does not carry our tag", hint="Take the share back by hand.")
        kept = set() if self.family is Family.EBS else self._guarded.shared[self.region, id] - accounts
        self._guarded.shared[self.region, id] = kept

    def _held(self) -> list[tuple[str, Held]]:
        return [
            (id, held)
            for (region, id), held in self._guarded.aws.held.items()
            if region == self.region and FAMILIES[held.kind] is self.family
        ]

    def _read(self, id: str, held: Held) -> Shareable:
        return Shareable(
            family=self.family,
            region=self.region,
            id=id,
            resource=held.snapshot.tags.get(labels.RESOURCE, "a resource whose tag is gone"),
            started_at=held.made_at,
            is_encrypted=held.snapshot.is_encrypted,
            is_copy=labels.SOURCE_SNAPSHOT in held.snapshot.tags,
            kms_key_id=held.snapshot.kms_key_id,
        )


class FakeLocks:
    """The port `Locks`."""

    def __init__(self, guarded: Guarded, region: str) -> None:
        self._guarded = guarded
        self._region = region

    def held(self) -> Mapping[str, HeldLock]:
        self._guarded.aws.arrive(self._region, "held")
        return {
            id: HeldLock(state=self._state(request, until), expires_at=until)
            for (region, id), (request, until) in self._guarded.locked.items()
            if region == self._region
        }

    def lock(self, id: str, request: LockRequest) -> None:
        self._guarded.aws.arrive(self._region, "lock")
        held = self._guarded.aws.held.get((self._region, id))
        if held is None:
            raise SnapshotGone(f"{id} does not exist", hint="Nothing is left to lock.")
        held.is_locked = True
        self._guarded.locked[self._region, id] = (request, self._guarded.aws.now + timedelta(days=request.days))

    def _state(self, request: LockRequest, until: datetime) -> LockState:
        if until <= self._guarded.aws.now:
            return LockState.EXPIRED
        if request.mode is LockMode.GOVERNANCE:
            return LockState.GOVERNANCE
        return LockState.COOLING_OFF if request.cool_off_hours else LockState.COMPLIANCE


class FakeKeys:
    """The keys of one Region; ours, and every one that a test did not speak of, is usable."""

    def __init__(self, guarded: Guarded, region: str) -> None:
        self._guarded = guarded
        self._region = region

    def look(self, key_id: str) -> Key:
        self._guarded.aws.arrive(self._region, "look at key")
        arn = our_key(self._region) if key_id == "alias/holdfast" else key_id
        usable = Key(arn=arn, region=self._region, state=KeyState.USABLE)
        return self._guarded.keys.get((self._region, arn), usable)


class FakeRecycleBin:
    """What lies in the bin of one Region."""

    def __init__(self, guarded: Guarded, region: str) -> None:
        self._guarded = guarded
        self._region = region

    def held(self) -> Mapping[str, datetime]:
        self._guarded.aws.arrive(self._region, "bin")
        return {id: until for (region, id), until in self._guarded.binned.items() if region == self._region}


def shares_in(guarded: Guarded, region: str) -> tuple[Shares, ...]:
    """One for each family."""
    return tuple(FakeShares(guarded, family, region) for family in Family)
