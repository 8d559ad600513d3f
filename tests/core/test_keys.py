"""What is said of a key that is not as it should be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from functions.core.keys import Key, KeyState, Trouble, trouble
from tests.builders import HOME

ARN = "arn:aws:kms:eu-central-1:123456789012:key/1"


def said(state: KeyState, deleted_at: datetime | None = None, *, snapshots: int = 1200, resources: int = 1) -> Trouble:
    found = trouble(
        Key(arn=ARN, region=HOME, state=state, deleted_at=deleted_at), snapshots=snapshots, resources=resources
    )
    assert found is not None
    return found


@pytest.mark.parametrize("state", [KeyState.USABLE, KeyState.UNSEEN])
def test_nothing_is_said_of_a_key_that_is_well_or_that_we_may_not_look_at(state: KeyState) -> None:
    assert trouble(Key(arn=ARN, region=HOME, state=state), snapshots=9, resources=9) is None


@pytest.mark.parametrize("state", sorted(set(KeyState) - {KeyState.USABLE, KeyState.UNSEEN}))
def test_every_other_state_names_the_key_what_needs_it_and_a_next_step(state: KeyState) -> None:
    found = said(state)
    assert ARN in found.told
    assert "1,200 snapshots of 1 resource in eu-central-1" in found.told
    assert found.next_step


def test_a_key_pending_deletion_is_told_with_its_last_hour_and_how_it_is_taken_back() -> None:
    found = said(KeyState.PENDING_DELETION, datetime(2026, 12, 1, 10, 30, tzinfo=UTC))
    assert "destroyed on 2026-12-01 at 10:30 UTC" in found.told
    assert f"aws --region eu-central-1 kms cancel-key-deletion --key-id {ARN}" in found.next_step
    assert "enable-key" in found.next_step, "a key whose deletion was cancelled is disabled"


def test_a_primary_key_whose_replicas_go_first_has_no_date_yet() -> None:
    assert "destroyed when its last replica is gone" in said(KeyState.PENDING_DELETION).told
