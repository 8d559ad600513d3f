"""What can be protected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """The four kinds of resource; each has one adapter behind the `Snapshots` port."""

    VOLUME = "volume"
    INSTANCE = "instance"
    DATABASE = "database"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ResourceKey:
    """Which resource, anywhere: stable for the resource's life and readable in a table, a tag and a log line."""

    account: str
    region: str
    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.region}/{self.id}"

    @classmethod
    def parse(cls, written: str, *, account: str) -> ResourceKey:
        """The key that `str` wrote.

        Errors: ValueError when it is not of the form kind/region/id, in the letters that AWS gives identifiers.
        """
        found = _WRITTEN.fullmatch(written)
        if found is None or found["kind"] not in set(Kind):
            raise ValueError(f"not a resource key: {written[:200]!r}; write for example volume/eu-central-1/vol-0a1b2c")
        return cls(account=account, region=found["region"], kind=Kind(found["kind"]), id=found["id"])


_WRITTEN = re.compile(r"(?P<kind>[a-z]+)/(?P<region>[a-z0-9-]{1,30})/(?P<id>[A-Za-z0-9][A-Za-z0-9-]{0,254})")
"""It goes into keys, requests, logs and file names: whoever may write a tag must not choose their letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource as the inventory saw it.

    `members` are the volumes of an instance or the instances of a cluster. `belongs_to` is the instance a volume is
    attached to, or the cluster a database is a member of. `configuration` is what a restore will need and the
    snapshot does not carry.
    """

    key: ResourceKey
    tags: Mapping[str, str]
    state: str
    size_gib: int | None = None
    engine: str | None = None
    members: tuple[str, ...] = ()
    belongs_to: str | None = None
    configuration: Mapping[str, object] = field(default_factory=dict[str, object])
