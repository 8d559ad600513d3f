"""The invariants, by number, each checked at the moment at which it could be broken, or once the world is at rest.

The oracles look at the simulated AWS and at the items of the table, never at what the product says of itself, and
carry tables of their own: a change of the product's must not change what it is measured by.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.core.resources import ResourceKey
from functions.core.slots import Slot
from tests.builders import ACCOUNT
from tests.simulation.ec2 import EbsSnapshot, Volume
from tests.simulation.rds import DatabaseSnapshot
from tests.simulation.table import Written
from tests.simulation.wire import Call
from tests.simulation.world import Invocation, Outcome, Violated, Watcher, World

AnySnapshot = EbsSnapshot | DatabaseSnapshot

GRAPH: Mapping[str | None, frozenset[str]] = {
    None: frozenset({"OWED", "MISSED", "CREATED"}),
    "OWED": frozenset({"INTENT", "MISSED", "GONE"}),
    "INTENT": frozenset({"INTENT", "CREATED", "OWED", "FAILED", "GONE"}),
    "CREATED": frozenset({"COMPLETED", "FAILED", "GONE"}),
    "FAILED": frozenset({"INTENT", "OWED", "DELETED"}),
    "GONE": frozenset({"INTENT", "OWED"}),
    "COMPLETED": frozenset({"GONE", "EXPIRED"}),
    "EXPIRED": frozenset({"DELETED"}),
    "MISSED": frozenset(),
    "DELETED": frozenset(),
}
"""From where a point or copy may go where. INTENT to INTENT is a claim that was taken over."""

CREATING = frozenset(
    {
        "create_snapshot",
        "create_snapshots",
        "copy_snapshot",
        "create_db_snapshot",
        "create_db_cluster_snapshot",
        "copy_db_snapshot",
        "copy_db_cluster_snapshot",
    }
)
"""What takes no client token and must be one request."""

OF_ALL = ("managed", "slot", "slot-at", "why", "resource", "policy", "policy-version", "attempt")
OF_POINTS, OF_COPIES = ("copy-to",), ("source", "source-snapshot")
UNCHANGED_FOR = timedelta(hours=72)
EXCEPT_FOR_A_WHILE = timedelta(minutes=11)
"""For how long the ledger may not know yet that somebody deleted what it has."""

CHECKED_AT_THE_CALL = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 16, 17, 18)
CHECKED_AT_REST = (12, 15, 22, 23, 24, 25, 26, 27, 28, 29, 30)
HELD_ELSEWHERE: Mapping[int, str] = {
    19: "tests/hostile/test_model_bits.py",
    20: "tests/hostile/test_what_goes_out.py",
    21: "tests/security/test_granted_is_used.py",
}
"""What a simulation of calls cannot see, and which test holds it."""


class Oracles(Watcher):
    """Every invariant that can be seen in a world. `strict` is off where EC2 hides its snapshots longer than GRACE,
    or the ledger was lost: without a client token nothing can then keep a second one from being begun."""

    def __init__(self, world: World, *, strict: bool = True) -> None:
        self._world = world
        self._strict = strict
        self._expired: dict[tuple[str, str], int] = {}
        self._points_of_day: dict[tuple[str, str], int] = {}
        self._latest_decision: datetime | None = None
        self._policies: dict[str, datetime] = {}
        self.checks = 0

    # At the call

    def request(self, call: Call, number: int) -> None:
        if call.operation in CREATING:
            self._must(3, number == 1, f"{call} was sent {number} times")

    def effect(self, what: str, thing: Any, region: str) -> None:
        match what:
            case "creates":
                self._creates(thing, region)
            case "copies":
                self._copies(thing, region)
            case "marks":
                self._marks(thing)
            case "deletes":
                self._deletes(thing, region)
            case "restores":
                self._restores(thing)
            case "removes":
                self._must(14, _is_of_a_rehearsal(thing.tags), f"{thing.id} is removed and no rehearsal made it")
                self._must(14, thing.made_by == "start_restore", f"{thing.id} is removed and {thing.made_by} made it")
            case _:
                raise AssertionError(what)

    def _creates(self, made: AnySnapshot, region: str) -> None:
        if "holdfast:proof-of" in made.tags:
            self._must(13, _is_of_a_rehearsal(made.tags), f"the proof {made.id} does not say whose it is")
            return
        self._must_be_labelled(made, OF_POINTS)
        if not self._is_strict:
            return
        slot = made.tags["holdfast:slot"]
        for other in self._live(region, slot):
            self._must(1, "holdfast:source-snapshot" in other.tags, f"{made.id} is begun while {other.id} is alive")

    @property
    def _is_strict(self) -> bool:
        """Whether nothing may be begun twice. A clock that jumps while EC2 still hides a snapshot makes it look old and
        gone; it is begun again, and one of them is surplus once both are seen."""
        return self._strict and not self._world.faults_of_clock

    def _copies(self, made: AnySnapshot, region: str) -> None:
        self._must_be_labelled(made, OF_COPIES)
        for other in self._live(region, made.tags["holdfast:slot"]):
            same = other.tags.get("holdfast:source-snapshot") == made.tags["holdfast:source-snapshot"]
            self._must(2, not (same and self._is_strict), f"{made.id} copies what {other.id} is a copy of")
        self._must(11, made.is_encrypted and made.key == "alias/holdfast", f"{made.id} is encrypted under {made.key!r}")

    def _must_be_labelled(self, made: AnySnapshot, more: Iterable[str]) -> None:
        missing = [name for name in (*OF_ALL, *more) if not made.tags.get(f"holdfast:{name}")]
        self._must(10, not missing, f"{made.id} is begun without {', '.join(missing)}")
        self._must(10, "holdfast:state" not in made.tags, f"{made.id} is begun with the mark of the expired")

    def _marks(self, marked: AnySnapshot) -> None:
        caller = self._world.invocation.function
        self._must(8, caller == "mark_expired", f"{caller} marks {marked.id}")
        self._must(8, self._why_going(marked, ("found", "marked")) != "", f"{marked.id} is marked and not EXPIRED")

    def _deletes(self, going: AnySnapshot, region: str) -> None:
        caller = self._world.invocation.function
        if "holdfast:proof-of" in going.tags:
            self._must(14, _is_of_a_rehearsal(going.tags), f"{going.id} is deleted and no rehearsal made it")
            self._must(14, going.made_by == "check_restore", f"{going.id} is deleted and {going.made_by} made it")
            return
        self._must(5, going.tags.get("holdfast:managed") == "1", f"{going.id} is deleted and not ours")
        why = self._why_going(going, ("marked",))
        self._must(5, why != "", f"{going.id} is deleted, and the ledger does not let it go")
        self._must(8, caller == "delete_expired", f"{caller} deletes {going.id}")
        self._must(8, going.tags.get("holdfast:state") == "expired", f"{going.id} is deleted without a mark")
        pk, slot_at = going.tags["holdfast:resource"], going.tags["holdfast:slot-at"]
        if why == "point":
            held = self._held_since(pk, slot_at)
            is_known = held is None or held > self._world.invocation.started_at
            self._must(5, is_known, f"{going.id} is deleted though its point is held since {held}")
        self._must_leave_something(going, region, pk)

    def _must_leave_something(self, going: AnySnapshot, region: str, pk: str) -> None:
        left = list(self._whole_points(pk, without=(region, going.id)))
        had_any = any(True for _ in self._whole_points(pk, without=("", "")))
        self._must(4, bool(left) or not had_any, f"deleting {going.id} leaves {pk} without a completed point")
        verified = self._verified(pk)
        if going.tags["holdfast:slot"] in verified:
            stays = any(item["slot_key"]["S"] in verified for item in left)
            self._must(4, stays, f"deleting {going.id} leaves {pk} without a verified point")

    def _restores(self, made: Volume) -> None:
        caller = self._world.invocation.function
        self._must(13, caller == "start_restore", f"{caller} restores {made.snapshot_id}")
        self._must(13, _is_of_a_rehearsal(made.tags), f"{made.id} does not say which rehearsal made it")
        self._must(13, made.instance_id is None, f"{made.id} is attached to {made.instance_id}")

    def written(self, written: Written) -> None:
        pk, sk = written.key
        if self._world.invocation.function == "score_run":
            adds = written.before is None and sk.startswith(("verdict#", "hold#"))
            self._must(18, adds, f"a verdict writes {pk} {sk}")
        if pk == "permits":  # its sort keys are the names of pools, and some of those begin like a copy's
            return
        if sk.startswith(("point#", "copy#")):
            self._moved(written)
        elif sk.startswith("rehearsal#"):
            self._rehearsed(written)
        elif sk.startswith("surplus#") and written.before is None:
            self._superfluous(written)

    def _superfluous(self, written: Written) -> None:
        pk, region, id = written.key[0], _text(written.after, "region"), _text(written.after, "snapshot_id")
        snapshot = self._snapshot(region, id)
        if snapshot is None or snapshot not in self._live(region, snapshot.tags["holdfast:slot"]):
            return
        slot_at, source = snapshot.tags["holdfast:slot-at"], snapshot.tags.get("holdfast:source-snapshot")
        row = f"copy#{slot_at}#{region}#{source}" if source else f"point#{slot_at}"
        status = _text(self._world.table.items.get((pk, row)), "status")
        is_young = status in ("OWED", "INTENT", "CREATED")
        self._must(4, not is_young, f"{id} is superfluous beside {row} of {pk}, which is {status}")

    def _moved(self, written: Written) -> None:
        before = _text(written.before, "status") if written.before else None
        after = _text(written.after, "status")
        name = f"{written.key[0]} {written.key[1]}"
        if before == after and before != "INTENT":
            return
        caller = self._world.invocation.function if after else ""
        self._must(17, after in GRAPH[before], f"{name} goes from {before} to {after}")
        self._must(17, written.condition is not None, f"{name} is written to {after} without a condition")
        was_complete = written.before is not None and "completed_at" in written.before
        is_point = written.key[1].startswith("point#")
        if is_point and was_complete:
            self._must(17, after in ("COMPLETED", "GONE", "EXPIRED", "DELETED"), f"{name} was complete and is {after}")
        if is_point and after == "EXPIRED":
            self._must(8, caller == "mark_expired", f"{caller} expires {name}")
            self._expires(written)

    def _expires(self, written: Written) -> None:
        world, (pk, sk) = self._world, written.key
        invocation = world.invocation
        name = f"{pk} {sk}"
        self._must(6, not invocation.open_listings, f"{name} expires by a listing that nobody read to its end")
        self._must(6, invocation.listings > 0, f"{name} expires though nothing was listed")
        latest = self._latest_decision
        self._must(6, latest is None or invocation.clock_read >= latest, f"{name} expires by a clock behind {latest}")
        self._latest_decision = invocation.clock_read
        day = (pk, f"{invocation.clock_read:%Y-%m-%d}")
        complete = sum(1 for item in world.table.of(pk, "point#") if _text(item, "status") in ("COMPLETED", "EXPIRED"))
        most = max(1, self._points_of_day.setdefault(day, complete) // 10)
        self._expired[day] = self._expired.get(day, 0) + 1
        self._must(7, self._expired[day] <= most, f"{name} is number {self._expired[day]} of its day, of {most}")
        since = self._policies.get(_text(written.after, "policy"))
        is_settled = since is None or invocation.clock_read - since >= UNCHANGED_FOR
        self._must(7, is_settled, f"{name} expires, and its policy changed at {since}")
        self._must(4, any(True for _ in self._whole_points(pk, without=("", ""))), f"{name} expires and nothing stays")
        policy = world.settings.policies.get(_text(written.after, "policy"))
        if policy is not None and policy.lock is not None and pk.startswith(("volume/", "instance/")):
            until = _instant(_text(written.after, "completed_at")) + timedelta(days=policy.lock.days)
            self._must(5, invocation.clock_read >= until, f"{name} expires, and its policy locks it until {until}")
        for region in (one["S"] for one in written.after.get("copy_to", {"L": []})["L"]):
            for part in _parts(written.after):
                self._must(
                    9, self._was_copied(pk, sk, region, part), f"{name} expires, and {part} has no copy in {region}"
                )

    def policy_changed(self, policy: str, at: datetime) -> None:
        """From then on the policy reads otherwise."""
        self._policies[policy] = at

    def _was_copied(self, pk: str, sk: str, region: str, part: str) -> bool:
        """Whether a complete copy is there, or was and somebody deleted it."""
        row = self._world.table.items.get((pk, f"copy#{sk.removeprefix('point#')}#{region}#{part}"))
        if row is None or "snapshot_id" not in row:
            return False
        id = row["snapshot_id"]["S"]
        copy = self._snapshot(region, id)
        return id in self._world.vanished if copy is None else _is_complete(copy, self._world.now)

    def _rehearsed(self, written: Written) -> None:
        body = json.loads(written.after["body"]["S"])
        if body["evidence"]["fitness"] != "fit":
            return
        held = [one for one in body["evidence"]["assertions"] if one["held"]]
        self._must(16, bool(held), f"the rehearsal {body['id']} is fit and asserted nothing")
        for id in body["snapshot_ids"]:
            snapshot = self._snapshot(body["region"], id)
            made = [
                one
                for one in self.restored
                if one.snapshot_id == id and one.tags.get("holdfast:rehearsal") == body["id"]
            ]
            self._must(16, bool(made), f"the rehearsal {body['id']} is fit and restored no volume of {id}")
            if snapshot is not None:
                self._must(16, _is_complete(snapshot, self._world.now), f"{id} is fit and not complete")
                is_same = isinstance(snapshot, EbsSnapshot) and any(one.blocks == snapshot.blocks for one in made)
                self._must(16, is_same, f"{id} is fit and was restored as something else")

    @property
    def restored(self) -> Iterator[Volume]:
        """Every restored volume that is there."""
        for ec2 in self._world.ec2.values():
            yield from (volume for volume in ec2.volumes.values() if volume.snapshot_id)

    def ended(self, invocation: Invocation, outcome: Outcome) -> None:
        pass

    # At rest

    def at_rest(self) -> None:
        """Once nothing is on its way any more: what must hold in the end, and for ever."""
        world = self._world
        for pk, sk in sorted(world.table.items):
            item = world.table.items[pk, sk]
            if sk.startswith("point#"):
                self._point_at_rest(pk, sk, item)
            elif sk.startswith("copy#") and pk != "permits":
                self._copy_at_rest(pk, sk, item)
        self._everything_is_recorded()
        self._nothing_of_rehearsals_is_left()

    def _point_at_rest(self, pk: str, sk: str, item: Mapping[str, Any]) -> None:
        world, status, name = self._world, _text(item, "status"), f"{pk} {sk}"
        is_told = self._is_told(pk, item)
        if status in ("OWED", "INTENT", "CREATED"):
            if world.now < _instant(_text(item, "deadline")):  # a clock that was ahead has planned it
                return
            self._must(29, is_told, f"{name} is still {status} and nobody was told")
            self._must(23, status == "CREATED", f"{name} is still {status}, and nothing was wrong for hours")
            return
        if status in ("FAILED", "GONE"):
            self._must(23, is_told, f"{name} ended as {status} and nobody was told")
            tried = int(item["attempt"]["N"])
            self._must(23, "completed_at" in item or tried >= 3, f"{name} ended as {status} after {tried} attempts")
            return
        region = pk.split("/")[1]
        ids = _parts(item)
        if status == "COMPLETED":
            for id in ids:
                snapshot = self._snapshot(region, id)
                whole = snapshot is not None and _is_complete(snapshot, world.now)
                self._must(15, whole, f"{name} is COMPLETED and {id} is not at AWS")
                if isinstance(snapshot, EbsSnapshot):
                    is_set = snapshot.set_size == len(ids)
                    self._must(15, is_set, f"{name} is COMPLETED with {len(ids)} of a set of {snapshot.set_size}")
            live = {
                one.id
                for one in self._live(region, _text(item, "slot_key"))
                if "holdfast:source-snapshot" not in one.tags
            }
            self._must(25, live == set(ids), f"{name} has {sorted(live)} at AWS and {ids} on the ledger")
            for there in (one["S"] for one in item.get("copy_to", {"L": []})["L"]):
                for id in ids:
                    row = world.table.items.get((pk, f"copy#{sk.removeprefix('point#')}#{there}#{id}"))
                    self._must(26, row is not None, f"{name} has no row for the copy of {id} in {there}")
        if status == "EXPIRED" and self._held_since(pk, _text(item, "slot_at")) is None:
            for where in world.settings.regions:
                left = [one.id for one in self._live(where, _text(item, "slot_key")) if not self._is_fastened(one)]
                self._must(27, not left, f"{name} is EXPIRED, and nothing keeps {left} in {where}")
        if status == "DELETED":
            for where in world.settings.regions:
                left = [one.id for one in self._live(where, _text(item, "slot_key"))]
                self._must(27, not left, f"{name} is DELETED and {left} live in {where}")

    def _copy_at_rest(self, pk: str, sk: str, item: Mapping[str, Any]) -> None:
        world, status, name = self._world, _text(item, "status"), f"{pk} {sk}"
        point = world.table.items.get((pk, f"point#{_text(item, 'slot_at')}"))
        if point is None or _text(point, "status") in ("EXPIRED", "DELETED", "GONE"):
            return  # nobody is owed a copy of it any more
        if status != "COMPLETED" and world.now < _instant(_text(item, "deadline")):  # a clock that was ahead owes it
            return
        if status == "COMPLETED":
            live = [
                one.id
                for one in self._live(_text(item, "region"), _text(item, "slot_key"))
                if one.tags.get("holdfast:source-snapshot") == _text(item, "source_snapshot_id")
            ]
            self._must(25, live == [_text(item, "snapshot_id")], f"{name} has {live} at AWS")
            return
        self._must(26, self._is_told(pk, point), f"{name} is {status} and nobody was told")
        tried = int(item["attempt"]["N"])
        is_over = status == "CREATED" or tried >= 3
        self._must(26, is_over, f"{name} is still {status} after {tried} attempts, and nothing was wrong for hours")

    def _everything_is_recorded(self) -> None:
        world = self._world
        known: set[str] = set()
        for (_, sk), item in world.table.items.items():
            if sk.startswith("point#"):
                known.update(_parts(item))
            elif sk.startswith(("copy#", "surplus#")) and "snapshot_id" in item:
                known.add(_text(item, "snapshot_id"))
        for region in world.settings.regions:
            for snapshot in self._ours(region):
                # What AWS failed holds nothing, and half a set is no point: both are listed once there is a whole one.
                is_left = snapshot not in self._live(region, snapshot.tags["holdfast:slot"])
                is_kept = is_left and not any(self._whole_points(snapshot.tags["holdfast:resource"], without=("", "")))
                is_fine = snapshot.id in known or bool(snapshot.failure) or is_kept
                self._must(24, is_fine, f"{snapshot.id} in {region} is on no row of the ledger")

    def _nothing_of_rehearsals_is_left(self) -> None:
        for volume in self.restored:
            self._must(28, False, f"{volume.id} of a rehearsal is still there")
        for region, ec2 in self._world.ec2.items():
            for snapshot in ec2.snapshots.values():
                self._must(
                    28, "holdfast:proof-of" not in snapshot.tags, f"the proof {snapshot.id} in {region} is still there"
                )
                self._must(12, snapshot.tags.get("shared") is None, f"{snapshot.id} is shared")

    def _is_told(self, pk: str, point: Mapping[str, Any]) -> bool:
        """Whether somebody was told of a point: it was counted as overdue after its deadline, or it is in a notice."""
        deadline = _instant(_text(point, "deadline"))
        overdue = self._world.cloudwatch.numbers.get("Overdue", ())
        if any(count and at >= deadline for at, count in overdue):
            return True
        return any(pk in notice.subject or pk in notice.body for notice in self._world.sns.notices)

    def nothing_changes(self, replay: Callable[[], None]) -> None:
        """What happened before may be told again, and nothing happens."""
        before = self._standing()
        replay()
        after = self._standing()
        differs = sorted(str(one) for one in before ^ after)
        self._must(22, before == after, f"what was told again changed {', '.join(differs[:4])}")

    def _standing(self) -> set[tuple[str, str, str]]:
        """Where every point and copy stands, and which snapshots there are."""
        works = {
            (pk, sk, _text(item, "status"))
            for (pk, sk), item in self._world.table.items.items()
            if sk.startswith(("point#", "copy#")) and pk != "permits"
        }
        return works | {
            (region, one.id, one.tags.get("holdfast:state", ""))
            for region in self._world.settings.regions
            for one in self._ours(region)
        }

    # Looking

    def _must(self, invariant: int, holds: bool, said: str) -> None:
        self.checks += 1
        if not holds:
            raise Violated(invariant, said)

    def _ours(self, region: str) -> list[AnySnapshot]:
        ebs: list[AnySnapshot] = list(self._world.ec2[region].tagged("holdfast:managed", "1"))
        return ebs + [one for one in self._world.rds[region].snapshots.values() if "holdfast:managed" in one.tags]

    def _live(self, region: str, slot: str) -> list[AnySnapshot]:
        """The snapshots of a slot that have not failed. Of a set that lost a member, to an error or to somebody, none
        counts."""
        ebs = list(self._world.ec2[region].tagged("holdfast:slot", slot))
        broken = {
            one.tags.get("holdfast:attempt")
            for one in ebs
            if one.failure and one.set_size > 1 and "holdfast:source-snapshot" not in one.tags
        }
        broken |= {
            attempt
            for (attempt, size), number in Counter(
                (one.tags.get("holdfast:attempt"), one.set_size)
                for one in ebs
                if "holdfast:source-snapshot" not in one.tags
            ).items()
            if number < size
        }
        live: list[AnySnapshot] = [
            one
            for one in ebs
            if not one.failure
            and ("holdfast:source-snapshot" in one.tags or one.tags.get("holdfast:attempt") not in broken)
        ]
        databases = self._world.rds[region].snapshots.values()
        return live + [one for one in databases if one.tags.get("holdfast:slot") == slot and not one.failure]

    def _snapshot(self, region: str, id: str) -> AnySnapshot | None:
        ebs = self._world.ec2[region].snapshots.get(id)
        if ebs is not None:
            return ebs
        databases = self._world.rds[region].snapshots
        return databases.get((False, id)) or databases.get((True, id))

    def _is_fastened(self, snapshot: AnySnapshot) -> bool:
        """Whether AWS itself refuses to delete it."""
        if not isinstance(snapshot, EbsSnapshot):
            return False
        return snapshot.is_in_use or (snapshot.locked_until is not None and self._world.now < snapshot.locked_until)

    def _why_going(self, snapshot: AnySnapshot, stages: tuple[str, ...]) -> str:
        """By which row of the ledger the snapshot may go: that of its point, or that of a surplus; empty by none."""
        pk, slot_at = snapshot.tags["holdfast:resource"], snapshot.tags["holdfast:slot-at"]
        for item in self._world.table.of(pk, f"surplus#{slot_at}#"):
            if _text(item, "snapshot_id") == snapshot.id and _text(item, "state") in stages:
                return "surplus"
        point = self._world.table.items.get((pk, f"point#{slot_at}"))
        return "point" if point is not None and _text(point, "status") == "EXPIRED" else ""

    def _whole_points(self, pk: str, *, without: tuple[str, str]) -> Iterator[Mapping[str, Any]]:
        """The COMPLETED points of a resource that AWS has whole in some Region, without one snapshot of one Region:
        snapshots of databases are called the same everywhere."""
        home, now = pk.split("/")[1], self._world.now
        for item in self._world.table.of(pk, "point#"):
            ids = _parts(item)
            if _text(item, "status") != "COMPLETED" or not ids:
                continue
            here = [self._snapshot(home, id) for id in ids if (home, id) != without]
            if len(here) == len(ids) and all(one is not None and _is_complete(one, now) for one in here):
                yield item
                continue
            for region in self._world.settings.regions:
                copied = {
                    one.tags.get("holdfast:source-snapshot")
                    for one in self._live(region, _text(item, "slot_key"))
                    if _is_complete(one, now) and (region, one.id) != without
                }
                if copied >= set(ids):
                    yield item
                    break

    def _verified(self, pk: str) -> set[str]:
        """The slots of a resource that a rehearsal found fit."""
        bodies = [json.loads(item["body"]["S"]) for item in self._world.table.of(pk, "rehearsal#")]
        key = ResourceKey.parse(pk, account=ACCOUNT)
        return {
            Slot(resource=key, at=_instant(body["slot"]["at"])).key
            for body in bodies
            if body["evidence"] and body["evidence"]["fitness"] == "fit"
        }

    def _held_since(self, pk: str, slot_at: str) -> datetime | None:
        held: datetime | None = None
        for item in self._world.table.of(pk, f"hold#{slot_at}#"):
            if _text(item, "what") == "released":
                held = None
            elif held is None:
                held = _instant(_text(item, "at"))
        return held


def _text(item: Mapping[str, Any] | None, name: str) -> str:
    return "" if item is None or name not in item else item[name]["S"]


def _parts(item: Mapping[str, Any]) -> list[str]:
    if "parts" not in item or "S" not in item["parts"]:
        return []
    return [part["snapshot_id"] for part in json.loads(item["parts"]["S"]) or ()]


def _instant(written: str) -> datetime:
    return datetime.fromisoformat(written).astimezone(UTC)


def _is_complete(snapshot: AnySnapshot, now: datetime) -> bool:
    if isinstance(snapshot, EbsSnapshot):
        return snapshot.state(now) == "completed"
    return snapshot.status(now) == "available"


def _is_of_a_rehearsal(tags: Mapping[str, str]) -> bool:
    return "holdfast:rehearsal" in tags and tags.get("Name", "").startswith("holdfast-rt-")
