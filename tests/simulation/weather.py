"""What happens to an account by itself: outages, clocks that jump, people who delete, lock and hold things."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.builders import AWAY, HOME
from tests.simulation import faults
from tests.simulation.ec2 import EbsSnapshot
from tests.simulation.rds import STATES
from tests.simulation.world import World

EVERY_MINUTES = 30


def weather(world: World) -> None:
    """Every half an hour something may happen."""

    def look() -> None:
        fault = world.choices.at("weather", faults.WEATHER)
        if fault is not None:
            world.note(f"weather: {fault}")
            befall(world, fault)
        if not world.choices.is_quiet:
            world.after("weather", look, minutes=EVERY_MINUTES)

    world.after("weather", look, minutes=7)


def befall(world: World, fault: str) -> None:
    """It happens now."""
    hours = world.random.randint(1, 2)
    match fault:
        case faults.HOME_DOWN | faults.AWAY_DOWN:
            region = HOME if fault == faults.HOME_DOWN else AWAY
            world.regions_down.add(region)
            world.after("region is back", lambda: world.regions_down.discard(region), hours=hours)
        case faults.TABLE_BUSY:
            world.is_table_busy = True
            world.after("table is back", lambda: setattr(world, "is_table_busy", False), minutes=10)
        case faults.TABLE_LOST:
            world.table.forget_everything()
        case faults.CLOCK_AHEAD | faults.CLOCK_BEHIND:
            world.faults_of_clock += 1
            world.clock.skew = timedelta(hours=36 if fault == faults.CLOCK_AHEAD else -36)
            world.after("clock is right", lambda: setattr(world.clock, "skew", timedelta(0)), hours=hours)
        case faults.KEY_DISABLED:
            world.ec2[AWAY].is_key_usable = False
            world.after("key is back", lambda: setattr(world.ec2[AWAY], "is_key_usable", True), hours=hours)
        case faults.SOURCE_DELETED:
            _delete_source(world)
        case faults.DATABASE_BUSY:
            _change_database(world, hours)
        case faults.POINT_DELETED | faults.COPY_DELETED:
            _delete_snapshot(world, HOME if fault == faults.POINT_DELETED else AWAY)
        case faults.POINT_LOCKED | faults.POINT_IN_USE:
            _fasten(world, fault)
        case faults.POINT_HELD:
            _hold(world)
        case _:
            raise AssertionError(fault)


def _ours(world: World, region: str) -> list[EbsSnapshot]:
    return sorted(world.ec2[region].tagged("holdfast:managed", "1"), key=lambda one: one.id)


def _delete_source(world: World) -> None:
    volumes = sorted(id for id, volume in world.ec2[HOME].volumes.items() if volume.instance_id is None)
    if volumes:
        del world.ec2[HOME].volumes[world.random.choice(volumes)]


def _change_database(world: World, hours: int) -> None:
    known = sorted(world.rds[HOME].databases)
    if known:
        database = world.rds[HOME].databases[world.random.choice(known)]
        database.status = world.random.choice(STATES)
        database.busy_until = world.now + timedelta(hours=hours)


def _delete_snapshot(world: World, region: str) -> None:
    chosen = _ours(world, region)
    if chosen:
        snapshot = world.random.choice(chosen)
        world.ec2[region].vanish(snapshot.id)
        world.vanished.add(snapshot.id)


def _fasten(world: World, fault: str) -> None:
    chosen = _ours(world, HOME)
    if not chosen:
        return
    snapshot = world.random.choice(chosen)
    if fault == faults.POINT_IN_USE:
        snapshot.is_in_use = True
    else:
        snapshot.lock_mode, snapshot.locked_until = "governance", world.now + timedelta(days=30)


def _hold(world: World) -> None:
    points = sorted(key for key in world.table.items if key[1].startswith("point#"))
    if not points:
        return
    pk, sk = world.random.choice(points)
    event: dict[str, Any] = {
        "resource": pk,
        "slot": sk.removeprefix("point#"),
        "do": "hold",
        "because": "it looks odd",
        "by": "a person",
    }
    world.invoke("hold_point", event)
