"""How long AWS takes for things, in seconds of the embedded clock; settable while the server runs."""

from __future__ import annotations

from collections.abc import Mapping

_DEFAULTS: dict[str, float] = {
    "snapshot": 2.0,
    "snapshot_per_gib": 0.0,
    "copy": 3.0,
    "copy_per_gib": 0.0,
    "volume": 0.5,
    "instance_launch": 3.0,
    "instance_terminate": 2.0,
    "ssm_registration": 4.0,
    "attachment": 1.0,
    "detachment": 1.0,
    "command_shown": 0.5,
    "command_delivery": 1.5,
    "db_snapshot": 3.0,
    "db_copy": 3.0,
    "db_restore": 5.0,
    "db_modify": 2.0,
    "db_delete": 2.0,
}
_seconds = dict(_DEFAULTS)


def seconds(name: str) -> float:
    """The present duration of `name`."""
    return _seconds[_known(name)]


def update(changes: Mapping[str, float]) -> None:
    """The named durations have new values; all or none of them."""
    checked = {_known(name): _not_negative(name, value) for name, value in changes.items()}
    _seconds.update(checked)


def reset() -> None:
    """Every duration is back at its default."""
    _seconds.update(_DEFAULTS)


def all_seconds() -> dict[str, float]:
    return dict(_seconds)


def _known(name: str) -> str:
    if name not in _DEFAULTS:
        raise ValueError(f"there is no duration {name!r}; known ones are {', '.join(sorted(_DEFAULTS))}")
    return name


def _not_negative(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValueError(f"the duration {name!r} must be a number of seconds, 0 or more, not {value!r}")
    return float(value)
