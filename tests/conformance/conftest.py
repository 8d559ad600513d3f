"""One embedded AWS for all sentences, without Holdfast deployed on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded.aws import EmbeddedAws
from tests.aws.moto_world import AWAY
from tests.conformance.embedded_account import EmbeddedAccount

pytest.register_assert_rewrite("tests.aws.snapshots_suite", "tests.conformance.embedded_world")


@pytest.fixture(scope="session")
def embedded_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAccount]:
    """An account with our key in both Regions, where everything takes long enough to be seen pending."""
    with EmbeddedAws.start(tmp_path_factory.mktemp("conformance-aws")) as aws:
        yield EmbeddedAccount(aws)


@pytest.fixture
def unusable_key(embedded_account: EmbeddedAccount) -> Iterator[None]:
    """Somebody has disabled the key that encrypts copies."""
    kms, key = embedded_account.aws.client("kms", AWAY), embedded_account.keys[AWAY]
    kms.disable_key(KeyId=key)
    yield
    kms.enable_key(KeyId=key)
