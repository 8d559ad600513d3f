"""What the night promised, and whether it was kept: judged from the ledger, from AWS, and from the clerk's own book."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from embedded.aws import EmbeddedAws
from embedded.tryout.ledger import Told
from embedded.tryout.scenario import AWAY, HOME, Scenario


@dataclass(frozen=True)
class Promise:
    """One promise, whether it was kept, and what was seen."""

    what: str
    is_kept: bool
    seen: str


@dataclass(frozen=True)
class Kept:
    """All promises of the night."""

    promises: tuple[Promise, ...]

    @property
    def all(self) -> bool:
        return all(promise.is_kept for promise in self.promises)


def judge(aws: EmbeddedAws, scenario: Scenario, told: Sequence[Told]) -> Kept:
    """Every promise with what was seen; one that could not be checked is not kept."""
    protected = [one for one in told if one.thing.expects == "protected"]
    return Kept(
        (
            _standing(told),
            _for_each("every protected resource has a completed recovery point", protected, _point_at_aws(aws)),
            _for_each(f"every point has a completed copy in {AWAY}", protected, _copy_at_aws(aws)),
            _for_each("every run has a verdict", protected, lambda one: bool(one.verdict)),
            _rehearsed(protected, "volume"),
            _rehearsed(protected, "database"),
            _no_unfit(protected),
            _orders_found(scenario, protected),
            _nothing_left(aws),
        )
    )


def _standing(told: Sequence[Told]) -> Promise:
    wrong = [one for one in told if one.resource.get("standing") != one.thing.expects]
    seen = ", ".join(f"{one.thing.key} is {one.resource.get('standing', 'not seen')}" for one in wrong)
    what = "protected, excluded and GAP stand where they should"
    return Promise(what, not wrong, seen or f"{len(told)} of {len(told)}")


def _for_each(what: str, told: Sequence[Told], holds: Any) -> Promise:
    missing = [one.thing.key for one in told if not holds(one)]
    seen = f"missing: {', '.join(missing)}" if missing else f"{len(told)} of {len(told)}"
    return Promise(what, not missing and bool(told), seen)


def _point_at_aws(aws: EmbeddedAws) -> Any:
    """The ledger's word is checked with AWS: exactly one snapshot for each part, and it is complete."""
    there = _completed_at(aws, HOME)
    return lambda one: one.has_point and all(part["snapshot_id"] in there for part in one.parts)


def _copy_at_aws(aws: EmbeddedAws) -> Any:
    there = _completed_at(aws, AWAY)
    return lambda one: one.has_copies and all(copy["snapshot_id"] in there for copy in one.copies)


def _completed_at(aws: EmbeddedAws, region: str) -> set[str]:
    ours = [{"Name": "tag:holdfast:managed", "Values": ["1"]}, {"Name": "status", "Values": ["completed"]}]
    pages = aws.client("ec2", region).get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=ours)
    found = {snapshot["SnapshotId"] for page in pages for snapshot in page["Snapshots"]}
    rds = aws.client("rds", region)
    databases = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
    clusters = rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
    found |= {s["DBSnapshotIdentifier"] for s in databases if s["Status"] == "available"}
    found |= {s["DBClusterSnapshotIdentifier"] for s in clusters if s["Status"] == "available"}
    return found


def _rehearsed(told: Sequence[Told], kind: str) -> Promise:
    fit = [one for one in told if one.thing.kind == kind and one.fitness == "fit"]
    seen = "; ".join(f"{one.thing.id}: {one.rehearsal['evidence']['reason']}" for one in fit)
    return Promise(f"at least one {kind} was restored in {AWAY} and is fit", bool(fit), seen or "none")


def _no_unfit(told: Sequence[Told]) -> Promise:
    unfit = [f"{one.thing.key}: {one.rehearsal['evidence']['reason']}" for one in told if one.fitness == "unfit"]
    return Promise("no rehearsed point is unfit", not unfit, "; ".join(unfit) or "none is")


def _orders_found(scenario: Scenario, told: Sequence[Told]) -> Promise:
    """The clerk's own book against the restored database: every order committed before the snapshot is in it."""
    what = "every order committed before the snapshot is in the restored database"
    database = next((one for one in told if one.thing.kind == "database"), None)
    if scenario.load is None or database is None or not database.rehearsal or not database.parts:
        return Promise(what, is_kept=False, seen="the database was not rehearsed")
    if scenario.load.problem is not None:
        return Promise(what, is_kept=False, seen=f"the clerk stopped: {scenario.load.problem}")
    asked_at = datetime.fromisoformat(database.point["claimed_at"]).timestamp()
    committed = scenario.load.committed_before(asked_at)
    counted = _counted(database)
    seen = f"{committed} were committed before the snapshot was asked for, {counted} were found"
    return Promise(what, counted is not None and committed > 0 and counted >= committed, seen)


def _counted(database: Told) -> int | None:
    """The number that the check `select count(*)` saw."""
    for assertion in database.rehearsal["evidence"]["assertions"]:
        number = re.search(r"\d+", assertion["detail"].replace(",", ""))
        if "count(*)" in assertion["what"] and number:
            return int(number[0])
    return None


def _nothing_left(aws: EmbeddedAws) -> Promise:
    tag = [{"Name": "tag-key", "Values": ["holdfast:rehearsal"]}]
    ec2, rds = aws.client("ec2", AWAY), aws.client("rds", AWAY)
    left = [volume["VolumeId"] for volume in ec2.describe_volumes(Filters=tag)["Volumes"]]
    left += [s["SnapshotId"] for s in ec2.describe_snapshots(OwnerIds=["self"], Filters=tag)["Snapshots"]]
    left += [i["DBInstanceIdentifier"] for i in rds.describe_db_instances()["DBInstances"]]
    left += [c["DBClusterIdentifier"] for c in rds.describe_db_clusters()["DBClusters"]]
    return Promise("rehearsals left nothing behind", not left, ", ".join(left) or "nothing is left")
