"""Every fault by its name, and where it may happen.

The faults of a request happen at every request, whatever it is; the others only to what they are about.
"""

from __future__ import annotations

from collections.abc import Mapping

# Of a request
THROTTLED = "throttled"
REPLY_LOST = "reply-lost"
REPEATED = "repeated"
CRASH_BEFORE = "crash-before"
CRASH_AFTER = "crash-after"
OVERTAKEN_BEFORE = "overtaken-before"
OVERTAKEN_AFTER = "overtaken-after"

OF_EVERY_REQUEST = (THROTTLED, REPLY_LOST, CRASH_BEFORE, CRASH_AFTER)
"""No effect; an effect whose reply nobody gets, however often the client asks; the function ends before or after."""

OF_TIMING = (OVERTAKEN_BEFORE, OVERTAKEN_AFTER)
"""The request, or its reply, takes minutes, in which everything else goes on."""

OF_REPEATING = (REPEATED,)
"""The first reply is lost and the client's second request is answered: the effect happens twice."""

# Of what a request makes
SHOWN_LATE = "shown-late"
TAGS_SHOWN_LATE = "tags-shown-late"
ENDS_IN_ERROR = "ends-in-error"
STUCK = "stuck"
NO_ROOM = "no-room"
KEY_FAILS_SILENTLY = "key-fails-silently"
RESTORED_WRONG = "restored-wrong"

# Of what a request reads
TRUNCATED = "truncated"
INDEX_BEHIND = "index-behind"
DAMAGED_ON_THE_WAY = "damaged-on-the-way"

# Of messages and ticks
LOST = "lost"
DOUBLED = "doubled"
LATE = "late"
OUT_OF_ORDER = "out-of-order"
STOPPED = "stopped"

# Of the weather: what happens to the account by itself
HOME_DOWN = "home-region-down"
AWAY_DOWN = "copy-region-down"
TABLE_BUSY = "table-throttled"
TABLE_LOST = "table-lost"
CLOCK_AHEAD = "clock-ahead"
CLOCK_BEHIND = "clock-behind"
SOURCE_DELETED = "source-deleted"
POINT_DELETED = "point-deleted"
COPY_DELETED = "copy-deleted"
KEY_DISABLED = "key-disabled"
DATABASE_BUSY = "database-busy"
POINT_LOCKED = "point-locked"
POINT_IN_USE = "point-in-use"
POINT_HELD = "point-held"

WEATHER = (
    HOME_DOWN,
    AWAY_DOWN,
    TABLE_BUSY,
    CLOCK_AHEAD,
    CLOCK_BEHIND,
    SOURCE_DELETED,
    POINT_DELETED,
    COPY_DELETED,
    KEY_DISABLED,
    DATABASE_BUSY,
    POINT_LOCKED,
    POINT_IN_USE,
    POINT_HELD,
)
MESSAGE = (LOST, DOUBLED, LATE)
TICK = (LOST, DOUBLED, LATE)

_MAKES_EBS = (SHOWN_LATE, TAGS_SHOWN_LATE, ENDS_IN_ERROR, STUCK, NO_ROOM)
_MAKES_RDS = (ENDS_IN_ERROR, NO_ROOM)

OF_OPERATION: Mapping[str, tuple[str, ...]] = {
    "create_snapshot": _MAKES_EBS,
    "create_snapshots": _MAKES_EBS,
    "copy_snapshot": (*_MAKES_EBS, KEY_FAILS_SILENTLY),
    "create_volume": (SHOWN_LATE, ENDS_IN_ERROR, KEY_FAILS_SILENTLY, RESTORED_WRONG),
    "create_db_snapshot": _MAKES_RDS,
    "create_db_cluster_snapshot": _MAKES_RDS,
    "copy_db_snapshot": _MAKES_RDS,
    "copy_db_cluster_snapshot": _MAKES_RDS,
    "describe_snapshots": (TRUNCATED,),
    "describe_db_snapshots": (TRUNCATED,),
    "describe_db_cluster_snapshots": (TRUNCATED,),
    "describe_volumes": (TRUNCATED,),
    "get_snapshot_block": (DAMAGED_ON_THE_WAY,),
    "query_index": (INDEX_BEHIND,),
}
"""What may happen to single operations, beside the faults of every request."""

ALL = tuple(
    sorted(
        {*OF_EVERY_REQUEST, *OF_TIMING, *OF_REPEATING, *WEATHER, *MESSAGE, *TICK, OUT_OF_ORDER, STOPPED, TABLE_LOST}
        | {fault for faults in OF_OPERATION.values() for fault in faults}
    )
)
