"""Whether a KMS key can be used, before something is made under it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from functions.aws.clients import Clients
from functions.aws.keys import key_state
from functions.core.errors import NotAllowed

REGION = "eu-central-1"
ALIAS = "alias/holdfast"


@pytest.fixture
def clients() -> Iterator[Clients]:
    with mock_aws():
        yield Clients(boto3.Session(region_name=REGION))


@pytest.fixture
def kms(clients: Clients) -> Any:
    return clients.retrying("kms", REGION)


def make_key(kms: Any, **options: str) -> str:
    key = kms.create_key(**options)["KeyMetadata"]
    kms.create_alias(AliasName=ALIAS, TargetKeyId=key["KeyId"])
    return key["KeyId"]


def test_an_enabled_key_is_usable_and_named(clients: Clients, kms: Any):
    id = make_key(kms)
    state = key_state(REGION, ALIAS, clients)
    assert state.is_usable
    assert state.arn is not None
    assert state.arn.endswith(f"key/{id}")


def test_a_disabled_key_is_not_usable(clients: Clients, kms: Any):
    kms.disable_key(KeyId=make_key(kms))
    state = key_state(REGION, ALIAS, clients)
    assert not state.is_usable
    assert state.reason == "alias/holdfast in eu-central-1 is Disabled; enable it"


def test_a_key_that_will_be_deleted_is_not_usable_and_says_when(clients: Clients, kms: Any):
    deletion = kms.schedule_key_deletion(KeyId=make_key(kms), PendingWindowInDays=7)["DeletionDate"]
    state = key_state(REGION, ALIAS, clients)
    assert not state.is_usable
    assert f"will be deleted on {deletion:%Y-%m-%d}" in state.reason


def test_a_key_that_is_not_there_is_not_usable(clients: Clients):
    state = key_state(REGION, ALIAS, clients)
    assert (state.is_usable, state.arn) == (False, None)
    assert state.reason == "there is no key alias/holdfast in eu-central-1"


def test_a_key_that_only_signs_is_not_usable(clients: Clients, kms: Any):
    make_key(kms, KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")
    state = key_state(REGION, ALIAS, clients)
    assert not state.is_usable
    assert "RSA_2048" in state.reason


def test_not_being_allowed_to_look_is_not_an_answer(clients: Clients, kms: Any):
    with Stubber(kms) as stubber:
        stubber.add_client_error("describe_key", "AccessDeniedException")
        with pytest.raises(NotAllowed, match=ALIAS):
            key_state(REGION, ALIAS, clients)
