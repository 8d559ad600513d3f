"""The PostgreSQL data directory on the prepared disks: a small shop's orders, as a server that was killed leaves them.

Kept are the files that a check reads: of the catalogs only the maps, so no server would start from it, but everything
that says how recovery goes, the log from its beginning on, and the tables of the shop.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pg8000.native import Connection

from embedded.databases import programs
from embedded.databases.server import Server

VERSION = "16"
DIRECTORY = "pgdata"
ORDERS_ON_STORAGE = 2_000
ORDERS_IN_THE_LOG = 200
"""So many in each of the two segments that recovery reads."""

_KEPT = ("PG_VERSION", "global/PG_VERSION", "global/pg_control", "global/pg_filenode.map")


def item(number: int) -> str:
    """What was ordered by the order of this number."""
    return f"order {number:06} of twine"


def _insert(first: int, last: int) -> str:
    orders = ", ".join(f"({number}, '{item(number)}')" for number in range(first, last + 1))
    return f"INSERT INTO orders VALUES {orders}"  # noqa: S608 - our own numbers


_SEGMENTS_OF_INITDB = 16
_NEXT_SEGMENT = ("SELECT pg_logical_emit_message(false, 'sample', '')", "SELECT pg_switch_wal()")
_SHOP = (
    # A segment that was used before still holds what it held, and nothing compresses that: all of them are passed.
    "ALTER SYSTEM SET wal_recycle = off",
    "SELECT pg_reload_conf()",
    *_NEXT_SEGMENT * _SEGMENTS_OF_INITDB,
    "CREATE TABLE orders (id bigint PRIMARY KEY, item text NOT NULL)",
    _insert(1, ORDERS_ON_STORAGE),
    "VACUUM ANALYZE orders",
    *_NEXT_SEGMENT,
    "CHECKPOINT",
    _insert(ORDERS_ON_STORAGE + 1, ORDERS_ON_STORAGE + ORDERS_IN_THE_LOG),
    *_NEXT_SEGMENT,
    _insert(ORDERS_ON_STORAGE + ORDERS_IN_THE_LOG + 1, ORDERS_ON_STORAGE + 2 * ORDERS_IN_THE_LOG),
)


def write_database(tree: Path) -> str:
    """Below `tree` lies a data directory; the answer is the path of the segment that its recovery begins with."""
    ground = programs.directory_for_servers("holdfast-disk-")
    server = Server.create(programs.installed()[VERSION], ground / "shop")
    try:
        server.start()
        with server.administration() as connection:
            for statement in _SHOP:
                connection.run(statement)
            first, last, *tables = _said(connection)
        server.kill()
        _keep(server.data_directory, tree / DIRECTORY, tables, first, last)
    finally:
        server.remove()
        ground.rmdir()
    return f"{DIRECTORY}/pg_wal/{first}"


def _said(connection: Connection) -> list[str]:
    """The first and the last segment that recovery reads, and the files of the tables."""
    (said,) = (
        connection.run(
            "SELECT pg_walfile_name(redo_lsn), pg_walfile_name(pg_current_wal_insert_lsn()),"
            " pg_relation_filepath('orders'), pg_relation_filepath('orders_pkey') FROM pg_control_checkpoint()"
        )
        or []
    )
    return [str(one) for one in said]


def _keep(data: Path, kept: Path, tables: list[str], first: str, last: str) -> None:
    base = Path(tables[0]).parent
    wanted = [*_KEPT, f"{base}/PG_VERSION", f"{base}/pg_filenode.map"]
    wanted += [f"{table}{fork}" for table in tables for fork in ("", "_fsm", "_vm")]
    wanted += [f"pg_xact/{path.name}" for path in (data / "pg_xact").iterdir()]
    segments = sorted(path.name for path in (data / "pg_wal").glob("?" * 24))
    wanted += [f"pg_wal/{name}" for name in segments if first <= name <= last]
    for name in wanted:
        if (data / name).exists():
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data / name, kept / name)
