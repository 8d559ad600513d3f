"""What a look found that a person should know: told when it begins, and once more when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Concern(StrEnum):
    """What the look was about."""

    SHARE = "share"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. Concern, Region, subject and `what` make it that thing and no other."""

    concern: Concern
    region: str
    subject: str
    what: str
    told: str
    next_step: str

    @property
    def key(self) -> tuple[Concern, str, str, str]:
        """What makes two findings the same one."""
        return self.concern, self.region, self.subject, self.what


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is to be told now."""

    begun: tuple[Finding, ...]
    over: tuple[Finding, ...]


def changes(found: Iterable[Finding], standing: Iterable[Finding], *, was_judged: Callable[[Finding], bool]) -> Changes:
    """What began, and what is over: a standing finding that was judged now and not found again.

    What was not looked at in this run stands on: silence about it says nothing.
    """
    now_found = {finding.key: finding for finding in found}
    standing_now = {finding.key: finding for finding in standing}
    return Changes(
        begun=tuple(finding for key, finding in now_found.items() if key not in standing_now),
        over=tuple(finding for key, finding in standing_now.items() if key not in now_found and was_judged(finding)),
    )
