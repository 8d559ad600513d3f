"""The night itself: deploy, wait for the hour, watch, rehearse, judge."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from embedded import ACCOUNT
from embedded.aws import EmbeddedAws
from embedded.tryout import ledger, promise, screen
from embedded.tryout.ledger import Told
from embedded.tryout.promise import Kept
from embedded.tryout.scenario import AWAY, HOME, Scenario, furnish

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = Path(__file__).with_name("settings.json")
RATE = 20.0
"""Embedded seconds in one second: an hour of the night takes three minutes."""

LONGEST_SECONDS = 170.0
"""After so long, in seconds of this machine, the night is over, whatever was reached."""

DURATIONS = {
    "snapshot": 60.0,
    "copy": 120.0,
    "volume": 20.0,
    "db_snapshot": 90.0,
    "db_copy": 150.0,
    "db_restore": 240.0,
}
"""How long AWS takes for things, in embedded seconds: in proportion to what is usual for such small resources."""


def run(*, keep: bool, directory: Path) -> int:
    """The exit code, 0 when every promise was kept. `directory` holds report.json and the assembly deployed."""
    console = Console()
    directory.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="holdfast-try-"))
    began = time.monotonic()
    console.print("[bold]Holdfast[/]: a night of backups on an AWS that runs on this machine\n")
    synth = _start_synth(directory)
    aws = EmbeddedAws.start(data)
    try:
        aws.set_durations(**dict.fromkeys(DURATIONS, 1.0))  # furnishing is not part of the night
        with console.status("furnishing an account: volumes with file systems, an instance, a database, a cluster"):
            scenario = furnish(aws, data)
        with console.status("synthesising the CDK app"):
            _finish_synth(synth, directory)
        with console.status("deploying it, as cdk deploy would"):
            aws.deploy(directory / "cdk.out")
        console.print(f"ready after {time.monotonic() - began:.0f} s; the night begins\n")
        told = _night(aws, scenario, console)
        kept = promise.judge(aws, scenario, told)
        screen.morning(console, told, kept)
        _report(directory / "report.json", told, kept, seconds=time.monotonic() - began)
        _further(console, aws, directory, keep=keep)
        if keep:
            _wait_for_the_end(console)
        return 0 if kept.all else 1
    finally:
        aws.stop()
        if keep:
            console.print(f"its data stays in {data}")
        else:
            shutil.rmtree(data, ignore_errors=True)


def _start_synth(directory: Path) -> subprocess.Popen[bytes]:
    out = directory / "cdk.out"
    environment = {**os.environ, "CDK_OUTDIR": str(out), "HOLDFAST_SETTINGS_FILE": str(SETTINGS)}
    log = (directory / "synth.log").open("wb")
    with log:
        return subprocess.Popen(
            [sys.executable, "app.py"], cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def _finish_synth(synth: subprocess.Popen[bytes], directory: Path) -> None:
    if synth.wait() != 0:
        log = (directory / "synth.log").read_text(errors="replace")
        raise RuntimeError(f"the CDK app does not synthesise:\n{log[-3000:]}")


def _night(aws: EmbeddedAws, scenario: Scenario, console: Console) -> list[Told]:
    """What the ledger says when everything is done, or when the night was too long."""
    tonight = (aws.now() + timedelta(days=1)).replace(hour=2, minute=0, second=30, microsecond=0)
    aws.set_clock(tonight)
    aws.set_durations(**DURATIONS)
    if scenario.load is not None:
        scenario.load.start()
    aws.set_rate(RATE)
    for verb in ("take-inventory", "sweep"):  # nothing is owed before what AWS has is compared with the ledger
        _invoke(aws, f"holdfast-{verb}")
    until = time.monotonic() + LONGEST_SECONDS
    rehearsals: dict[str, str] = {}
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while True:
            told = ledger.read(aws, scenario.things)
            _start_rehearsals(aws, told, rehearsals)
            running = [key for key, arn in rehearsals.items() if _is_running(aws, arn)]
            live.update(screen.night(told, _doing(told, running), f"{aws.now():%H:%M:%S}"))
            is_done = len(rehearsals) == len(_to_rehearse(told)) and not running and all(map(_is_settled, told))
            if is_done or time.monotonic() > until:
                break
            time.sleep(0.5)
    if scenario.load is not None:
        scenario.load.stop()
    aws.set_rate(1.0)
    return ledger.read(aws, scenario.things)


def _to_rehearse(told: Sequence[Told]) -> list[Told]:
    """A volume, the partitioned disk, the instance's set and the database: every way a restore can go."""
    wanted = {("volume", "xfs"), ("volume", "GPT: ext4 and FAT")}
    return [
        one for one in told if one.thing.kind in ("instance", "database") or (one.thing.kind, one.thing.what) in wanted
    ]


def _start_rehearsals(aws: EmbeddedAws, told: Sequence[Told], rehearsals: dict[str, str]) -> None:
    machine = f"arn:aws:states:{AWAY}:{ACCOUNT}:stateMachine:holdfast-rehearse"
    for one in _to_rehearse(told):
        if one.thing.key not in rehearsals and one.has_point and one.has_copies:
            answer = aws.client("stepfunctions", AWAY).start_execution(
                stateMachineArn=machine, input=json.dumps({"resource": one.thing.key})
            )
            rehearsals[one.thing.key] = answer["executionArn"]


def _is_running(aws: EmbeddedAws, arn: str) -> bool:
    return aws.client("stepfunctions", AWAY).describe_execution(executionArn=arn)["status"] == "RUNNING"


def _is_settled(one: Told) -> bool:
    if one.thing.expects != "protected":
        return bool(one.resource)
    return bool(one.verdict)


def _doing(told: Sequence[Told], rehearsing: Sequence[str]) -> str:
    protected = [one for one in told if one.thing.expects == "protected"]
    points = sum(one.has_point for one in protected)
    copies = sum(one.has_copies for one in protected)
    doing = f"{points} of {len(protected)} points, {copies} of {len(protected)} copied"
    return doing + (f"; rehearsing {', '.join(rehearsing)}" if rehearsing else "")


def _invoke(aws: EmbeddedAws, function: str) -> None:
    answer = aws.client("lambda", HOME, read_timeout=120).invoke(FunctionName=function, Payload=b"{}")
    if "FunctionError" in answer:
        raise RuntimeError(f"{function} failed: {answer['Payload'].read().decode()[:2000]}")


def _report(path: Path, told: Sequence[Told], kept: Kept, *, seconds: float) -> None:
    document: dict[str, Any] = {
        "kept": kept.all,
        "seconds": round(seconds, 1),
        "promises": [{"promise": p.what, "kept": p.is_kept, "seen": p.seen} for p in kept.promises],
        "resources": [_resource(one) for one in told],
    }
    path.write_text(json.dumps(document, indent=2, default=str) + "\n")


def _resource(one: Told) -> dict[str, Any]:
    return {
        "resource": one.thing.key,
        "what": one.thing.what,
        "standing": one.resource.get("standing"),
        "reason": one.resource.get("reason"),
        "point": {
            "slot": one.point.get("slot_at"),
            "status": one.point.get("status"),
            "snapshots": [part["snapshot_id"] for part in one.parts],
            "full_size_bytes": one.full_size_bytes,
            "duration_seconds": one.snapshot_seconds,
        }
        if one.point
        else None,
        "copies": [
            {"region": copy["region"], "status": copy["status"], "snapshot": copy.get("snapshot_id")}
            for copy in one.copies
        ],
        "copy_seconds": one.copy_seconds,
        "verdict": one.verdict or None,
        "rehearsal": {
            "region": one.rehearsal["region"],
            "fitness": one.fitness,
            "recovery_seconds": one.recovery_seconds,
            "evidence": one.rehearsal["evidence"],
        }
        if one.rehearsal
        else None,
    }


def _further(console: Console, aws: EmbeddedAws, directory: Path, *, keep: bool) -> None:
    console.print(f"\nThe same facts for machines: {_shown(directory / 'report.json')}")
    console.print(f"The templates that were deployed: {_shown(directory / 'cdk.out')}")
    console.print("How it works: README.md, then functions/README.md")
    if not keep:
        console.print("Look around in it: make try KEEP=1")
        return
    console.print(
        f"\nThe embedded AWS is still running. In another terminal:\n\n"
        f"  export AWS_ENDPOINT_URL={aws.endpoint} AWS_ACCESS_KEY_ID={ACCOUNT} AWS_SECRET_ACCESS_KEY=test\n"
        f"  aws --region {HOME} dynamodb scan --table-name {ledger.TABLE}\n"
        f"  aws --region {AWAY} ec2 describe-snapshots --owner-ids self\n"
        f"  aws --region {AWAY} stepfunctions list-executions --state-machine-arn "
        f"arn:aws:states:{AWAY}:{ACCOUNT}:stateMachine:holdfast-rehearse\n",
        soft_wrap=True,
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _wait_for_the_end(console: Console) -> None:
    console.print("Stop it with Ctrl-C.")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("stopping")
