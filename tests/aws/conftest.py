"""What the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

pytest.register_assert_rewrite("tests.aws.snapshots_suite", "tests.aws.moto_world")


@pytest.fixture
def moto(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty AWS in this process."""
    monkeypatch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # hundreds of snapshots that nobody asks for
    with mock_aws():
        yield
