"""RDS and Aurora of the embedded AWS, with real PostgreSQL servers behind instances of the engine `postgres`.

`install` puts the service into a ministack application, `control` answers `/_embedded/databases`, and `connection`
is how a test or the try-out talks SQL to an instance.
"""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

from embedded.databases.connecting import connection

__all__ = ["connection", "control", "install"]


def install(app: ModuleType | SimpleNamespace) -> None:
    """ministack answers RDS with the databases of this package."""
    # ministack and moto are imported here: whoever only wants a connection needs neither.
    from moto.rds.models import rds_backends

    from embedded import moto_service
    from embedded.databases.answers import DatabasesResponse
    from embedded.databases.region import RegionDatabases

    if rds_backends:
        raise RuntimeError("moto has already made Regions of RDS; install the databases before anything asks for them")
    rds_backends.backend = RegionDatabases
    app.SERVICE_HANDLERS["rds"] = moto_service.handler(DatabasesResponse, "rds")


def control(method: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Quotas, planted snapshots and forced states, for whoever tries or tests; see `embedded.databases.controlling`."""
    from embedded.databases import controlling

    return controlling.control(method, wanted)
