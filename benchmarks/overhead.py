"""Measures what Holdfast adds to the time that AWS itself needs to restore: its waits, its looks, its functions' work.

python benchmarks/overhead.py [--json]
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

if not __package__:  # run as a file: then Python looks beside the file, and not where the rooms are
    sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.sizes import Bar
from embedded import ACCOUNT
from embedded.aws import EmbeddedAws
from embedded.databases.waiting import instance_in_state
from embedded.tryout import ledger
from embedded.tryout.night import SETTINGS
from embedded.tryout.scenario import AWAY, HOME, PROTECTED, Thing

ROOT = Path(__file__).parent.parent
SHARE, LEAST_SECONDS = 0.10, 15.0
"""What may be added: a tenth of AWS's time, or 15 seconds where that is more."""

RATE_IN_WAITS = 60.0
"""Embedded seconds in one second while a workflow only waits; while it works the two clocks run alike."""

PATIENCE = timedelta(minutes=10)
LOOKS_EVERY_SECONDS = 0.01
SET_UP = "Verify recovery"
"""The state that is entered once the restored thing stands there with the settings of the original."""

VOLUME_SECONDS = (2.0, 60.0)
DATABASE_SECONDS = (300.0, 900.0)
"""How long AWS takes in the trials: for a volume and for a restored database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """A recovery on the embedded clock: how long it took until it was set up, and how much of that AWS needed."""

    total_seconds: float
    aws_seconds: float

    @property
    def seconds(self) -> float:
        return self.total_seconds - self.aws_seconds

    @property
    def bar_seconds(self) -> float:
        return max(LEAST_SECONDS, SHARE * self.aws_seconds)


def overhead(events: Sequence[dict[str, Any]], *, restore_seconds: float) -> Overhead:
    """What an execution's history, oldest event first, says of a recovery that was handed over.

    AWS took `restore_seconds`. What it needs for changes of the settings counts as ours: it happens because we ask.
    """
    entered = [event for event in events if "stateEnteredEventDetails" in event]
    set_up = next(event["timestamp"] for event in entered if event["stateEnteredEventDetails"]["name"] == SET_UP)
    return Overhead(total_seconds=(set_up - events[0]["timestamp"]).total_seconds(), aws_seconds=restore_seconds)


def run_to_its_end(aws: EmbeddedAws, arn: str) -> list[dict[str, Any]]:
    """The history of an execution that succeeded. Its waits passed quickly and its work at the pace of this machine.

    Errors: RuntimeError with its cause when it failed, or did not end in time.
    """
    states = aws.client("stepfunctions", arn.split(":")[3])
    rate, end = 0.0, time.monotonic() + PATIENCE.total_seconds()
    while (said := states.describe_execution(executionArn=arn))["status"] == "RUNNING" and time.monotonic() < end:
        (newest,) = states.get_execution_history(executionArn=arn, reverseOrder=True, maxResults=1)["events"]
        wanted = RATE_IN_WAITS if newest["type"] == "WaitStateEntered" else 1.0
        if wanted != rate:
            aws.set_rate(rate := wanted)
        time.sleep(LOOKS_EVERY_SECONDS)
    aws.set_rate(1.0)
    if said["status"] != "SUCCEEDED":
        raise RuntimeError(f"{arn} is {said['status']}: {said.get('cause')}")
    pages = states.get_paginator("get_execution_history").paginate(executionArn=arn)
    return [event for page in pages for event in page["events"]]


def recover(aws: EmbeddedAws, region: str, **given: Any) -> list[dict[str, Any]]:
    """The history of one recovery."""
    machine = f"arn:aws:states:{region}:{ACCOUNT}:stateMachine:holdfast-recover"
    started = aws.client("stepfunctions", region).start_execution(stateMachineArn=machine, input=json.dumps(given))
    return run_to_its_end(aws, started["executionArn"])


def measured() -> Iterator[Bar]:
    """Recoveries of a volume from its copy and of a database at home, while AWS takes shorter and longer."""
    with deployed() as aws:
        volume, database = furnished(aws)
        for thing, region in ((volume, AWAY), (database, HOME)):
            recover(aws, region, resource=thing.key, point_in_time=False)  # a function's first call loads it
        for seconds in VOLUME_SECONDS:
            aws.set_durations(volume=seconds)
            found = overhead(recover(aws, AWAY, resource=volume.key), restore_seconds=seconds)
            yield _bar(f"volume that takes AWS {seconds:.0f} s", found)
        for seconds in DATABASE_SECONDS:
            aws.set_durations(db_restore=seconds)
            events = recover(aws, HOME, resource=database.key, point_in_time=False)
            found = overhead(events, restore_seconds=seconds)
            yield _bar(f"database that takes AWS {seconds:.0f} s", found)


@contextmanager
def deployed() -> Iterator[EmbeddedAws]:
    """Holdfast on an embedded AWS of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        assembly = Path(folder) / "cdk.out"
        subprocess.run(  # noqa: S603 - our own app under our own Python
            [sys.executable, str(ROOT / "app.py")],
            cwd=ROOT,
            env={**os.environ, "CDK_OUTDIR": str(assembly), "HOLDFAST_SETTINGS_FILE": str(SETTINGS)},
            check=True,
            stdout=sys.stderr,
        )
        with EmbeddedAws.start(Path(folder) / "aws") as aws:
            aws.deploy(assembly)
            yield aws


def furnished(aws: EmbeddedAws) -> tuple[Thing, Thing]:
    """A volume and a protected database, each with a point and its copy."""
    id = aws.client("ec2", HOME).create_volume(
        AvailabilityZone=f"{HOME}a",
        Size=1,
        VolumeType="gp3",
        TagSpecifications=[{"ResourceType": "volume", "Tags": PROTECTED}],
    )["VolumeId"]
    rds = aws.client("rds", HOME)
    rds.create_db_instance(
        DBInstanceIdentifier="shop",
        Engine="postgres",
        DBInstanceClass="db.t4g.micro",
        AllocatedStorage=20,
        StorageType="gp3",
        MasterUsername="clerk",
        MasterUserPassword=secrets.token_urlsafe(18),
        DeletionProtection=True,
        Tags=PROTECTED,
    )
    instance_in_state(rds, "shop", timeout_seconds=120)
    things = Thing("volume", id, "a volume"), Thing("database", "shop", "a database")
    for verb in ("take-inventory", "sweep", "plan-backups"):
        aws.client("lambda", HOME, read_timeout=120).invoke(FunctionName=f"holdfast-{verb}", Payload=b"{}")
    aws.set_rate(10.0)
    end = time.monotonic() + PATIENCE.total_seconds()
    while not all(told.has_point and told.has_copies for told in ledger.read(aws, list(things))):
        if time.monotonic() > end:
            raise RuntimeError(f"no copies within {PATIENCE}; log: {aws.log_path}")
        time.sleep(0.2)
    aws.set_rate(1.0)
    return things


def _bar(name: str, found: Overhead) -> Bar:
    return Bar(
        name=name,
        value=round(found.seconds, 1),
        bar=round(found.bar_seconds, 1),
        holds=found.seconds <= found.bar_seconds,
        unit="s added",
    )


def main() -> int:
    bars = list(measured())
    if "--json" in sys.argv[1:]:
        sys.stdout.write(json.dumps({"bars": [asdict(bar) for bar in bars]}, indent=2) + "\n")
    else:
        for bar in bars:
            said = "holds" if bar.holds else "BROKEN"
            sys.stdout.write(f"{bar.name:42} {bar.value:8.1f} {bar.unit}   at most {bar.bar:g}: {said}\n")
    return 0 if all(bar.holds for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
