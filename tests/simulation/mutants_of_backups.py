"""Backups without their defences: claims, looks, and what is believed of AWS."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from functions.aws import clients, ebs_snapshots
from functions.aws import faults as aws_faults
from functions.aws.ebs_snapshots import EbsSnapshots
from functions.aws.ec2_instances import InstanceSnapshots
from functions.core import claims, labels
from functions.core.claims import Claim, Step
from functions.core.errors import AwsBusy
from functions.core.points import Status
from functions.core.resources import Kind
from functions.core.snapshots import State
from functions.handlers import frame, settling, track_points
from functions.handlers.tools import Tools
from functions.ledger.works import Copies, Points
from tests.simulation import faults
from tests.simulation.defences import (
    Mutant,
    after,
    after_two,
    in_quiet,
    replaced,
    unconditional,
    wrapped,
)
from tests.simulation.defences_scenes import (
    BACKUP_ALONE,
    impatient,
)
from tests.simulation.scenarios import SCENARIOS

VOLUME, INSTANCE, DATABASE = (SCENARIOS[f"backup-{kind}"] for kind in ("volume", "instance", "database"))
IMPATIENT = impatient(Kind.VOLUME)


def lost_replies_are_failures(patch: pytest.MonkeyPatch) -> None:
    busy = aws_faults.Meaning(AwsBusy, "It is asked again.")
    patch.setattr(aws_faults, "_lost", lambda _: busy)


def creates_are_repeated(patch: pytest.MonkeyPatch) -> None:
    once: Any = clients.ONCE  # the stubs do not know what a Config holds
    patch.setitem(once.retries, "total_max_attempts", 5)


def names_at_random(patch: pytest.MonkeyPatch) -> None:
    numbers = itertools.count()
    patch.setattr(labels, "database_identifier", lambda *_, **__: f"holdfast-{next(numbers)}")


def everything_may_be_created(status: Any, claimed_at: Any, attempt: int, now: Any) -> Claim:
    return Claim(step=Step.CREATE, reason="an order is an order")


def without_a_look(decide: Any, *known: Any) -> Claim:
    claim = decide(*known)
    return replace(claim, step=Step.CREATE) if claim.step is Step.LOOK_FIRST else claim


def half_a_set(self: EbsSnapshots, slot: Any, *, attempt: int) -> Any:
    found = self._described([{"Name": f"tag:{labels.SLOT}", "Values": [slot.key]}])
    return tuple(snapshot for snapshot in found if snapshot.state is not State.FAILED)


def what_is_under_way_is_complete(status_of: Any, states: Any) -> Status:
    status = status_of(states)
    return Status.COMPLETED if status is Status.CREATED else status


def a_200_is_a_copy(record: Any, copies: Any, copy: Any, claimed_at: Any, snapshot: Any, now: Any) -> bool:
    is_recorded = record(copies, copy, claimed_at, snapshot, now)
    copies.move(replace(copy, status=Status.CREATED), Status.COMPLETED, now=now, snapshot=snapshot)
    return is_recorded


def a_notice_is_the_truth(named: Any, heard: Any, region: str, tools: Tools) -> Any:
    points, copies = named(heard, region, tools)
    for point in points:
        snapshots = tools.snapshots(point.slot.resource.kind, region)
        seen = snapshots.look(part.snapshot_id for part in point.parts)
        told = {id: replace(snapshot, state=State.COMPLETED) for id, snapshot in seen.items()}
        track_points._move_point(point, told, snapshots, tools, frame.now())
    return [], copies


OF_CLAIMS = (
    Mutant(
        name="claims without a condition",
        defence="a slot is claimed by one conditional write",
        invariant=17,
        remove=unconditional(Points, "claim"),
        hunt=after(IMPATIENT, *(("dynamodb.update_item", fault) for fault in faults.OF_TIMING)),
    ),
    Mutant(
        name="copies claimed without a condition",
        defence="a copy is claimed by one conditional write",
        invariant=17,
        remove=unconditional(Copies, "claim"),
        hunt=after(IMPATIENT, *(("dynamodb.update_item", fault) for fault in faults.OF_TIMING)),
    ),
    Mutant(
        name="no grace",
        defence="a claim is somebody's for 11 minutes",
        invariant=1,
        remove=replaced(claims, "GRACE", timedelta(0)),
        hunt=after(IMPATIENT, ("ec2.create_snapshot", faults.OVERTAKEN_BEFORE)),
    ),
    Mutant(
        name="no look after a take-over",
        defence="who takes a claim over looks what it began",
        invariant=1,
        remove=wrapped(claims, "decide", without_a_look),
        hunt=after(VOLUME, ("ec2.create_snapshot", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="no look before a copy",
        defence="who takes a claim over looks what it began",
        invariant=2,
        remove=wrapped(claims, "decide", without_a_look),
        hunt=after(VOLUME, ("ec2.copy_snapshot", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="a claim is given back unseen",
        defence="a claim stands that could not be looked into",
        invariant=1,
        remove=replaced(settling, "claim_stands", nullcontext),
        hunt=after_two(
            VOLUME,
            [("ec2.create_snapshot", faults.CRASH_AFTER)],
            [("ec2.describe_snapshots", faults.THROTTLED), ("ec2.describe_volumes", faults.THROTTLED)],
        ),
    ),
    Mutant(
        name="the SDK repeats creates",
        defence="creates and copies are sent once",
        invariant=3,
        remove=creates_are_repeated,
        hunt=after(VOLUME, ("ec2.create_snapshot", faults.REPLY_LOST)),
    ),
    Mutant(
        name="a lost reply is a failure",
        defence="after a lost reply the claim stands",
        invariant=1,
        remove=lost_replies_are_failures,
        hunt=after(VOLUME, ("ec2.create_snapshot", faults.REPLY_LOST)),
    ),
    Mutant(
        name="every order is carried out",
        defence="an order for what exists is left",
        invariant=17,
        remove=replaced(claims, "decide", everything_may_be_created),
        hunt=after(VOLUME, ("message to snapshot-orders", faults.DOUBLED)),
    ),
    Mutant(
        name="owed once more",
        defence="what is on the ledger is not written over",
        invariant=17,
        remove=unconditional(Points, "owe"),
        hunt=after(VOLUME, ("dynamodb.put_item", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="a copy is owed once more",
        defence="what is on the ledger is not written over",
        invariant=17,
        remove=unconditional(Copies, "owe"),
        hunt=after(VOLUME, ("dynamodb.put_item", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="names of databases at random",
        defence="the name of a database's snapshot is its slot",
        invariant=1,
        remove=names_at_random,
        hunt=after(DATABASE, ("rds.create_db_snapshot", faults.CRASH_AFTER)),
    ),
    Mutant(
        name="tagged later",
        defence="tags ride in the creating call",
        invariant=10,
        remove=replaced(ebs_snapshots, "tagged", lambda _: []),
        hunt=in_quiet(VOLUME),
    ),
    Mutant(
        name="any key",
        defence="copies are encrypted under our key of their Region",
        invariant=11,
        remove=replaced(Tools, "key_alias", "alias/aws/ebs"),
        hunt=in_quiet(VOLUME),
    ),
)


OF_LOOKING = (
    Mutant(
        name="not seen is gone",
        defence="what EC2 does not show is young for 11 minutes",
        invariant=1,
        remove=replaced(track_points, "GRACE", timedelta(0)),
        hunt=after(VOLUME, ("ec2.create_snapshot", faults.SHOWN_LATE)),
    ),
    Mutant(
        name="a copy not seen is gone",
        defence="what EC2 does not show is young for 11 minutes",
        invariant=2,
        remove=replaced(track_points, "GRACE", timedelta(0)),
        hunt=after(VOLUME, ("ec2.copy_snapshot", faults.SHOWN_LATE)),
    ),
    Mutant(
        name="pending is complete",
        defence="a point is complete when AWS says so",
        invariant=15,
        remove=wrapped(track_points, "status_of", what_is_under_way_is_complete),
        hunt=after(BACKUP_ALONE, ("ec2.create_snapshot", faults.STUCK)),
    ),
    Mutant(
        name="a 200 is a copy",
        defence="a copy is what its own Region shows",
        invariant=25,
        remove=wrapped(Copies, "record", a_200_is_a_copy),
        hunt=after(VOLUME, ("ec2.copy_snapshot", faults.KEY_FAILS_SILENTLY)),
    ),
    Mutant(
        name="notices are believed",
        defence="a notice says where to look, and nothing else",
        invariant=15,
        remove=wrapped(track_points, "_named", a_notice_is_the_truth),
        hunt=after(BACKUP_ALONE, ("ec2.create_snapshot", faults.ENDS_IN_ERROR)),
    ),
    Mutant(
        name="half a set is a point",
        defence="of a set with a failed member nothing is found",
        invariant=15,
        remove=replaced(InstanceSnapshots, "find", half_a_set),
        hunt=after_two(
            INSTANCE,
            [("ec2.create_snapshots", faults.ENDS_IN_ERROR)],
            [("dynamodb.update_item", faults.CRASH_AFTER)],
        ),
    ),
)
