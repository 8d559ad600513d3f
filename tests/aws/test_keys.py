"""Where a key stands, as KMS says it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest

from embedded.databases import in_process
from embedded.databases.in_process import Account
from functions.aws import keys
from functions.aws.keys import STATES, Keys
from functions.core.errors import AwsBusy
from functions.core.keys import KeyState
from tests.aws.moto_world import refusal
from tests.aws.recoveries.account import keep_moto_as_it_is
from tests.aws.test_shares import Given

REGION = "us-east-1"


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    keep_moto_as_it_is(monkeypatch)
    with in_process.account() as fresh:
        yield fresh


@pytest.fixture
def adapter(account: Account) -> Keys:
    return Keys(REGION, Given(account.client))


def test_a_new_key_is_usable_and_is_named_by_its_arn(account: Account, adapter: Keys) -> None:
    arn = account.make_key()
    looked = adapter.look(arn)
    assert (looked.arn, looked.region, looked.state) == (arn, REGION, KeyState.USABLE)


def test_an_alias_is_answered_with_the_arn_behind_it(account: Account, adapter: Keys) -> None:
    arn = account.make_key()
    account.client("kms").create_alias(AliasName="alias/holdfast", TargetKeyId=arn)
    assert adapter.look("alias/holdfast").arn == arn


def test_a_disabled_key_is_disabled(account: Account, adapter: Keys) -> None:
    arn = account.make_key()
    account.client("kms").disable_key(KeyId=arn)
    assert adapter.look(arn).state is KeyState.DISABLED


def test_a_key_pending_deletion_says_when(account: Account, adapter: Keys) -> None:
    arn = account.make_key()
    account.client("kms").schedule_key_deletion(KeyId=arn, PendingWindowInDays=7)
    looked = adapter.look(arn)
    assert looked.state is KeyState.PENDING_DELETION
    assert looked.deleted_at is not None
    assert timedelta(days=6) < looked.deleted_at - datetime.now(UTC) < timedelta(days=8)


def test_a_key_that_does_not_exist_is_gone(adapter: Keys) -> None:
    arn = f"arn:aws:kms:{REGION}:123456789012:key/0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"
    assert adapter.look(arn).state is KeyState.GONE


def refusing(account: Account, code: str) -> Keys:
    client = account.client("kms")

    def refuse(**_: Any) -> Any:
        raise refusal(code, "DescribeKey")

    client.meta.events.register_first("before-call.kms.DescribeKey", refuse)
    return Keys(REGION, Given(lambda *_: client))


def test_a_key_whose_policy_does_not_let_us_look_is_unseen(account: Account) -> None:
    assert refusing(account, "AccessDeniedException").look("arn:aws:kms:x").state is KeyState.UNSEEN


def test_a_throttled_look_is_no_answer(account: Account) -> None:
    with pytest.raises(AwsBusy):
        refusing(account, "ThrottlingException").look("arn:aws:kms:x")


def test_every_word_of_kms_is_known() -> None:
    words = botocore.session.get_session().get_service_model("kms").shape_for("KeyState").enum  # type: ignore[attr-defined]
    assert set(STATES) == set(words)


def test_looking_at_keys_uses_none() -> None:
    assert [action for p in keys.PERMISSIONS["look"] for action in p.actions] == ["kms:DescribeKey"]
