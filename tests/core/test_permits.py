from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.permits import (
    POOLS,
    PROBE_AFTER,
    STARTS_AT,
    Operation,
    Pool,
    PoolName,
    limit_after_refusal,
    limit_after_success,
)
from functions.core.resources import Kind
from tests.builders import AWAY, NOON


def a_pool(limit: int, held: int, refused_at: datetime | None = None) -> Pool:
    name = PoolName.of(Operation.COPY, Kind.VOLUME, AWAY)
    return Pool(name=name, limit=limit, holders={f"copy-{n}": NOON for n in range(held)}, refused_at=refused_at)


refusals = st.none() | st.integers(0, 3600).map(lambda seconds: NOON - timedelta(seconds=seconds))
pools = st.builds(a_pool, st.integers(1, 200), st.integers(0, 250), refusals)


@given(pools)
def test_a_pool_never_has_fewer_than_no_permits_and_never_more_than_its_limit(pool: Pool) -> None:
    assert 0 <= pool.free <= pool.limit
    assert pool.free == 0 or pool.free + len(pool.holders) == pool.limit


@given(pools)
def test_a_refusal_never_raises_the_limit_and_always_leaves_one(pool: Pool) -> None:
    limit = limit_after_refusal(pool)
    assert 1 <= limit <= pool.limit
    assert limit <= max(1, len(pool.holders) - 1), "what AWS refused cannot have been in flight"


@given(pools)
def test_success_raises_the_limit_by_one_only_when_all_is_in_use_and_it_was_quiet(pool: Pool) -> None:
    limit = limit_after_success(pool, NOON)
    quiet = pool.refused_at is None or NOON - pool.refused_at >= PROBE_AFTER
    assert limit - pool.limit == (1 if quiet and pool.free == 0 else 0)


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_limit_learns_what_aws_really_allows_and_stays_near_it(allowed: int, starts_at: int) -> None:
    pool, now, refused = a_pool(starts_at, 0), NOON, 0
    for _ in range(200):
        now += PROBE_AFTER
        in_flight = pool.limit
        pool = Pool(name=pool.name, limit=pool.limit, holders=a_pool(1, in_flight).holders, refused_at=pool.refused_at)
        if in_flight > allowed:
            refused += 1
            pool = Pool(name=pool.name, limit=limit_after_refusal(pool), holders=pool.holders, refused_at=now)
        else:
            limit = limit_after_success(pool, now)
            pool = Pool(name=pool.name, limit=limit, holders=pool.holders, refused_at=pool.refused_at)
    assert allowed - 1 <= pool.limit <= allowed + 1
    assert refused >= 1


def test_right_after_a_refusal_success_changes_nothing() -> None:
    assert limit_after_success(a_pool(3, 3, NOON - PROBE_AFTER + timedelta(seconds=1)), NOON) == 3
    assert limit_after_success(a_pool(3, 3, NOON - PROBE_AFTER), NOON) == 4


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("operation", Operation)
def test_every_kind_and_operation_has_a_pool_and_a_limit_to_start_at(kind: Kind, operation: Operation) -> None:
    name = PoolName.of(operation, kind, AWAY)
    assert name.family == POOLS[kind]
    assert STARTS_AT[operation, name.family] >= 1
    assert str(name) == f"{operation}#{name.family}#{AWAY}"


def test_volumes_and_instances_share_their_permits_and_databases_do_not() -> None:
    names = {kind: PoolName.of(Operation.CREATE, kind, AWAY) for kind in Kind}
    assert names[Kind.VOLUME] == names[Kind.INSTANCE]
    assert len(set(names.values())) == 3
