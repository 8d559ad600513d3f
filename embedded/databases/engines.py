"""The database engines: one of them real, the others known by name only."""

from __future__ import annotations

import re
from typing import TypeVar

from moto.rds.exceptions import InvalidParameterCombination, InvalidParameterValue
from moto.rds.utils import DbInstanceEngine

from embedded.databases import programs
from embedded.databases.programs import Programs

POSTGRES = "postgres"

_DEFAULT_POSTGRES = "16"
_OTHER_VERSIONS = {
    "mysql": "8.0.40",
    "mariadb": "10.11.10",
    "oracle": "19.0.0.0.ru-2025-01.rur-2025-01.r1",
    "sqlserver": "15.00.4415.2.v1",
    "db2": "11.5.9.0.sb00000000.r1",
    "aurora-postgresql": "16.4",
    "aurora-mysql": "8.0.mysql_aurora.3.08.0",
}
_OTHER_PORTS = {"mysql": 3306, "mariadb": 3306, "oracle": 1521, "sqlserver": 1433, "db2": 50000, "aurora-mysql": 3306}
_Value = TypeVar("_Value")
_LICENSES = {
    "postgres": "postgresql-license",
    "oracle": "bring-your-own-license",
    "sqlserver": "license-included",
    "db2": "bring-your-own-license",
}
_ENGINE_NAME = re.compile(r"[a-z][a-z0-9-]*")


def resolve_version(engine: str, wanted: str | None) -> str:
    """The engine version an instance gets that asks for `wanted`."""
    if engine == POSTGRES:
        return postgresql(wanted).version if wanted is None or "." not in wanted else _available(wanted)
    return wanted or _of_family(_OTHER_VERSIONS, engine, "1.0")


def _available(wanted: str) -> str:
    postgresql(wanted)
    return wanted


def is_known_postgresql(version: str) -> bool:
    """Whether programs for this version are installed."""
    return version.partition(".")[0] in programs.installed()


def postgresql(wanted: str | None) -> Programs:
    """The programs that run this engine version; the major version decides, minor versions share their files."""
    major = (wanted or _DEFAULT_POSTGRES).partition(".")[0]
    if (found := programs.installed().get(major)) is None:
        known = ", ".join(programs.installed())
        raise InvalidParameterCombination(f"Cannot find version {wanted} for postgres. Major versions here: {known}")
    return found


def default_port(engine: str) -> int:
    """The port of the endpoint of an engine that is not real here."""
    return _of_family(_OTHER_PORTS, engine, 5432)


def default_license(engine: str) -> str:
    """The license model of an instance that names none."""
    return _of_family(_LICENSES, engine, "general-public-license")


def name_for_moto(engine: str) -> str:
    """A name moto accepts in place of one that it has not learnt yet."""
    if not _ENGINE_NAME.fullmatch(engine):
        raise InvalidParameterValue(f"Invalid DB engine: {engine}")
    return engine if engine in DbInstanceEngine.valid_db_instance_engine() else "mysql"


def default_option_group(engine: str, version: str) -> str:
    """The name RDS gives the option group of an instance that names none."""
    parts = version.split(".")
    return f"default:{engine}-{'-'.join(parts[:1] if engine == POSTGRES else parts[:2])}"


def _of_family(table: dict[str, _Value], engine: str, otherwise: _Value) -> _Value:
    family = engine.removeprefix("custom-")
    if family in table:
        return table[family]
    return table.get(family.partition("-")[0], otherwise)
