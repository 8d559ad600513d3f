"""The RDS quotas of an account in a Region. Settable while the server runs."""

from __future__ import annotations

from collections.abc import Mapping

_DEFAULTS = {
    "db_instances": 40,
    "db_clusters": 40,
    "allocated_storage_gib": 100_000,
    "manual_snapshots": 100,
    "manual_cluster_snapshots": 100,
    "snapshot_copies": 20,
    "cluster_snapshot_copies": 5,
}
_limits = dict(_DEFAULTS)


def limit(name: str) -> int:
    """The present quota `name`."""
    return _limits[name]


def update(changes: Mapping[str, int]) -> None:
    """The named quotas have new values; all or none of them."""
    if unknown := set(changes) - set(_DEFAULTS):
        raise ValueError(f"there is no quota {', '.join(sorted(unknown))}; known ones are {', '.join(_DEFAULTS)}")
    for name, value in changes.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"the quota {name!r} must be a whole number, 0 or more, not {value!r}")
    _limits.update(changes)


def reset() -> None:
    """Every quota is back at its default."""
    _limits.update(_DEFAULTS)


def all_limits() -> dict[str, int]:
    return dict(_limits)
