"""The evaluator decides as IAM's documents say, and as an implementation written by others does."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.core import iam_evaluator as another

from tests.security.evaluator import Request, decide, matches_arn, matches_text

ACTIONS = st.sampled_from(["ec2:DeleteSnapshot", "ec2:DescribeSnapshots", "rds:DeleteDBSnapshot", "kms:Decrypt"])
ACTION_PATTERNS = st.sampled_from(["*", "ec2:*", "ec2:Delete*", "EC2:deletesnapshot", "rds:*", "kms:Decrypt", "ec?:*"])
ARNS = st.sampled_from(
    ["arn:aws:ec2:eu-west-1::snapshot/snap-1", "arn:aws:ec2:eu-west-1::snapshot/*", "arn:aws:rds:eu-west-1:1:db:x"]
)
ARN_PATTERNS = st.sampled_from(
    [
        "*",
        "arn:aws:ec2:*::snapshot/*",
        "arn:aws:ec2:eu-west-1::snapshot/snap-1",
        "arn:aws:rds:*:*:db:*",
        "arn:*:*:*:*:*",
    ]
)
KEYS = st.sampled_from(["aws:ResourceTag/state", "aws:RequestTag/state", "kms:ViaService"])
WORDS = st.sampled_from(["expired", "kept", "1", "EXPIRED", ""])
PLAIN = st.sampled_from(
    [
        "StringEquals",
        "StringNotEquals",
        "StringLike",
        "StringNotLike",
        "StringEqualsIfExists",
        "StringNotEqualsIfExists",
    ]
)
CONDITIONS = st.dictionaries(
    PLAIN, st.dictionaries(KEYS, st.lists(WORDS, min_size=1, max_size=2), min_size=1), max_size=2
)


@st.composite
def statements(draw: Any) -> dict[str, Any]:
    element, about = draw(st.sampled_from(["Action", "NotAction"])), draw(st.sampled_from(["Resource", "NotResource"]))
    return {
        "Effect": draw(st.sampled_from(["Allow", "Deny"])),
        element: draw(st.lists(ACTION_PATTERNS, min_size=1, max_size=2)),
        about: draw(st.lists(ARN_PATTERNS, min_size=1, max_size=2)),
        "Condition": draw(CONDITIONS),
    }


REQUESTS = st.builds(
    lambda action, resource, keys: Request(action=action, resource=resource, keys=keys),
    ACTIONS,
    ARNS,
    st.dictionaries(KEYS, WORDS, max_size=3),
)
POLICIES = st.lists(statements(), max_size=4)
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
NOTHING = {"Effect": "Deny", "Action": "*", "Resource": "*"}


@given(REQUESTS)
def test_what_nobody_allows_is_denied(request_: Request) -> None:
    assert not decide([], request_).allowed
    assert decide([ANYTHING], request_).allowed


@given(POLICIES, REQUESTS)
def test_a_deny_outweighs_every_allow_wherever_it_stands(policy: list[Any], request_: Request) -> None:
    assert not decide([NOTHING, *policy, ANYTHING], request_).allowed
    assert not decide([ANYTHING, *policy, NOTHING], request_).allowed


@given(POLICIES, REQUESTS, statements())
def test_one_more_deny_allows_nothing_and_one_more_allow_denies_nothing(
    policy: list[Any], request_: Request, one: dict[str, Any]
) -> None:
    before = decide(policy, request_).allowed
    assert decide([*policy, one | {"Effect": "Deny"}], request_).allowed <= before
    assert decide([*policy, one | {"Effect": "Allow"}], request_).allowed >= before


@given(POLICIES.flatmap(lambda policy: st.tuples(st.just(policy), st.permutations(policy))), REQUESTS)
def test_the_order_of_statements_means_nothing(both: tuple[list[Any], list[Any]], request_: Request) -> None:
    assert decide(both[0], request_).allowed is decide(both[1], request_).allowed


@given(st.lists(ACTION_PATTERNS, min_size=1, max_size=3), REQUESTS)
def test_not_action_is_every_other_action(patterns: list[str], request_: Request) -> None:
    named = decide([{**ANYTHING, "Action": patterns}], request_).allowed
    others = decide([{"Effect": "Allow", "NotAction": patterns, "Resource": "*"}], request_).allowed
    assert named is not others


@given(st.lists(ARN_PATTERNS, min_size=1, max_size=3), REQUESTS)
def test_not_resource_is_every_other_resource(patterns: list[str], request_: Request) -> None:
    named = decide([{**ANYTHING, "Resource": patterns}], request_).allowed
    others = decide([{"Effect": "Allow", "Action": "*", "NotResource": patterns}], request_).allowed
    assert named is not others


@given(KEYS, st.lists(WORDS, min_size=1, max_size=3), REQUESTS)
def test_a_not_is_the_opposite_with_a_value_and_without_one(key: str, wanted: list[str], request_: Request) -> None:
    for operator, opposite in (("StringEquals", "StringNotEquals"), ("StringLike", "StringNotLike")):
        held = decide([{**ANYTHING, "Condition": {operator: {key: wanted}}}], request_).allowed
        other = decide([{**ANYTHING, "Condition": {opposite: {key: wanted}}}], request_).allowed
        assert held is not other


@given(KEYS, REQUESTS)
def test_null_asks_whether_there_is_a_value(key: str, request_: Request) -> None:
    for said, wanted in (("true", False), ("false", True)):
        decision = decide([{**ANYTHING, "Condition": {"Null": {key: said}}}], request_)
        assert decision.allowed is ((key in request_.keys) is wanted)


@given(st.text("ab*?$", max_size=6), st.text("ab*?$", max_size=6))
def test_a_pattern_matches_what_its_regular_expression_matches(pattern: str, text: str) -> None:
    expression = "".join({"*": ".*", "?": "."}.get(letter) or re.escape(letter) for letter in pattern)
    assert matches_text(pattern, text) is bool(re.fullmatch(expression, text))


@given(st.text("ab*?", max_size=8))
def test_an_escaped_text_matches_itself_alone(text: str) -> None:
    escaped = re.sub(r"([*?])", r"${\1}", text)
    assert matches_text(escaped, text)
    assert not matches_text(escaped, text.replace("*", "x").replace("?", "x") + "x")


@given(POLICIES, REQUESTS)
def test_it_decides_as_the_iam_of_the_embedded_aws(policy: list[Any], request_: Request) -> None:
    parsed = another.parse_policy_document({"Version": "2012-10-17", "Statement": policy})
    context = another.EvalContext(
        principal_arn="arn:aws:iam::1:role/r",
        principal_type="AssumedRole",
        principal_account="1",
        action=request_.action,
        resource_arn=request_.resource,
        region="eu-west-1",
        service_context={name.lower(): value for name, value in request_.keys.items()},
    )
    assert decide(policy, request_).allowed is (another.evaluate(context, [parsed]).decision == "Allow")


@pytest.mark.parametrize(
    ("pattern", "arn", "matches"),
    [
        ("*", "arn:aws:ec2:eu-west-1::snapshot/snap-1", True),
        ("arn:aws:ec2:*::snapshot/snap-*", "arn:aws:ec2:eu-west-1::snapshot/snap-1", True),
        ("arn:aws:ec2:*::snapshot/*", "arn:aws:ec2:eu-west-1:111122223333:volume/vol-1", False),
        ("arn:aws:ec2:*::snapshot/${*}", "arn:aws:ec2:eu-west-1::snapshot/*", True),
        ("arn:aws:ec2:*::snapshot/${*}", "arn:aws:ec2:eu-west-1::snapshot/snap-1", False),
        ("arn:aws:rds:eu-west-1:1:db:holdfast-*", "arn:aws:rds:eu-west-1:1:db:holdfast-rt-1", True),
        ("arn:aws:rds:eu-west-1:1:db:holdfast-*", "arn:aws:rds:eu-west-1:1:db:Holdfast-rt-1", False),
        ("arn:aws:rds:*:1:db:x", "arn:aws:rds:eu-west-1:2:db:x", False),
        ("arn:aws:rds:e*:1:db", "arn:aws:rds:eu-west-1:1:db:x", False),
        ("arn:aws:logs:*:*:log-group:/a:*", "arn:aws:logs:eu-west-1:1:log-group:/a:log-stream:x", True),
    ],
)
def test_an_arn_is_matched_part_by_part(pattern: str, arn: str, *, matches: bool) -> None:
    assert matches_arn(pattern, arn) is matches


@pytest.mark.parametrize(
    ("operator", "keys", "allowed"),
    [
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ("a",)}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ("a", "b")}, False),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": "a"}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {"aws:TagKeys": ("a", "b")}, True),
        ({"ForAnyValue:StringEquals": {"aws:TagKeys": "a"}}, {}, False),
        ({"NumericLessThanEquals": {"k": "24"}}, {"k": "24"}, True),
        ({"NumericLessThanEquals": {"k": "24"}}, {"k": "72"}, False),
        ({"NumericLessThanEquals": {"k": "24"}}, {}, False),
        ({"NumericLessThanEqualsIfExists": {"k": "24"}}, {}, True),
        ({"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "true"}, False),
        ({"BoolIfExists": {"rds:PubliclyAccessible": "false"}}, {}, True),
        ({"StringEquals": {"AWS:SourceAccount": "1"}}, {"aws:sourceaccount": "1"}, True),
        (
            {"ArnLike": {"aws:SourceArn": "arn:aws:events:*:1:rule/*"}},
            {"aws:SourceArn": "arn:aws:events:x:1:rule/r"},
            True,
        ),
    ],
)
def test_a_condition_is_met_or_not(operator: dict[str, Any], keys: dict[str, Any], *, allowed: bool) -> None:
    request_ = Request(action="a:b", resource="*", keys=keys)
    assert decide([{**ANYTHING, "Condition": operator}], request_).allowed is allowed


@pytest.mark.parametrize(
    "statement",
    [
        {**ANYTHING, "Condition": {"DateLessThan": {"aws:CurrentTime": "2026-01-01"}}},
        {**ANYTHING, "Condition": {"SomeValues:StringEquals": {"k": "v"}}},
        {**ANYTHING, "Condition": {"StringLike": {"k": "${aws:username}"}}},
        {**ANYTHING, "Resource": "arn:aws:s3:::${aws:username}"},
        {**ANYTHING, "Resource": "holdfast-ledger"},
        {**ANYTHING, "Effect": "Perhaps"},
        {**ANYTHING, "Unless": {}},
        {"Effect": "Allow", "Action": "*"},
    ],
)
def test_what_it_does_not_know_is_an_error(statement: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"this evaluator|is no ARN|needs (Action|Resource)"):
        decide([statement], Request(action="a:b", resource="arn:aws:s3:::x", keys={"k": "v"}))
