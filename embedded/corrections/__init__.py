"""Where ministack 1.5.33 differs from AWS in what Holdfast relies on, one file per service."""

from __future__ import annotations

from pathlib import Path

from embedded.corrections import (
    alarms,
    event_buses,
    event_sources,
    instance_profiles,
    lambda_invocations,
    lambda_workers,
    networks,
    permissions,
    redrives,
    schedules,
    service_quotas,
    step_functions,
    tables,
)


def install(dial: Path, layers: Path) -> None:
    """Every correction is in place; an AssertionError says which one the installed ministack no longer fits."""
    lambda_workers.install(dial, layers)
    lambda_invocations.install()
    event_sources.install()
    event_buses.install()
    schedules.install()
    alarms.install()
    step_functions.install()
    redrives.install()
    tables.install()
    networks.install()
    instance_profiles.install()
    permissions.install()
    service_quotas.install()
