"""The night as the ledger tells it: what every resource has so far. Read like any other client of the table would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from embedded.aws import EmbeddedAws
from embedded.tryout.scenario import HOME, Thing

TABLE = "holdfast-ledger"
_READ = TypeDeserializer()


@dataclass(frozen=True)
class Told:
    """Everything the ledger says about a resource and its newest point; what it does not have yet is empty."""

    thing: Thing
    resource: Mapping[str, Any] = field(default_factory=dict)
    point: Mapping[str, Any] = field(default_factory=dict)
    copies: tuple[Mapping[str, Any], ...] = ()
    run: Mapping[str, Any] = field(default_factory=dict)
    verdict: Mapping[str, Any] = field(default_factory=dict)
    rehearsal: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The snapshots of the point at home."""
        return json.loads(self.point["parts"]) if self.point.get("parts") else []

    @property
    def has_point(self) -> bool:
        return self.point.get("status") == "COMPLETED"

    @property
    def has_copies(self) -> bool:
        copied = {copy["source_snapshot_id"] for copy in self.copies if copy["status"] == "COMPLETED"}
        return bool(self.parts) and copied == {part["snapshot_id"] for part in self.parts}

    @property
    def snapshot_seconds(self) -> float | None:
        return _between(self.point.get("created_at"), self.point.get("completed_at"))

    @property
    def copy_seconds(self) -> float | None:
        spans = [_between(copy.get("created_at"), copy.get("completed_at")) for copy in self.copies]
        known = [span for span in spans if span is not None]
        return max(known) if known and len(known) == len(spans) else None

    @property
    def full_size_bytes(self) -> int | None:
        sizes: list[Any] = [part.get("full_size_bytes") for part in self.parts]
        return sum(sizes) if sizes and None not in sizes else None

    @property
    def recovery_seconds(self) -> float | None:
        return _between(self.rehearsal.get("started_at"), self.rehearsal.get("readable_at"))

    @property
    def fitness(self) -> str | None:
        return (self.rehearsal.get("evidence") or {}).get("fitness")


def read(aws: EmbeddedAws, things: list[Thing]) -> list[Told]:
    """What the ledger says about each thing now, the newest point of each."""
    items = _everything(aws)
    return [_told(thing, [item for item in items if item["pk"] == thing.key]) for thing in things]


def _told(thing: Thing, items: list[dict[str, Any]]) -> Told:
    def newest(prefix: str) -> dict[str, Any]:
        found = sorted((item for item in items if item["sk"].startswith(prefix)), key=lambda item: item["sk"])
        return found[-1] if found else {}

    point = newest("point#")
    copies = [item for item in items if item["sk"].startswith("copy#") and item["slot_at"] == point.get("slot_at")]
    return Told(
        thing=thing,
        resource=newest("resource"),
        point=point,
        copies=tuple(copies),
        run=_body(newest(f"run#{point.get('slot_at')}")),
        verdict=_body(newest(f"verdict#{point.get('slot_at')}")),
        rehearsal=_body(newest("rehearsal#")),
    )


def _body(item: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(item["body"]) if "body" in item else {}


def _everything(aws: EmbeddedAws) -> list[dict[str, Any]]:
    pages = aws.client("dynamodb", HOME).get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    return [
        {name: _READ.deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"]
    ]


def _between(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
