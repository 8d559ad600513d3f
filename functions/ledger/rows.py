"""How each thing is written down: one table, one item for each fact, every key readable by a person.

    pk                              sk                                   what
    volume/eu-central-1/vol-0a1     resource                             coverage, and the newest slot planned
                                    point#2026-11-20T02:00:00Z           a recovery point
                                    copy#2026-11-20T02:00:00Z#eu-west-1#snap-0b2    one snapshot of it elsewhere
                                    run#2026-11-20T02:00:00Z             the closed run, written once
                                    verdict#2026-11-20T02:00:00Z         the judgement of that run, written once
                                    rehearsal#eu-west-1#2026-11-21T04:00:00Z#<id>   a rehearsal's result, written once
                                    recovery#eu-west-1#2026-11-21T04:00:00Z#<id>#handed over    how a recovery ended
                                    blocks#eu-west-1#vol-0a1             which snapshot's blocks are remembered
                                    blocks#eu-west-1#vol-0a1#snap-0b2#00003     16 GiB of them, packed
                                    surplus#2026-11-20T02:00:00Z#eu-west-1#snap-0c3 a duplicate on its way out
                                    hold#2026-11-20T02:00:00Z#<when>#held   a hold on a point; `released` is its end
    permits                         copy#ebs#eu-west-1                   who may have one more in flight
    policy                          daily                                since when a policy reads as it does
    approval#<recovery>             2026-11-21T04:00:00.123456Z          who waits for a person's answer, and until when
    finding#share                   in#eu-west-1#snapshot snap-0b2#<account>    who may read a snapshot and should not
    finding#key                     in#eu-west-1#<key ARN>#pending deletion   what is wrong with a key of ours
    starts#2026-11-21               01                                   a recovery that an alarm started that day
    clock                           retention                            the latest time a deletion was decided at

Two sparse indexes: `open` holds what something is to be done about, earliest first: points and copies with work left,
by pool and stage, and resources by when their next slot is planned, so that what a tick reads grows with what is due
and not with the fleet. `listed` holds resources and rehearsals. Items that are replicated from other Regions are
written once under keys of their own, because a global table resolves two writers of one item by forgetting one of them.
"""

from __future__ import annotations

from typing import Any

from pynamodb.attributes import BinaryAttribute, JSONAttribute, ListAttribute, NumberAttribute, UnicodeAttribute
from pynamodb.indexes import AllProjection, GlobalSecondaryIndex
from pynamodb.models import Model


class Open(GlobalSecondaryIndex[Any]):
    """What something is to be done about, by what and where, earliest first."""

    class Meta:
        index_name = "open"
        projection = AllProjection()

    open_in = UnicodeAttribute(hash_key=True)
    open_until = UnicodeAttribute(range_key=True)


class Listed(GlobalSecondaryIndex[Any]):
    """Everything of one sort, by resource."""

    class Meta:
        index_name = "listed"
        projection = AllProjection()

    listed_in = UnicodeAttribute(hash_key=True)
    pk = UnicodeAttribute(range_key=True)


class Item(Model):
    """The key every item has. `bound` gives the class its table; nothing is read from the environment on import."""

    class Meta:
        table_name = "holdfast-ledger"

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)


class ResourceItem(Item):
    """Where a resource stands, and the newest slot that was planned for it."""

    listed_in = UnicodeAttribute(null=True)
    listed = Listed()
    open_in = UnicodeAttribute(null=True)
    open_until = UnicodeAttribute(null=True)
    open = Open()
    account = UnicodeAttribute()
    standing = UnicodeAttribute()
    by = UnicodeAttribute()
    reason = UnicodeAttribute()
    policy = UnicodeAttribute(null=True)
    seen_at = UnicodeAttribute()
    state = UnicodeAttribute(null=True)
    engine = UnicodeAttribute(null=True)
    size_gib = NumberAttribute(null=True)
    members = ListAttribute[str](null=True)
    newest_slot_at = UnicodeAttribute(null=True)
    extra_day = UnicodeAttribute(null=True)
    extra_bought = NumberAttribute(null=True)


class WorkItem(Item):
    """What a point and a copy have alike. `claimed_at` is the fence: whoever's claim it is may record, nobody else."""

    open_in = UnicodeAttribute(null=True)
    open_until = UnicodeAttribute(null=True)
    open = Open()
    account = UnicodeAttribute()
    slot_key = UnicodeAttribute()
    slot_at = UnicodeAttribute()
    why = UnicodeAttribute()
    status = UnicodeAttribute()
    policy = UnicodeAttribute()
    policy_version = UnicodeAttribute()
    deadline = UnicodeAttribute()
    attempt = NumberAttribute(default=1)
    claimed_at = UnicodeAttribute(null=True)
    ordered_at = UnicodeAttribute(null=True)
    created_at = UnicodeAttribute(null=True)
    completed_at = UnicodeAttribute(null=True)
    waits = NumberAttribute(default=0)
    errors = ListAttribute[str](default=list)


class PointItem(WorkItem):
    """A recovery point."""

    copy_to = ListAttribute[str](default=list)
    not_before = UnicodeAttribute(null=True)
    expired_at = UnicodeAttribute(null=True)
    archived_at = UnicodeAttribute(null=True)
    parts = JSONAttribute(null=True)
    configuration = JSONAttribute(null=True)
    reason = UnicodeAttribute(null=True)


class CopyItem(WorkItem):
    """One snapshot of a point in another Region."""

    region = UnicodeAttribute()
    source_snapshot_id = UnicodeAttribute()
    source_id = UnicodeAttribute()
    expected_seconds = NumberAttribute(default=0)
    owed_at = UnicodeAttribute()
    snapshot_id = UnicodeAttribute(null=True)
    full_size_bytes = NumberAttribute(null=True)


class StoryItem(Item):
    """A fact written once and never changed: a run, a verdict, a rehearsal."""

    listed_in = UnicodeAttribute(null=True)
    listed = Listed()
    account = UnicodeAttribute()
    at = UnicodeAttribute()
    body = JSONAttribute()
    forget_at = NumberAttribute(null=True)


class PermitItem(Item):
    """The permits of one pool: limit, pace, room, and the holders with the second of each, because a row holds
    thousands of them. `revision` is the fence."""

    revision = NumberAttribute()
    limit = NumberAttribute()
    holders = JSONAttribute()
    refused_at = UnicodeAttribute(null=True)
    pace = JSONAttribute(null=True)
    room = JSONAttribute(null=True)


class SinceItem(Item):
    """Since when something reads as it does."""

    version = UnicodeAttribute(null=True)
    since = UnicodeAttribute()


class SurplusItem(Item):
    """A snapshot that a recorded one makes superfluous: found by the sweep, marked and deleted by two others."""

    listed_in = UnicodeAttribute(null=True)
    listed = Listed()
    account = UnicodeAttribute()
    kind = UnicodeAttribute()
    region = UnicodeAttribute()
    snapshot_id = UnicodeAttribute()
    found_at = UnicodeAttribute()
    state = UnicodeAttribute()


class HoldItem(Item):
    """A hold on a point, or the end of one."""

    account = UnicodeAttribute()
    slot_at = UnicodeAttribute()
    why = UnicodeAttribute()
    what = UnicodeAttribute()
    by = UnicodeAttribute()
    because = UnicodeAttribute()
    at = UnicodeAttribute()


class ApprovalItem(Item):
    """A recovery that waits for a person, and the token with which its execution goes on."""

    token = UnicodeAttribute()
    resource = UnicodeAttribute()
    until = UnicodeAttribute()
    forget_at = NumberAttribute()


class StartItem(Item):
    """A recovery that an alarm started."""

    execution = UnicodeAttribute()
    resource = UnicodeAttribute()
    at = UnicodeAttribute()
    forget_at = NumberAttribute()


class BlocksItem(Item):
    """What is remembered of a volume's blocks: of which snapshot, and in how many rows; or one of those rows."""

    snapshot_id = UnicodeAttribute()
    slot_at = UnicodeAttribute()
    rows_written = NumberAttribute(null=True)
    body = BinaryAttribute(null=True, legacy_encoding=False)
    forget_at = NumberAttribute()


class FindingItem(Item):
    """Something that is not as it should be, since when, and until when it was so; one that comes again begins anew."""

    region = UnicodeAttribute()
    subject = UnicodeAttribute()
    what = UnicodeAttribute()
    told = UnicodeAttribute()
    next_step = UnicodeAttribute()
    since = UnicodeAttribute()
    over_at = UnicodeAttribute(null=True)
    times = NumberAttribute(default=0)
    forget_at = NumberAttribute(null=True)
