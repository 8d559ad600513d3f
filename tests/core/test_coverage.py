"""Every resource gets exactly one answer; the table below walks every branch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core.coverage import POLICY_TAG, REASON_TAG, REHEARSAL_TAG, Coverage, Standing, cover
from functions.core.policies import Lock, LockMode, Settings
from functions.core.resources import Kind, Resource
from tests.builders import AWAY, a_policy, a_resource, some_settings

TAGGED_ONLY = some_settings(a_policy("gold"), a_policy("silver"))
WITH_DEFAULT = some_settings(a_policy("gold"), a_policy("silver"), default_policy="silver")

VOLUME, INSTANCE, DATABASE, CLUSTER = Kind.VOLUME, Kind.INSTANCE, Kind.DATABASE, Kind.CLUSTER
NONE = {POLICY_TAG: "none"}
BY_TAG, BY_DEFAULT, BY_US = f"tag {POLICY_TAG}", "default policy", "holdfast"


def alone(resource: Resource, settings: Settings) -> Coverage:
    (coverage,) = cover([resource], settings)
    return coverage


def an_instance(**more: Any) -> Resource:
    return a_resource(INSTANCE, "i-1", members=("vol-1", "vol-2"), **more)


def its_volume(**more: Any) -> Resource:
    return a_resource(VOLUME, "vol-1", belongs_to="i-1", **more)


def a_cluster(**more: Any) -> Resource:
    return a_resource(CLUSTER, "shop", members=("shop-1",), engine="aurora-postgresql", **more)


def its_member(**more: Any) -> Resource:
    return a_resource(DATABASE, "shop-1", belongs_to="shop", engine="aurora-postgresql", **more)


@pytest.mark.parametrize(
    ("resource", "settings", "standing", "by", "policy"),
    [
        (a_resource(VOLUME, policy="gold"), TAGGED_ONLY, Standing.PROTECTED, BY_TAG, "gold"),
        (a_resource(DATABASE, policy="gold"), TAGGED_ONLY, Standing.PROTECTED, BY_TAG, "gold"),
        (a_resource(CLUSTER, policy="gold"), TAGGED_ONLY, Standing.PROTECTED, BY_TAG, "gold"),
        (an_instance(policy="gold"), TAGGED_ONLY, Standing.PROTECTED, BY_TAG, "gold"),
        (a_resource(VOLUME, policy="gold"), WITH_DEFAULT, Standing.PROTECTED, BY_TAG, "gold"),
        (a_resource(VOLUME), TAGGED_ONLY, Standing.GAP, BY_US, None),
        (a_resource(DATABASE), TAGGED_ONLY, Standing.GAP, BY_US, None),
        (a_resource(CLUSTER), TAGGED_ONLY, Standing.GAP, BY_US, None),
        (an_instance(), TAGGED_ONLY, Standing.EXCLUDED, BY_US, None),
        (a_resource(VOLUME), WITH_DEFAULT, Standing.PROTECTED, BY_DEFAULT, "silver"),
        (a_resource(DATABASE), WITH_DEFAULT, Standing.PROTECTED, BY_DEFAULT, "silver"),
        (an_instance(), WITH_DEFAULT, Standing.PROTECTED, BY_DEFAULT, "silver"),
        (a_resource(VOLUME, tags=NONE), WITH_DEFAULT, Standing.EXCLUDED, BY_TAG, None),
        (an_instance(tags=NONE), WITH_DEFAULT, Standing.EXCLUDED, BY_TAG, None),
        (a_resource(VOLUME, policy="gould"), WITH_DEFAULT, Standing.GAP, BY_TAG, None),
        (a_resource(VOLUME, policy="Gold"), WITH_DEFAULT, Standing.GAP, BY_TAG, None),
        (a_resource(VOLUME, policy=""), WITH_DEFAULT, Standing.GAP, BY_TAG, None),
        (a_resource(INSTANCE, members=()), WITH_DEFAULT, Standing.EXCLUDED, BY_US, None),
        (a_resource(INSTANCE, members=(), policy="gold"), TAGGED_ONLY, Standing.EXCLUDED, BY_US, None),
        (a_resource(VOLUME, tags={REHEARSAL_TAG: "r-1"}), WITH_DEFAULT, Standing.EXCLUDED, BY_US, None),
        (a_resource(VOLUME, tags={REHEARSAL_TAG: "r-1"}, policy="gold"), TAGGED_ONLY, Standing.EXCLUDED, BY_US, None),
        (its_volume(), WITH_DEFAULT, Standing.PROTECTED, BY_DEFAULT, "silver"),
        (its_member(), WITH_DEFAULT, Standing.GAP, BY_US, None),
        (its_member(policy="gold"), WITH_DEFAULT, Standing.GAP, BY_US, None),
    ],
)
def test_a_resource_alone_stands_where_its_tags_and_the_settings_put_it(
    resource: Resource, settings: Settings, standing: Standing, by: str, policy: str | None
) -> None:
    coverage = alone(resource, settings)
    assert (coverage.standing, coverage.by, coverage.policy) == (standing, by, policy)
    assert coverage.reason


def test_an_exclusion_gives_the_reason_on_the_tag() -> None:
    assert alone(a_resource(tags=NONE | {REASON_TAG: " scratch disk "}), WITH_DEFAULT).reason == "scratch disk"


@pytest.mark.parametrize("reason", [{}, {REASON_TAG: ""}, {REASON_TAG: "  "}])
def test_an_exclusion_without_a_reason_says_which_tag_to_add(reason: dict[str, str]) -> None:
    coverage = alone(a_resource(tags=NONE | reason), WITH_DEFAULT)
    assert "no reason" in coverage.reason
    assert REASON_TAG in coverage.reason


def test_a_typo_in_a_policy_names_the_typo_and_the_known_policies() -> None:
    reason = alone(a_resource(policy="gould"), TAGGED_ONLY).reason
    assert "'gould'" in reason
    assert "gold, silver" in reason


def test_an_engine_nobody_has_heard_of_is_a_gap_or_protected_and_never_vanishes() -> None:
    new = a_resource(DATABASE, "warehouse", engine="quantum-sql", state="thinking")
    assert alone(new, TAGGED_ONLY).standing is Standing.GAP
    assert alone(new, WITH_DEFAULT).standing is Standing.PROTECTED


def test_a_volume_of_a_protected_instance_is_protected_by_it_and_gets_no_points_of_its_own() -> None:
    owner = an_instance(policy="gold")
    _, volume = cover([owner, its_volume()], TAGGED_ONLY)
    assert (volume.standing, volume.by, volume.policy) == (Standing.PROTECTED, str(owner.key), None)
    assert "gold" in volume.reason


@pytest.mark.parametrize("tags", [NONE, {POLICY_TAG: "silver"}, {POLICY_TAG: "silvre"}, {REHEARSAL_TAG: "r-1"}])
def test_a_volume_that_speaks_for_itself_is_not_overruled_by_its_instance(tags: dict[str, str]) -> None:
    _, volume = cover([an_instance(policy="gold"), its_volume(tags=tags)], TAGGED_ONLY)
    assert volume == alone(its_volume(tags=tags), TAGGED_ONLY)


@pytest.mark.parametrize("tags", [NONE, {}, {POLICY_TAG: "gould"}])
def test_a_volume_of_an_unprotected_instance_is_judged_by_itself(tags: dict[str, str]) -> None:
    """F47."""
    _, volume = cover([an_instance(tags=tags), its_volume()], TAGGED_ONLY)
    assert volume.standing is Standing.GAP
    _, volume = cover([an_instance(tags=tags), its_volume(policy="gold")], TAGGED_ONLY)
    assert (volume.standing, volume.policy) == (Standing.PROTECTED, "gold")


@pytest.mark.parametrize("tags", [{}, NONE, {POLICY_TAG: "silver"}, {POLICY_TAG: "gould"}])
def test_a_member_of_a_protected_cluster_always_follows_it(tags: dict[str, str]) -> None:
    """F50."""
    owner = a_cluster(policy="gold")
    member, _ = cover([its_member(tags=tags), owner], TAGGED_ONLY)
    assert (member.standing, member.by, member.policy) == (Standing.PROTECTED, str(owner.key), None)


def test_a_member_of_a_cluster_in_a_gap_is_in_the_gap_and_names_the_cluster() -> None:
    _, member = cover([a_cluster(), its_member()], TAGGED_ONLY)
    assert member.standing is Standing.GAP
    assert "shop" in member.reason


@pytest.mark.parametrize(
    "tags", [NONE | {REASON_TAG: "rebuilt nightly"}, {REHEARSAL_TAG: "r-1"}], ids=["by tag", "rehearsal"]
)
def test_a_member_of_an_excluded_cluster_is_excluded_with_it_and_no_gap(tags: dict[str, str]) -> None:
    _, member = cover([a_cluster(tags=tags), its_member()], WITH_DEFAULT)
    assert member.standing is Standing.EXCLUDED


@pytest.mark.parametrize("turned", [False, True])
def test_clusters_of_one_name_in_two_regions_speak_for_their_own_members_only(turned: bool) -> None:
    here, there = a_cluster(policy="gold"), a_cluster(region=AWAY)
    clusters = [there, here] if turned else [here, there]
    answers = {c.resource.key: c for c in cover([*clusters, its_member(), its_member(region=AWAY)], TAGGED_ONLY)}
    assert answers[its_member().key].standing is Standing.PROTECTED
    assert answers[its_member(region=AWAY).key].standing is Standing.GAP


tags = st.dictionaries(
    st.sampled_from([POLICY_TAG, REASON_TAG, REHEARSAL_TAG, "Name"]), st.sampled_from(["gold", "none", "gould", ""])
)
engines = st.sampled_from([None, "postgres", "quantum-sql"])


def some(kind: Kind, *ids: str, owners: tuple[str | None, ...] = (None,), members: tuple[str, ...] = ()) -> Any:
    return st.builds(
        a_resource,
        st.just(kind),
        st.sampled_from(ids),
        tags=tags,
        engine=engines,
        belongs_to=st.sampled_from(owners),
        members=st.sampled_from([(), members]),
    )


resources = st.one_of(
    some(INSTANCE, "i-1", "i-2", members=("vol-1", "vol-2")),
    some(VOLUME, "vol-1", "vol-2", "vol-3", owners=(None, "i-1", "i-2", "i-gone")),
    some(CLUSTER, "shop", "till", members=("shop-1",)),
    some(DATABASE, "shop-1", "shop-2", "orders", owners=(None, "shop", "till", "gone")),
)


@given(st.lists(resources, max_size=8, unique_by=lambda r: r.key), st.sampled_from([TAGGED_ONLY, WITH_DEFAULT]))
def test_every_resource_gets_one_answer_with_a_reason_in_the_order_given(seen, settings) -> None:
    answers = cover(seen, settings)
    assert [answer.resource for answer in answers] == seen
    assert all(answer.by and answer.reason for answer in answers)
    assert all(answer.standing is Standing.PROTECTED for answer in answers if answer.policy is not None)
    protectors = {str(answer.resource.key) for answer in answers if answer.policy is not None}
    followers = [a for a in answers if a.standing is Standing.PROTECTED and a.policy is None]
    assert all(answer.by in protectors for answer in followers), "nobody is protected by one who takes no points"


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("default", [None, "gold"])
def test_a_lock_that_cannot_hold_because_rds_has_none_is_said_where_the_resource_stands(
    kind: Kind, default: str | None
) -> None:
    gold = a_policy(lock=Lock(mode=LockMode.GOVERNANCE, days=7))
    resource = a_resource(kind, policy=None if default else "gold", members=("vol-1",))
    (one,) = cover([resource], some_settings(gold, default_policy=default))
    assert one.standing is Standing.PROTECTED
    assert ("RDS has none" in one.reason) is (kind in (Kind.DATABASE, Kind.CLUSTER))
