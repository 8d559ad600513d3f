from __future__ import annotations

from functions.core import instants, restores
from functions.core.coverage import REHEARSAL_TAG, Standing, cover
from functions.core.resources import Kind
from functions.core.restores import EXPIRES_TAG, RestoreOrder
from tests.builders import AWAY, NOON, a_resource, some_settings

ORDER = RestoreOrder(rehearsal_id="r-1", kind=Kind.VOLUME, region=AWAY, snapshot_ids=("snap-1",), expires_at=NOON)


def test_what_a_rehearsal_makes_says_whose_it_is_and_when_it_may_go() -> None:
    tags = restores.tags(ORDER)
    assert tags[REHEARSAL_TAG] == "r-1"
    assert instants.parse(tags[EXPIRES_TAG]) == NOON


def test_what_a_rehearsal_makes_is_never_backed_up() -> None:
    (coverage,) = cover([a_resource(tags=restores.tags(ORDER))], some_settings(default_policy="gold"))
    assert coverage.standing is Standing.EXCLUDED
