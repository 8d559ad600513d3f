"""What a test or the try-out can arrange that no AWS call can: `/_embedded/databases`.

GET answers the quotas, DELETE puts them back, and POST takes any of
  {"quotas": {"manual_snapshots": 3}}
  {"plant": {"region": ..., "instance": ..., "snapshot": "rds:shop-2026-01-02-03-04", "type": "automated", "tags": {}}}
  {"status": {"region": ..., "instance": ..., "status": "storage-full"}}
  {"damage": {"region": ..., "snapshot": ..., "what": "page", "file": "base/16384/16390", "page": 0}}
  {"damage": {"region": ..., "snapshot": ..., "what": "wal"}}
"""

from __future__ import annotations

from typing import Any, cast

from moto.core.exceptions import ServiceException
from moto.rds.models import rds_backends

from embedded import ACCOUNT
from embedded.databases import quotas
from embedded.databases.damage import damage
from embedded.databases.region import RegionDatabases
from embedded.databases.turns import turn


def control(method: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """What `method` asks for has happened, and the answer shows the quotas, and what was planted or damaged."""
    with turn:
        match method:
            case "GET":
                return _shown()
            case "DELETE":
                quotas.reset()
                return _shown()
            case "POST":
                return _post(wanted)
    raise ValueError(f"/_embedded/databases answers GET, POST and DELETE, not {method}")


def _post(wanted: dict[str, Any]) -> dict[str, Any]:
    if not wanted or (unknown := set(wanted) - {"quotas", "plant", "status", "damage"}):
        raise ValueError(
            f'POST "quotas", "plant", "status" or "damage", not {", ".join(sorted(unknown)) if wanted else "nothing"}'
        )
    done: dict[str, str] = {}
    try:
        if "quotas" in wanted:
            quotas.update(wanted["quotas"])
        if "plant" in wanted:
            done |= _plant(**wanted["plant"])
        if "status" in wanted:
            _force_status(**wanted["status"])
        if "damage" in wanted:
            done |= _damage(**wanted["damage"])
    except ServiceException as refused:
        raise ValueError(str(refused)) from refused
    return _shown() | done


def _plant(region: str, instance: str, snapshot: str, type: str, tags: dict[str, str] | None = None) -> dict[str, str]:
    pairs = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
    return {"planted": _region(region).plant_snapshot(instance, snapshot, type, pairs).arn}


def _force_status(region: str, instance: str, status: str) -> None:
    _region(region).instance(instance).status = status


def _damage(region: str, snapshot: str, what: str, file: str = "", page: int = 0) -> dict[str, str]:
    return {"damaged": damage(_region(region).snapshot(snapshot), what, file, page)}


def _region(name: str) -> RegionDatabases:
    return cast("RegionDatabases", rds_backends[ACCOUNT][name])


def _shown() -> dict[str, Any]:
    return {"quotas": quotas.all_limits()}
