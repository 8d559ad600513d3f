"""Faults that a test or the try-out arms: refused calls, lost replies, killed callers, lost and doubled notices.

An operation that begins with `life:` is not a call but what becomes of one: `life:snapshot`, `life:copy`,
`life:volume`, `life:instance`, `life:ssm-agent`, `life:attachment`, `life:command`, `life:db-snapshot`,
`life:db-copy`, `life:db-restore` and the cluster's may `fail` or `stick`.

This module only remembers and hands out faults; `embedded.gateway` applies the ones on operations and
`embedded.notices` the ones on notices.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

_EFFECTS = ("refuse", "lose-reply", "kill-caller")
_ENDINGS = ("fail", "stick")
_LIFE = "life:"
_NOTICES = ("lose", "double")


@dataclass
class Fault:
    """One armed fault. `count` is how often it still strikes; None means until cleared."""

    operation: str | None = None
    effect: str | None = None
    region: str | None = None
    error_code: str | None = None
    function: str | None = None
    notice: str | None = None
    detail_type: str | None = None
    count: int | None = None

    @classmethod
    def parse(cls, wanted: Mapping[str, Any]) -> Fault:
        """A valid fault, or a ValueError that says what to write instead."""
        unknown = set(wanted) - set(cls.__dataclass_fields__)
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {known}")
        fault = cls(**wanted)
        if (fault.operation is None) == (fault.notice is None):
            raise ValueError('a fault strikes either an "operation" or a "notice"')
        if fault.notice is not None and fault.notice not in _NOTICES:
            raise ValueError(f'"notice" is one of {", ".join(_NOTICES)}, not {fault.notice!r}')
        if fault.operation is not None:
            fault._check_operation()
        if fault.count is not None and (not isinstance(fault.count, int) or fault.count < 1):
            raise ValueError(f'"count" is 1 or more, or null for "until cleared", not {fault.count!r}')
        return fault

    def _check_operation(self) -> None:
        if ":" not in str(self.operation):
            raise ValueError(f'"operation" reads like "ec2:CreateSnapshot", not {self.operation!r}')
        allowed = _ENDINGS if str(self.operation).startswith(_LIFE) else _EFFECTS
        if self.effect not in allowed:
            raise ValueError(f'"effect" of {self.operation} is one of {", ".join(allowed)}, not {self.effect!r}')
        if self.effect == "refuse" and not self.error_code:
            raise ValueError('"refuse" needs the "error_code" to refuse with')
        if self.effect == "kill-caller" and not self.function:
            raise ValueError('"kill-caller" needs the "function" whose workers to kill')


_armed: list[Fault] = []
_lock = threading.Lock()


def arm(wanted: Mapping[str, Any]) -> Fault:
    """The fault waits for its first match."""
    fault = Fault.parse(wanted)
    with _lock:
        _armed.append(fault)
    return fault


def clear() -> None:
    """No fault is armed."""
    with _lock:
        _armed.clear()


def armed() -> list[dict[str, Any]]:
    """What is armed, with what is left of each count."""
    with _lock:
        return [{key: value for key, value in asdict(fault).items() if value is not None} for fault in _armed]


def any_on_operations() -> bool:
    """Some fault waits for an operation; false in the ordinary course, when no request needs a second look."""
    return any(fault.operation for fault in _armed)


def take(operation: str, region: str) -> Fault | None:
    """The oldest armed fault for this call, one strike of it used up."""
    return _take(lambda fault: fault.operation == operation and fault.region in (None, region))


def take_notice(detail_type: str, region: str) -> Fault | None:
    """The oldest armed fault for a notice of this detail type, one strike of it used up."""
    return _take(
        lambda fault: (
            fault.notice is not None and fault.detail_type in (None, detail_type) and fault.region in (None, region)
        )
    )


def _take(matches: Callable[[Fault], bool]) -> Fault | None:
    with _lock:
        fault = next((fault for fault in _armed if matches(fault)), None)
        if fault is not None and fault.count is not None:
            fault.count -= 1
            if fault.count == 0:
                _armed.remove(fault)
        return fault
