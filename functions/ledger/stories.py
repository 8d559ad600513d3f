"""Facts written once: closed runs, their verdicts, rehearsals and recoveries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast

from pydantic import TypeAdapter

from functions.core import instants
from functions.core.errors import BadMessage
from functions.core.recoveries import Recovery
from functions.core.rehearsals import Rehearsal
from functions.core.resources import ResourceKey
from functions.core.runs import Run
from functions.core.slots import Slot
from functions.core.verdicts import Verdict
from functions.ledger.rows import StoryItem
from functions.ledger.table import Table

RUN = TypeAdapter(Run)
VERDICT = TypeAdapter(Verdict)
REHEARSAL = TypeAdapter(Rehearsal)
RECOVERY = TypeAdapter(Recovery)
RUNS_REMEMBERED = timedelta(days=400)
"""How long a run is kept for comparison: a yearly season and a bit."""


class Stories:
    """Runs, verdicts and rehearsals, each written by one function and never changed."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def close(self, run: Run) -> bool:
        """Whether this call wrote the run; False when it was closed before."""
        return self._tell(
            run.slot, f"run#{instants.text(run.slot.at)}", run.closed_at, RUN.dump_python(run, mode="json")
        )

    def runs(self, resource: ResourceKey, *, newest: int = 60) -> list[Run]:
        """The newest closed runs of a resource, newest first."""
        items = islice(self._table.newest_first(StoryItem, str(resource), "run#"), newest)
        return [RUN.validate_python(item.body) for item in items]

    def judge(self, slot: Slot, verdict: Verdict, now: datetime) -> bool:
        """Whether this call wrote the verdict on a run; False when it was judged before."""
        return self._tell(slot, f"verdict#{instants.text(slot.at)}", now, VERDICT.dump_python(verdict, mode="json"))

    def verdict(self, slot: Slot) -> Verdict | None:
        """The judgement of a run, None while it has none."""
        item = self._table.get(StoryItem, str(slot.resource), f"verdict#{instants.text(slot.at)}")
        return VERDICT.validate_python(item.body) if item else None

    def rehearsed(self, rehearsal: Rehearsal, now: datetime) -> bool:
        """Whether this call wrote the rehearsal's result; False when it was written before."""
        begun = rehearsal.started_at or now
        key = f"rehearsal#{rehearsal.region}#{instants.text(begun)}#{rehearsal.id}"
        body = REHEARSAL.dump_python(rehearsal, mode="json")
        return self._tell(rehearsal.slot, key, now, body, listed_in=f"rehearsal#{rehearsal.region}")

    def rehearsals(self, resource: ResourceKey) -> list[Rehearsal]:
        """Every remembered rehearsal of a resource, grouped by Region, oldest first."""
        items = self._table.starting(StoryItem, str(resource), "rehearsal#")
        return [REHEARSAL.validate_python(item.body) for item in items]

    def rehearsed_in(self, region: str) -> Iterator[Rehearsal]:
        """Every remembered rehearsal in a Region, from the index; may lag a moment behind."""
        for item in self._table.indexed(StoryItem, "listed", f"rehearsal#{region}"):
            yield REHEARSAL.validate_python(item.body)

    def recovered(self, recovery: Recovery, outcome: str, now: datetime) -> bool:
        """Whether this call wrote how the recovery ended; False when that was written before.

        One that failed and was redriven has a row for each end.
        """
        asked = instants.text(recovery.asked_at or now)
        key = f"recovery#{recovery.request.region}#{asked}#{recovery.id}#{outcome}"
        return self._tell(recovery.chosen.slot, key, now, RECOVERY.dump_python(recovery, mode="json"))

    def recoveries(self, resource: ResourceKey) -> list[Recovery]:
        """Every remembered end of a recovery of a resource, grouped by Region, oldest first."""
        items = self._table.starting(StoryItem, str(resource), "recovery#")
        return [RECOVERY.validate_python(item.body) for item in items]

    def _tell(self, slot: Slot, sk: str, at: datetime, body: object, *, listed_in: str | None = None) -> bool:
        return self._table.put_new(
            self._table.rows(StoryItem)(
                str(slot.resource),
                sk,
                account=slot.resource.account,
                at=instants.exact(at),
                body=body,
                listed_in=listed_in,
                forget_at=int((at + RUNS_REMEMBERED).timestamp()),
            )
        )


def in_stream(event: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The records of a batch of the table's stream.

    Errors: BadMessage when the event is no such batch.
    """
    records = event.get("Records")
    if not isinstance(records, list):
        raise BadMessage("Records: not a batch of a stream", hint="Something else calls the function that scores runs.")
    return cast(list[Mapping[str, Any]], records)


def run_in_stream(record: Mapping[str, Any]) -> Run:
    """The run that a record of the table's stream tells of.

    Errors: BadMessage when the record is not the insertion of a run.
    """
    try:
        return RUN.validate_json(record["dynamodb"]["NewImage"]["body"]["S"])
    except (KeyError, TypeError, ValueError) as problem:
        raise BadMessage(
            f"the stream record is not a closed run: {type(problem).__name__}",
            hint="The event source's filter lets through only INSERTs whose sort key begins with run#.",
        ) from problem
