"""What a policy may say about deep checks, and what it may not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from functions.contracts.settings import read
from functions.core.deep_checks import DeepCheckRule, DeepCommand
from functions.core.errors import BadMessage
from functions.core.policies import Policy


def policy(**deep_check: Any) -> Policy:
    """The policy with this deep check."""
    written = {"rpo": "24h", "keep": {"daily": 7}, "deep_check": deep_check}
    return read({"home": "eu-central-1", "policies": {"gold": written}}).settings.policies["gold"]


def test_without_a_word_nothing_is_checked_deeply() -> None:
    block = {"home": "eu-central-1", "policies": {"gold": {"rpo": "24h", "keep": {"daily": 7}}}}
    settings = read(block).settings
    assert settings.policies["gold"].deep_check is None
    assert not settings.checks_deeply


def test_an_empty_block_means_the_default() -> None:
    assert policy().deep_check == DeepCheckRule()
    assert read(
        {"home": "eu-central-1", "policies": {"gold": {"rpo": "24h", "keep": {"daily": 7}, "deep_check": {}}}}
    ).settings.checks_deeply


def test_everything_that_can_be_said_is_read() -> None:
    command = {"run": "test -s PG_VERSION", "directory": "/pgdata", "within": "5m", "as_root": True}
    assert policy(every="14d", within="1h", commands=[command]).deep_check == DeepCheckRule(
        every=timedelta(days=14),
        within=timedelta(hours=1),
        commands=(
            DeepCommand(run="test -s PG_VERSION", directory="/pgdata", within=timedelta(minutes=5), as_root=True),
        ),
    )


def test_what_is_checked_is_no_part_of_what_a_point_was_taken_under() -> None:
    assert policy(every="14d").version == policy(every="30d", commands=[{"run": "true"}]).version


@pytest.mark.parametrize(
    ("deep_check", "said"),
    [
        ({"within": "3h"}, "policies.gold.deep_check.within"),
        ({"every": "now"}, "policies.gold.deep_check.every"),
        ({"commands": [{"run": "true"}, {"run": ""}]}, "policies.gold.deep_check.commands.1.run"),
        ({"commands": [{"run": "true", "directory": "x"}]}, "policies.gold.deep_check.commands.0.directory"),
        ({"commands": [{"run": "true", "within": "25m"}, {"run": "true", "within": "25m"}]}, "deep_check.within"),
        ({"commands": [{"run": "true"}] * 21}, "policies.gold.deep_check.commands"),
        ({"commands": [{"run": "true", "as_root": "yes"}]}, "policies.gold.deep_check.commands.0.as_root"),
        ({"instance": "m5.large"}, "policies.gold.deep_check.instance"),
    ],
)
def test_a_mistake_is_named_with_its_place(deep_check: dict[str, Any], said: str) -> None:
    with pytest.raises(BadMessage, match=said):
        policy(**deep_check)
