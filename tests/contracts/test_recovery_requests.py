"""What a person writes at three in the morning is read, or refused with every mistake at once."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.contracts import recovery_requests
from functions.core.errors import BadMessage
from functions.core.recoveries import TARGETS, Ending, RecoveryRequest, identity
from functions.core.recovery_sets import MOST_MEMBERS, RecoverySet, WhenOneFails
from functions.core.resources import Kind
from tests.builders import ACCOUNT, HOME, NOON, a_key, a_slot

ORDERS = "database/eu-central-1/orders"
VOLUME = "volume/eu-central-1/vol-0a1b2c3d4e5f60718"


def read(**given: Any) -> RecoveryRequest:
    return recovery_requests.read({"resource": ORDERS} | given, account=ACCOUNT, region=HOME)


def refusal(given: Any) -> str:
    with pytest.raises(BadMessage) as refused:
        recovery_requests.read(given, account=ACCOUNT, region=HOME)
    assert recovery_requests.EXAMPLE in refused.value.hint
    return refused.value.what


def test_the_shortest_request_asks_for_the_latest_good_point_and_nothing_dangerous() -> None:
    assert read() == RecoveryRequest(resource=a_key(Kind.DATABASE), region=HOME)
    request = read()
    assert (request.ending, request.is_dry_run, request.overrides) == (Ending.HAND_OVER, False, {})
    assert (request.before, request.slot_at, request.approval_seconds) == (None, None, None)


def test_a_whole_request_says_everything() -> None:
    request = read(
        point={"before": "2026-11-20T10:00:00+01:00"},
        region=HOME,
        name="orders-friday",
        target={"instance_class": "db.m7g.large", "is_multi_az": False},
        then="tear down",
        dry_run=True,
        point_in_time=False,
        verified_only=True,
        approval_within="90m",
        asked_by="Ines",
    )
    assert request == RecoveryRequest(
        resource=a_key(Kind.DATABASE),
        region=HOME,
        before=datetime(2026, 11, 20, 9, tzinfo=UTC),
        name="orders-friday",
        overrides={"instance_class": "db.m7g.large", "is_multi_az": False},
        ending=Ending.TEAR_DOWN,
        is_dry_run=True,
        may_use_point_in_time=False,
        must_be_verified=True,
        approval_seconds=90 * 60,
        asked_by="Ines",
    )


def test_a_point_is_named_by_its_slot() -> None:
    request = read(point={"slot": "2026-11-20T12:00:00Z"})
    assert (request.slot_at, request.before) == (NOON, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"resource": "orders"}, "resource"),
        ({"resource": "bucket/eu-central-1/orders"}, "resource"),
        ({}, "resource"),
        ({"resource": ORDERS, "point": "newest"}, "point"),
        ({"resource": ORDERS, "point": {"before": "2026-11-20T10:00:00"}}, "point"),
        ({"resource": ORDERS, "point": {"before": "2026-11-20T10:00:00Z", "slot": "2026-11-20T10:00:00Z"}}, "point"),
        ({"resource": ORDERS, "region": "eu-west-1"}, "region: this execution runs in eu-central-1"),
        ({"resource": ORDERS, "name": "Orders"}, "name"),
        ({"resource": ORDERS, "name": "orders-"}, "name"),
        ({"resource": ORDERS, "name": "a--b"}, "name"),
        ({"resource": ORDERS, "name": "a" * 64}, "name"),
        ({"resource": ORDERS, "name": "orders\n"}, "name"),
        ({"resource": ORDERS, "target": {"instance_clas": "db.m7g.large"}}, "target.instance_clas"),
        ({"resource": VOLUME, "target": {"instance_class": "db.m7g.large"}}, "target.instance_class"),
        ({"resource": ORDERS, "target": "large"}, "target"),
        ({"resource": ORDERS, "then": "delete the original"}, "then"),
        ({"resource": ORDERS, "dry_run": "no"}, "dry_run"),
        ({"resource": ORDERS, "dry_run": 1}, "dry_run"),
        ({"resource": ORDERS, "verified_only": "yes"}, "verified_only"),
        ({"resource": ORDERS, "approval_within": "soon"}, "approval_within"),
        ({"resource": ORDERS, "approval_within": 60}, "approval_within"),
        ({"resource": ORDERS, "asked_by": "I" * 201}, "asked_by"),
        ({"resource": ORDERS, "overwrite": True}, "overwrite"),
        (None, "input"),
        ([], "input"),
        ("latest", "input"),
    ],
)
def test_a_mistake_is_refused_with_its_path_and_an_example(given: Any, said: str) -> None:
    lines = [line.strip() for line in refusal(given).splitlines()[1:]]
    assert any(line.startswith(said) for line in lines), lines


def test_every_mistake_is_named_at_once() -> None:
    given = {"resource": ORDERS, "then": "x", "dry_run": "no", "colour": "red"}
    assert len(refusal(given).splitlines()) == 4


def test_every_unknown_setting_is_named_with_those_there_are() -> None:
    said = refusal({"resource": VOLUME, "target": {"port": 1, "colour": "red"}})
    assert "target.colour" in said
    assert "target.port" in said
    assert "availability_zone" in said


@pytest.mark.parametrize("kind", list(Kind))
def test_every_setting_that_a_kind_has_can_be_given(kind: Kind) -> None:
    target = dict.fromkeys(TARGETS[kind], "x")
    given = {"resource": str(a_key(kind)), "target": target}
    assert recovery_requests.read(given, account=ACCOUNT, region=HOME).overrides == target


def test_a_snapshot_is_named_in_place_of_a_resource() -> None:
    assert recovery_requests.snapshot_named({"snapshot": "snap-1"}) == "snap-1"
    assert recovery_requests.snapshot_named({"resource": ORDERS}) is None
    assert recovery_requests.snapshot_named("snap-1") is None
    whole = recovery_requests.of_slot({"snapshot": "snap-1", "dry_run": True}, a_slot())
    assert whole == {"resource": str(a_key()), "point": {"slot": "2026-11-20T12:00:00Z"}, "dry_run": True}
    assert recovery_requests.read(whole, account=ACCOUNT, region=HOME).slot_at == NOON


@pytest.mark.parametrize("more", [{"resource": ORDERS}, {"point": "latest good"}])
def test_a_snapshot_and_something_else_to_restore_are_refused(more: dict[str, Any]) -> None:
    """The point of the snapshot, of another resource: it exists, and is not what was meant."""
    with pytest.raises(BadMessage, match="leave one of them out"):
        recovery_requests.of_slot({"snapshot": "snap-1"} | more, a_slot())


def read_set(**given: Any) -> RecoverySet:
    return recovery_requests.read_set(given, execution="run-1", account=ACCOUNT, region=HOME)


def set_refusal(**given: Any) -> list[str]:
    with pytest.raises(BadMessage) as refused:
        read_set(**given)
    assert recovery_requests.SET_EXAMPLE in refused.value.hint
    return [line.strip() for line in refused.value.what.splitlines()[1:]]


def volumes(number: int) -> list[dict[str, Any]]:
    return [{"resource": f"volume/eu-central-1/vol-{n:017x}"} for n in range(number)]


class TestASet:
    """Several requests in groups; all of it is read before anything begins."""

    def test_its_members_are_in_their_groups_with_what_their_own_recovery_is_given(self) -> None:
        whole = read_set(groups=[[{"resource": ORDERS}], [{"resource": VOLUME, "then": "tear down"}]], asked_by="Ines")
        assert whole.id == identity("run-1", "set")
        assert [(one.resource, one.group) for one in whole.members] == [(ORDERS, 1), (VOLUME, 2)]
        assert whole.members[1].given == {
            "asked_by": "Ines",
            "dry_run": False,
            "resource": VOLUME,
            "then": "tear down",
            "part_of": whole.id,
        }
        assert (whole.when_one_fails, whole.is_dry_run, whole.groups) == (WhenOneFails.STOP, False, 2)

    def test_each_member_can_be_read_by_its_own_recovery(self) -> None:
        for member in read_set(groups=[[{"resource": ORDERS}, {"resource": VOLUME}]], dry_run=True).members:
            request = recovery_requests.read(member.given, account=ACCOUNT, region=HOME)
            assert str(request.resource) == member.resource
            assert request.is_dry_run

    def test_the_mistakes_of_all_members_are_named_at_once_with_their_places(self) -> None:
        lines = set_refusal(
            groups=[[{"resource": "orders"}, {"resource": VOLUME}], [{"resource": ORDERS, "then": "x", "dry_run": 7}]]
        )
        text = "\n".join(lines)
        assert "groups.1.0: " in text
        assert "groups.2.0: " in text
        assert "groups.1.1" not in text
        assert "then" in text
        assert "dry_run" in text

    def test_one_resource_twice_is_refused_wherever_it_stands(self) -> None:
        """Two recoveries of one resource would have one name."""
        assert f"{VOLUME} is in the set more than once" in set_refusal(groups=[volumes(1), [{"resource": VOLUME}] * 2])
        twice = set_refusal(groups=[[{"resource": ORDERS}], [{"resource": ORDERS, "then": "tear down"}]])
        assert twice == [f"{ORDERS} is in the set more than once"]

    def test_a_hundred_members_are_a_set_and_one_more_is_not(self) -> None:
        assert len(read_set(groups=[volumes(MOST_MEMBERS)]).members) == MOST_MEMBERS == 100
        [line] = set_refusal(groups=[volumes(60), volumes(101)[60:]])
        assert line.startswith("101 members; one set has at most 100")

    def test_a_member_that_is_in_earnest_in_a_set_that_is_a_dry_run_is_refused(self) -> None:
        [line] = set_refusal(groups=[[{"resource": ORDERS, "dry_run": False}]], dry_run=True)
        assert line.startswith("groups.1.0: not a dry run")

    def test_a_member_may_be_a_dry_run_in_a_set_that_is_in_earnest(self) -> None:
        whole = read_set(groups=[[{"resource": ORDERS, "dry_run": True}, {"resource": VOLUME}]])
        assert [one.given["dry_run"] for one in whole.members] == [True, False]

    def test_a_member_cannot_say_that_it_is_part_of_another_set(self) -> None:
        """Its recovery would have the name of one in the other."""
        whole = read_set(groups=[[{"resource": ORDERS, "part_of": "another"}]])
        assert whole.members[0].given["part_of"] == whole.id

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({}, "groups"),
            ({"groups": []}, "groups"),
            ({"groups": [[]]}, "groups.0"),
            ({"groups": [{"resource": ORDERS}]}, "groups.0"),
            ({"groups": [[ORDERS]]}, "groups.0.0"),
            ({"groups": [[{"resource": ORDERS}]], "when_one_fails": "panic"}, "when_one_fails"),
            ({"groups": [[{"resource": ORDERS}]], "dry_run": "yes"}, "dry_run"),
            ({"groups": [[{"resource": ORDERS}]], "colour": "red"}, "colour"),
            ({"groups": [[{"snapshot": "snap-1"}]]}, "groups.1.0"),
        ],
    )
    def test_what_is_no_set_is_refused_with_its_path(self, given: Any, said: str) -> None:
        lines = set_refusal(**given)
        assert any(line.startswith(said) for line in lines), lines


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    ["resource", "point", "region", "name", "target", "then", "dry_run", "approval_within", "part_of", "asked_by", "x"]
)


@given(FIELDS, json_values)
def test_whatever_is_written_somewhere_it_is_read_or_refused(field: str, value: Any) -> None:
    """F37: no other error, whatever a person or a machine writes."""
    given = {"resource": ORDERS} | {field: value}
    with contextlib.suppress(BadMessage):
        recovery_requests.read(given, account=ACCOUNT, region=HOME)
    with contextlib.suppress(BadMessage):
        recovery_requests.read_set({"groups": [[given]]}, execution="run-1", account=ACCOUNT, region=HOME)
