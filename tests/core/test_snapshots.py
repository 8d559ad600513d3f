from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from functions.core.snapshots import CopyOrder, SnapshotOrder, Snapshots, State
from tests.builders import a_copy_order, a_snapshot, a_snapshot_order
from tests.fakes import FakeSnapshots

VERBS = [name for name, verb in vars(Snapshots).items() if inspect.isfunction(verb) and name[0] != "_"]


def test_bytes_that_aws_does_not_tell_are_not_zero_bytes() -> None:
    snapshot = a_snapshot(state=State.PENDING)
    assert snapshot.full_size_bytes is None
    assert snapshot.size_gib is None


@pytest.mark.parametrize("order", [a_snapshot_order(), a_copy_order()])
def test_an_order_is_a_first_attempt_unless_it_says_otherwise(order: SnapshotOrder | CopyOrder) -> None:
    assert order.attempt == 1
    assert {"slot", "policy", "policy_version", "deadline", "attempt"} <= {field.name for field in fields(order)}


@pytest.mark.parametrize("verb", VERBS)
def test_the_fake_answers_to_every_verb_of_the_port_by_the_same_words(verb: str) -> None:
    port, fake = getattr(Snapshots, verb), getattr(FakeSnapshots, verb)
    assert inspect.getdoc(port), "the port says what is true afterwards"
    assert list(inspect.signature(fake).parameters) == list(inspect.signature(port).parameters)
