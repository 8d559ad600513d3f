"""What can be ordered: classes by engine, in every zone of the Region, as DescribeOrderableDBInstanceOptions tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from embedded.databases import engines

_BURSTABLE = ("t3", "t4g")
_STEADY = ("m5", "m6g", "m6i", "m7g", "m8g", "r5", "r6g", "r6i", "r7g", "r8g")
_SMALL = ("micro", "small", "medium", "large", "xlarge", "2xlarge")
_LARGE = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_OF_AURORA = re.compile(r"db\.(t(3|4g)\.(medium|large)|r\w+\.\w+|serverless)")
_VERSION = re.compile(r"\d[\w.-]*")


def options(engine: str, version: str | None, instance_class: str | None, zones: list[str]) -> list[dict[str, Any]]:
    """One option for each class and storage type; none for a version or class that RDS does not offer."""
    if engine == engines.POSTGRES and version and not engines.is_known_postgresql(version):
        return []
    version = version or engines.resolve_version(engine, None)
    if not _VERSION.fullmatch(version):
        return []
    is_aurora = engine.startswith("aurora")
    return [
        {
            "Engine": engine,
            "EngineVersion": version,
            "DBInstanceClass": name,
            "LicenseModel": engines.default_license(engine),
            "AvailabilityZones": [{"Name": zone} for zone in zones],
            "MultiAZCapable": not is_aurora,
            "StorageType": storage,
            "SupportsStorageEncryption": True,
            "Vpc": True,
        }
        for name in _classes(is_aurora=is_aurora)
        if instance_class in (None, name)
        for storage in (("aurora", "aurora-iopt1") if is_aurora else ("gp2", "gp3", "io1"))
    ]


def _classes(*, is_aurora: bool) -> Iterator[str]:
    named = [f"db.{family}.{size}" for family in _BURSTABLE for size in _SMALL]
    named += [f"db.{family}.{size}" for family in _STEADY for size in _LARGE]
    if not is_aurora:
        yield from named
        return
    yield from (name for name in [*named, "db.serverless"] if _OF_AURORA.fullmatch(name))
