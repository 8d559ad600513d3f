"""Every resource is protected, excluded by somebody, or a GAP that is named."""

from __future__ import annotations

import pytest

from functions.core.coverage import Standing
from functions.core.errors import AwsBusy
from functions.core.resources import Kind, ResourceKey
from functions.handlers import take_inventory
from functions.ledger.resources import Known
from tests.builders import a_key, a_resource
from tests.handlers.world import CONTEXT, HOUR, World, example


def take(world: World) -> take_inventory.InventoryTaken:
    return take_inventory.take_inventory(world.tools, world.now)


def known(world: World, key: ResourceKey) -> Known:
    found = world.ledger.resources.get(key)
    assert found is not None
    return found


def test_every_resource_is_counted_and_every_gap_is_named(world: World) -> None:
    world.tools.listed = [
        a_resource(policy="gold"),
        a_resource(id="vol-2", tags={"holdfast:policy": "none", "holdfast:reason": "scratch"}),
        a_resource(id="vol-3"),
        a_resource(Kind.DATABASE, policy="platinum"),
    ]
    taken = take(world)
    assert (taken.protected, taken.excluded, taken.gone) == (1, 1, ())
    assert taken.gaps == (
        "volume/eu-central-1/vol-3: it carries no tag holdfast:policy and there is no default policy",
        "database/eu-central-1/orders: there is no policy named 'platinum'; known are gold",
    )
    assert known(world, a_key()).policy == "gold"
    assert known(world, a_key(id="vol-2")).reason == "scratch"


def test_what_vanished_is_gone_and_its_memory_stays(world: World) -> None:
    """F46."""
    world.tools.listed = [a_resource(policy="gold")]
    take(world)
    world.ledger.resources.planned(a_key(), world.now, due_at=world.now + 24 * HOUR)
    world.tools.listed = []
    world.pass_time(HOUR)
    assert take(world).gone == (str(a_key()),)
    gone = known(world, a_key())
    assert (gone.standing, gone.policy, gone.newest_slot_at) == (Standing.EXCLUDED, None, world.now - HOUR)
    world.pass_time(HOUR)
    assert take(world).gone == ()


def test_what_another_inventory_saw_a_moment_ago_is_not_gone(world: World) -> None:
    """F31: two inventories overlap, and the slower one ends with an older list."""
    world.tools.listed = [a_resource(policy="gold")]
    take(world)
    world.tools.listed = []
    assert take(world).gone == ()


def test_a_listing_that_fails_changes_nothing(world: World) -> None:
    """F06: from half a list the other half would look gone."""
    world.tools.listed = [a_resource(policy="gold")]
    take(world)
    world.pass_time(HOUR)
    world.aws.refuse_next("inventory", AwsBusy("no answer", hint="Again."))
    with pytest.raises(AwsBusy):
        take(world)
    assert known(world, a_key()).standing is Standing.PROTECTED


def test_what_a_rehearsal_made_is_not_protected(world: World) -> None:
    """F73: or every rehearsal would leave backups of itself behind."""
    world.tools.listed = [a_resource(tags={"holdfast:rehearsal": "8c1e2f3a4b5d", "holdfast:policy": "gold"})]
    take(world)
    assert (known(world, a_key()).standing, known(world, a_key()).policy) == (Standing.EXCLUDED, None)


def test_the_members_of_an_instance_are_written_down(world: World) -> None:
    world.tools.listed = [
        a_resource(Kind.INSTANCE, policy="gold", members=("vol-1",)),
        a_resource(id="vol-1", belongs_to=a_key(Kind.INSTANCE).id),
    ]
    assert take(world).protected == 2
    assert known(world, a_key(Kind.INSTANCE)).members == ("vol-1",)
    assert (known(world, a_key(id="vol-1")).by, known(world, a_key(id="vol-1")).policy) == (
        str(a_key(Kind.INSTANCE)),
        None,
    )


def test_the_tick_of_the_example_is_heeded(world: World) -> None:
    """As Lambda calls it."""
    world.tools.listed = [a_resource(policy="gold")]
    assert take_inventory.handler(example("schedule_tick"), CONTEXT) == {
        "protected": 1,
        "excluded": 0,
        "gaps": [],
        "gone": [],
    }
