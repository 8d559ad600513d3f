"""Every kind has its adapter."""

from __future__ import annotations

import pytest

from functions.aws.clients import Clients
from functions.aws.kinds import KINDS, PERMISSIONS, snapshots
from functions.core.resources import Kind
from tests.aws.moto_world import ACCOUNT, HOME, new_session


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kind_has_one_adapter_that_says_its_kind_and_region(kind: Kind) -> None:
    adapter = snapshots(kind, HOME, account=ACCOUNT, clients=Clients(new_session()))
    assert (adapter.kind, adapter.region) == (kind, HOME)


def test_every_kind_is_spoken_for() -> None:
    assert set(KINDS) == set(PERMISSIONS) == set(Kind)
