"""Every setting of the original is on the restored thing, or is named."""

from __future__ import annotations

from functions.core.recoveries import Recovery, Setting
from functions.core.rehearsals import Readiness
from functions.handlers import configure_recovery, start_recovery
from tests.handlers.recoveries import a_recovery
from tests.handlers.world import CONTEXT, MINUTE, World, example

APPLIED = Setting(what="security_groups", is_applied=True)
UNDER_WAY = Setting(what="is_multi_az", is_applied=None, detail="RDS is modifying")
IMPOSSIBLE = Setting(what="domain", is_applied=False, detail="the join needs a secret; join it by hand")


def configured(world: World, recovery: Recovery | None = None) -> Recovery:
    recovery = recovery or start_recovery.start_recovery(a_recovery(), world.tools, world.now)
    return configure_recovery.configure_recovery(recovery, world.tools, world.now)


def test_it_is_not_yet_while_a_setting_is_under_way(world: World) -> None:
    world.recovered.rounds = [(APPLIED, UNDER_WAY)]
    recovery = configured(world)
    assert (recovery.readiness, recovery.configured_at) == (Readiness.NOT_YET, None)
    assert recovery.settings == (APPLIED, UNDER_WAY)


def test_it_is_ready_when_no_setting_is_under_way_any_more(world: World) -> None:
    world.recovered.rounds = [(UNDER_WAY,), (APPLIED,)]
    first = configured(world)
    world.pass_time(MINUTE)
    ready = configured(world, first)
    assert (ready.readiness, ready.configured_at) == (Readiness.READY, world.now)


def test_a_setting_that_cannot_be_applied_is_named_and_ends_nothing(world: World) -> None:
    """Somebody waits for the data."""
    world.recovered.rounds = [(APPLIED, IMPOSSIBLE)]
    recovery = configured(world)
    assert (recovery.readiness, recovery.problem) == (Readiness.READY, "")
    assert IMPOSSIBLE in recovery.settings


def test_the_measured_time_does_not_move_when_it_is_asked_again(world: World) -> None:
    first = configured(world)
    world.pass_time(MINUTE)
    assert configured(world, first) == first


def test_the_settings_of_the_example_are_applied(world: World) -> None:
    """As Lambda calls it."""
    world.recovered.rounds = [(APPLIED,)]
    answer = configure_recovery.handler(example("workflow_configure_recovery"), CONTEXT)
    assert answer["recovery"]["settings"] == [{"what": "security_groups", "is_applied": True, "detail": ""}]
    assert len(world.decisions()) == 1
