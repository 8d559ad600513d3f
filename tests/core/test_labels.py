"""Tags are written by us and read back from a world in which anybody may have changed them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.core import labels
from functions.core.errors import BadMessage
from functions.core.labels import Label
from functions.core.resources import Kind
from functions.core.slots import Slot, Why
from tests.builders import ACCOUNT, AWAY, FAR, HOME, NOON, a_copy_order, a_key, a_slot, a_snapshot, a_snapshot_order

RDS_LEGAL = re.compile(r"[A-Za-z0-9 _.:/=+@-]*")
"""What a tag of RDS may hold; EC2 allows more."""

slots = st.builds(
    Slot,
    resource=st.builds(a_key, st.sampled_from(Kind), st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True)),
    at=st.datetimes(datetime(2024, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    why=st.sampled_from(Why),
)
policy_names = st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True)
regions = st.lists(st.sampled_from([AWAY, FAR, "us-gov-west-1"]), unique=True, max_size=3).map(tuple)

HOME_TAGS = labels.for_snapshot(a_snapshot_order(copy_to=(AWAY, FAR), attempt=2))
COPY_TAGS = labels.for_copy(a_copy_order())

INJECTIONS = [
    "",
    " ",
    'x\n{"level": "CRITICAL"}',
    "x\r\nSet-Cookie: a=b",
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "'; drop table points; --",
    "${jndi:ldap://example.org/a}",
    "../../etc/passwd",
    "evil.example.org/#",
    "a\x00b",
    "\u202egnp.exe",
    "x" * 5000,
]


def read(tags: dict[str, str]) -> Label:
    where = AWAY if tags.get(labels.SOURCE_SNAPSHOT) or labels.COPY_TO not in tags else HOME
    return labels.read(a_snapshot("snap-7", tags, region=where), account=ACCOUNT)


def accepted(tags: dict[str, str], tag: str) -> list[str]:
    """The strange texts in this tag that were taken for a label."""
    taken: list[str] = []
    for written in INJECTIONS:
        try:
            read(tags | {tag: written})
        except BadMessage:
            continue
        taken.append(written)
    return taken


@given(slots, policy_names, regions, st.integers(1, 9))
def test_the_label_of_a_snapshot_is_read_as_it_was_written(slot, policy, copy_to, attempt) -> None:
    order = a_snapshot_order(slot, policy=policy, copy_to=copy_to, attempt=attempt)
    assert read(labels.for_snapshot(order)) == Label(
        slot=slot,
        policy=policy,
        policy_version=order.policy_version,
        copy_to=copy_to,
        attempt=attempt,
        source_id=None,
        source_snapshot_id=None,
        is_expired=False,
    )


@given(slots, policy_names, st.integers(1, 9))
def test_the_label_of_a_copy_is_read_as_it_was_written(slot, policy, attempt) -> None:
    order = a_copy_order(slot, policy=policy, attempt=attempt, source_snapshot_id="snap-0f", source_id="vol-0f")
    label = read(labels.for_copy(order))
    assert (label.slot, label.policy, label.attempt) == (slot, policy, attempt)
    assert (label.source_snapshot_id, label.source_id, label.copy_to) == ("snap-0f", "vol-0f", ())


@given(slots, policy_names, regions)
def test_every_tag_is_legal_for_rds_and_short_enough(slot, policy, copy_to) -> None:
    written = [
        labels.for_snapshot(a_snapshot_order(slot, policy=policy, copy_to=copy_to)),
        labels.for_copy(a_copy_order(slot, policy=policy, source_snapshot_id="arn:aws:rds:eu-central-1:1:snapshot:a")),
    ]
    for tags in written:
        assert all(RDS_LEGAL.fullmatch(key) and RDS_LEGAL.fullmatch(value) for key, value in tags.items())
        assert all(0 < len(value) <= 256 for value in tags.values())
        assert all(len(key) <= 128 and not key.startswith("aws:") for key in tags)
        assert len(tags) <= 40, "AWS allows 50, and the user's own come on top"


@pytest.mark.parametrize("tags", [HOME_TAGS, COPY_TAGS], ids=["home", "copy"])
def test_the_mark_of_expiry_is_read(tags: dict[str, str]) -> None:
    assert read(tags | {labels.STATE: labels.EXPIRED}).is_expired
    assert not read(tags | {labels.STATE: "kept"}).is_expired


@pytest.mark.parametrize("missing", HOME_TAGS)
def test_a_snapshot_without_one_of_its_tags_is_refused(missing: str) -> None:
    with pytest.raises(BadMessage, match="snap-7"):
        read({key: value for key, value in HOME_TAGS.items() if key != missing})


@pytest.mark.parametrize("missing", COPY_TAGS)
def test_a_copy_without_one_of_its_tags_is_refused(missing: str) -> None:
    with pytest.raises(BadMessage, match="snap-7"):
        read({key: value for key, value in COPY_TAGS.items() if key != missing})


@pytest.mark.parametrize("tag", HOME_TAGS)
def test_a_strange_text_in_a_tag_of_a_snapshot_is_refused(tag: str) -> None:
    assert accepted(HOME_TAGS, tag) == []


@pytest.mark.parametrize("tag", COPY_TAGS)
def test_a_strange_text_in_a_tag_of_a_copy_is_refused(tag: str) -> None:
    assert accepted(COPY_TAGS, tag) == []


@pytest.mark.parametrize(
    ("tag", "written"),
    [
        (labels.SLOT, a_slot(resource=a_key(id="vol-2")).key),
        (labels.SLOT, HOME_TAGS[labels.SLOT].upper()),
        (labels.SLOT_AT, "2026-11-20T12:00:01Z"),
        (labels.SLOT_AT, "2026-11-20T12:00:00"),
        (labels.SLOT_AT, "2026-11-20T12:00:00+01:00"),
        (labels.SLOT_AT, "0001-01-01T00:00:00+23:00"),
        (labels.SLOT_AT, "9999-12-31T23:00:00-23:00"),
        (labels.RESOURCE, "volume/eu-central-1/vol-2"),
        (labels.RESOURCE, "volume/eu-west-1/vol-0a1b2c3d4e5f60718"),
        (labels.RESOURCE, "instance/eu-central-1/vol-0a1b2c3d4e5f60718"),
        (labels.WHY, "because"),
        (labels.MANAGED, "0"),
        (labels.ATTEMPT, "second"),
        (labels.ATTEMPT, "0"),
        (labels.ATTEMPT, "-1"),
        (labels.ATTEMPT, "9" * 5000),
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_a_tag_that_contradicts_the_slot_or_is_no_value_of_ours_is_refused(tag: str, written: str) -> None:
    with pytest.raises(BadMessage):
        read(HOME_TAGS | {tag: written})


def test_a_snapshot_of_another_account_is_not_ours() -> None:
    with pytest.raises(BadMessage):
        labels.read(a_snapshot(tags=HOME_TAGS), account="210987654321")


@given(st.dictionaries(st.sampled_from(sorted(HOME_TAGS | COPY_TAGS)), st.text(max_size=40)))
def test_whatever_the_tags_say_reading_them_answers_or_refuses(changed: dict[str, str]) -> None:
    try:
        label = read(HOME_TAGS | changed)
    except BadMessage:
        return
    assert label.slot.key == HOME_TAGS[labels.SLOT]


def test_a_refusal_names_the_snapshot_its_region_and_what_to_do_by_hand() -> None:
    with pytest.raises(BadMessage, match="snap-7 in eu-central-1") as refused:
        read(HOME_TAGS | {labels.SLOT: "0" * 24})
    assert "by hand" in refused.value.hint


@given(st.text(max_size=40))
def test_any_instant_in_a_tag_is_read_or_refused(written: str) -> None:
    try:
        read(HOME_TAGS | {labels.SLOT_AT: written})
    except BadMessage:
        assert written != HOME_TAGS[labels.SLOT_AT]


@given(slots, st.integers(1, 99))
def test_the_identifier_of_a_database_snapshot_is_legal_and_says_slot_and_attempt(slot, attempt) -> None:
    identifier = labels.database_identifier(slot, attempt=attempt)
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", identifier)
    assert len(identifier) <= 63
    assert slot.key in identifier
    assert labels.database_identifier(slot, attempt=attempt + 1) != identifier


def test_a_repeated_first_attempt_has_the_same_identifier() -> None:
    slot = a_slot(NOON)
    assert labels.database_identifier(slot, attempt=1) == f"holdfast-{slot.key}"
