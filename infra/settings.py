"""Where the settings of a deployment come from: the `holdfast` block of cdk.json, or a file of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import RemovalPolicy

from functions.contracts.settings import Configuration, read
from infra.errors import CannotSynthesise


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A configuration that holds, and the block as it was written, which the functions read again."""

    configuration: Configuration
    block: object

    @property
    def account(self) -> str | None:
        return self.configuration.account

    @property
    def home(self) -> str:
        return self.configuration.home

    @property
    def copies(self) -> tuple[str, ...]:
        """Every Region that holds copies."""
        return self.configuration.settings.copy_regions

    @property
    def regions(self) -> tuple[str, ...]:
        """Home first."""
        return self.configuration.settings.regions

    def rehearses_in(self, region: str) -> bool:
        """Whether rehearsals are held there by themselves: where copies are, or at home when there are none."""
        return region != self.home or not self.copies

    @property
    def longest_lock_days(self) -> int:
        """The longest lock that a policy asks for; 0 when none does."""
        policies = self.configuration.settings.policies.values()
        return max((policy.lock.days for policy in policies if policy.lock), default=0)

    @property
    def is_kept(self) -> bool:
        """Whether what remembers and what encrypts outlives its stack."""
        return self.configuration.removal == "retain"

    @property
    def removal_policy(self) -> RemovalPolicy:
        return RemovalPolicy.RETAIN if self.is_kept else RemovalPolicy.DESTROY


def load(block: object, *, file: str | None = None) -> Deployment:
    """The deployment that the block says, or that the file says when one is given.

    Errors: BadMessage when the block does not hold; CannotSynthesise when there is none to read.
    """
    if file is not None:
        block = _written_in(Path(file))
    if block is None:
        raise CannotSynthesise(
            'cdk.json has no "holdfast" in its context\nHint: README.md shows a complete block to start from.'
        )
    return Deployment(configuration=read(block), block=block)


def _written_in(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise CannotSynthesise(
            f"the settings file {path} cannot be read: {problem.strerror}\n"
            "Hint: correct holdfast-file or HOLDFAST_SETTINGS_FILE, or leave both out to use cdk.json."
        ) from problem
    except ValueError as problem:
        raise CannotSynthesise(
            f"the settings file {path} is not JSON: {problem}\nHint: it holds the holdfast block and nothing else."
        ) from problem
