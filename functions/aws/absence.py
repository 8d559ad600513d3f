"""Telling what is gone from what is forbidden."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from functions.aws.permissions import Permission
from functions.core.errors import NotAllowed, SnapshotGone
from functions.core.snapshots import Snapshot, State


def afterwards(describe: Permission) -> Permission:
    """The right to look, as it is needed beside a right that hangs on tags."""
    return replace(describe, why="called after a refusal only, to tell what is gone from what is forbidden")


@contextmanager
def gone_is_not_forbidden(id: str, look: Callable[[Iterable[str]], Mapping[str, Snapshot]]) -> Iterator[None]:
    """What is denied inside because the snapshot does not exist comes out as SnapshotGone.

    The right to mark or delete hangs on the snapshot's tags, and what is gone has none: IAM may say no before the
    service says that there is nothing. So the last word is had by looking.
    """
    try:
        yield
    except NotAllowed as denied:
        found = look((id,)).get(id)
        if found is not None and found.state is not State.GONE:
            raise
        raise SnapshotGone(
            f"{id} does not exist any more", hint="Somebody else deleted it; nothing is left to do."
        ) from denied
