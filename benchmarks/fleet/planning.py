"""What planning and one minute's tracking cost for each resource that is due, in fleets of different sizes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import process_time
from typing import Any
from unittest.mock import patch

from benchmarks.fleet.night import Night
from benchmarks.fleet.world import FleetWorld, at_work
from functions.core import instants
from functions.core.resources import Kind, ResourceKey
from functions.ledger.resources import SHARDS
from tests.builders import ACCOUNT, HOME, NOON

TOMORROW = NOON + timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """For each resource that was due: requests to AWS, and milliseconds of CPU without those of the simulated AWS."""

    fleet: int
    due: int
    calls: float
    cpu_ms: float


@contextmanager
def _aws_apart(world: FleetWorld) -> Iterator[list[float]]:
    """Inside, the CPU seconds that the simulated AWS takes are added up: in the cloud they are not the function's."""
    seconds = [0.0]
    carry = world.wire.carry

    def timed(*asked: Any) -> Any:
        began = process_time()
        try:
            return carry(*asked)
        finally:
            seconds[0] += process_time() - began

    with patch.object(world.wire, "carry", timed):
        yield seconds


@contextmanager
def _settled_memory() -> Iterator[None]:
    """Inside, Python does not search the simulated AWS, which lives in its memory, for what may be forgotten."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def planned(fleet: int, *, due: int = 1000) -> Planning:
    """A fleet in which so many are due at noon and the others tomorrow: planned and tracked once."""
    night = Night(size=due)
    world = night.world
    with at_work(world):
        night.build()
        [like] = world.table.of(f"volume/{HOME}/{next(iter(world.ec2[HOME].volumes))}", "resource")
        for number in range(fleet - due):
            id = f"vol-{number:016x}f"
            key = ResourceKey(account=ACCOUNT, region=HOME, kind=Kind.VOLUME, id=id)
            shard = sum(id.encode()) % SHARDS
            row = like | {
                "pk": {"S": str(key)},
                "listed_in": {"S": f"resource#{shard}"},
                "open_in": {"S": f"plan#{shard}"},
                "open_until": {"S": instants.text(TOMORROW)},
            }
            world.table.put_item(TableName=world.table.name, Item=row)
        before = world.wire.calls
        with _aws_apart(world) as of_aws, _settled_memory():
            began = process_time()
            for function in ("plan_backups", "track_points"):
                world.invoke(function, {})
            spent = process_time() - began - of_aws[0]
        calls = world.wire.calls - before
    return Planning(fleet=fleet, due=due, calls=calls / due, cpu_ms=1000 * spent / due)
