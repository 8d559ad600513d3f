"""What Holdfast thinks of a run, and why, in words a person can check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Word(StrEnum):
    """UNKNOWN is said while there is too little history; it never means usual."""

    USUAL = "usual"
    UNUSUAL = "unusual"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing about a run, compared with what. `typical` is the value of an ordinary run of the same resource."""

    feature: str
    value: float | None
    typical: float | None
    text: str


SUSPICIOUS = {"changed_bytes": 1, "full_size_bytes": -1}
"""What a run says about content, and in which direction: much that changed at once, or much that is gone. Less change
than usual, or growth, is worth a notice and no reason to restore an older point; a slow backup restores like any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The judgement of one run. `score` runs from 0 (usual) to 1; `judged_by` names the rules or model that said so."""

    word: Word
    score: float
    reasons: tuple[Reason, ...]
    judged_by: str

    @property
    def suspicion(self) -> str:
        """Why the point's content is suspicious; empty when the run is usual, or unusual only in how it went."""
        if self.word is not Word.UNUSUAL:
            return ""
        return "; ".join(reason.text for reason in self.reasons if _speaks_against(reason))


def _speaks_against(reason: Reason) -> bool:
    if reason.feature not in SUSPICIOUS or reason.value is None or reason.typical is None:
        return False
    return (reason.value - reason.typical) * SUSPICIOUS[reason.feature] > 0
