"""The ledger's table: items, two sparse indexes, conditional writes, and a stream of what was inserted.

What the client of DynamoDB would be asked comes in as its parameters and goes out as its answers.
"""

# ruff: noqa: N803
# Parameters have the names that AWS gave them.

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from tests.simulation.expressions import Invalid, Item, NotUnderstood, condition, key_condition, update

Key = tuple[str, str]
SortKey = tuple[str, ...]

INDEXES: Mapping[str, tuple[str, str]] = {"open": ("open_in", "open_until"), "listed": ("listed_in", "pk")}
"""By name, the attributes that are its partition and its sort key. An item without both is not in it."""

BEHIND = timedelta(seconds=30)
"""How much older than the table an index may be when it lags."""


class Written:
    """What a write did: the item before, None where there was none, and after."""

    __slots__ = ("after", "at", "before", "condition", "key")

    def __init__(self, key: Key, before: Item | None, after: Item, condition: str | None, at: datetime) -> None:
        self.key = key
        self.before = before
        self.after = after
        self.condition = condition
        self.at = at


class LedgerTable:
    """One table. `watchers` hear of every write at its moment; `inserted` is the stream, oldest first."""

    def __init__(self, name: str, now: Callable[[], datetime], *, page_items: int = 200) -> None:
        self.name = name
        self.watchers: list[Callable[[Written], None]] = []
        self.inserted: deque[Item] = deque()
        self.items: dict[Key, Item] = {}
        self._now = now
        self._page_items = page_items
        self._sorted: dict[str, list[str]] = {}
        self._index: dict[str, dict[str, list[SortKey]]] = {name: {} for name in INDEXES}
        self._recent: deque[Written] = deque(maxlen=200)

    @property
    def is_anything_open(self) -> bool:
        """Whether a point or a copy has work left; resources are in the same index, by their next slot."""
        return any(keys and name.startswith(("create#", "copy#")) for name, keys in self._index["open"].items())

    def forget_everything(self) -> None:
        """The table is empty, as after its loss."""
        self.items.clear()
        self._sorted.clear()
        self._recent.clear()
        for partitions in self._index.values():
            partitions.clear()

    def of(self, pk: str, prefix: str = "") -> list[Item]:
        """The items of a partition whose sort keys begin so, in order; for those who look from outside."""
        keys = self._sorted.get(pk, [])
        found: list[Item] = []
        for sk in keys[bisect_left(keys, prefix) :]:
            if not sk.startswith(prefix):
                break
            found.append(self.items[pk, sk])
        return found

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool = False, **_: Any) -> Mapping[str, Any]:
        item = self.items.get((Key["pk"]["S"], Key["sk"]["S"]))
        return {} if item is None else {"Item": dict(item)}

    def put_item(self, *, Item: Item, ConditionExpression: str | None = None, **more: Any) -> Mapping[str, Any]:
        self._write((Item["pk"]["S"], Item["sk"]["S"]), dict(Item), ConditionExpression, more)
        return {}

    def update_item(
        self,
        *,
        Key: Any,
        UpdateExpression: str,
        ConditionExpression: str | None = None,
        ReturnValues: str = "NONE",
        **more: Any,
    ) -> Mapping[str, Any]:
        key = (Key["pk"]["S"], Key["sk"]["S"])
        before = self.items.get(key)
        after = dict(before) if before is not None else {"pk": Key["pk"], "sk": Key["sk"]}
        self._must_hold(before, ConditionExpression, more)
        try:
            update(UpdateExpression)(
                before or {}, after, more["ExpressionAttributeNames"], more.get("ExpressionAttributeValues", {})
            )
        except Invalid as problem:
            raise refusal("ValidationException", str(problem), "UpdateItem", 400) from problem
        self._write(key, after, ConditionExpression, None)
        if ReturnValues != "ALL_NEW":
            raise NotUnderstood(f"ReturnValues {ReturnValues}")
        return {"Attributes": dict(after)}

    def query(
        self,
        *,
        KeyConditionExpression: str,
        ExpressionAttributeNames: Mapping[str, str],
        ExpressionAttributeValues: Mapping[str, Any],
        IndexName: str | None = None,
        ScanIndexForward: bool = True,
        Limit: int | None = None,
        ExclusiveStartKey: Any = None,
        is_behind: bool = False,
        **more: Any,
    ) -> Mapping[str, Any]:
        if "FilterExpression" in more:
            raise NotUnderstood("a filter in a query")
        wanted = key_condition(KeyConditionExpression, ExpressionAttributeValues)
        if IndexName is None:
            beginning = wanted.sort if wanted.compared == "begins_with" else ""
            found = [item for item in self.of(wanted.partition, beginning) if wanted.lets_through(item["sk"]["S"])]
        else:
            sort = INDEXES[IndexName][1]
            listed = self._indexed(IndexName, wanted.partition, is_behind=is_behind)
            if not listed:
                return {"Items": [], "Count": 0, "ScannedCount": 0}
            found = [item for item in listed if wanted.lets_through(item[sort]["S"])]
        if not ScanIndexForward:
            found = found[::-1]
        if ExclusiveStartKey is not None:
            start = (ExclusiveStartKey["pk"]["S"], ExclusiveStartKey["sk"]["S"])
            position = next(i for i, item in enumerate(found) if (item["pk"]["S"], item["sk"]["S"]) == start)
            found = found[position + 1 :]
        page = found[: min(Limit or self._page_items, self._page_items)]
        answer: dict[str, Any] = {"Items": [dict(item) for item in page], "Count": len(page), "ScannedCount": len(page)}
        if len(page) < len(found):
            last = page[-1]
            names = {"pk", "sk", *(INDEXES[IndexName] if IndexName else ())}
            answer["LastEvaluatedKey"] = {name: last[name] for name in sorted(names)}
        return answer

    def would_differ_behind(self, query: Mapping[str, Any]) -> bool:
        """Whether this query of an index would be answered differently by one that lags."""
        wanted = key_condition(query["KeyConditionExpression"], query["ExpressionAttributeValues"])
        now, behind = (self._indexed(query["IndexName"], wanted.partition, is_behind=lags) for lags in (False, True))
        return now != behind

    def _indexed(self, index: str, partition: str, *, is_behind: bool) -> list[Item]:
        keys = self._index[index].get(partition, [])
        if not is_behind:
            return [self.items[key[-2], key[-1]] for key in keys]
        seen = {(key[-2], key[-1]): self.items[key[-2], key[-1]] for key in keys}
        for written in reversed(self._recent):
            if self._now() - written.at > BEHIND:
                break
            seen.pop(written.key, None)
            entry = _entry(index, written.before)
            if written.before is not None and entry is not None and entry[0] == partition:
                seen[written.key] = written.before
        sort = INDEXES[index][1]
        return sorted(seen.values(), key=lambda item: (item[sort]["S"], item["pk"]["S"], item["sk"]["S"]))

    def _must_hold(self, before: Item | None, written: str | None, more: Mapping[str, Any]) -> None:
        if written is None:
            return
        test = condition(written)
        if not test(before or {}, more["ExpressionAttributeNames"], more.get("ExpressionAttributeValues", {})):
            raise refusal("ConditionalCheckFailedException", "The conditional request failed", "UpdateItem", 400)

    def _write(self, key: Key, after: Item, written: str | None, more: Mapping[str, Any] | None) -> None:
        before = self.items.get(key)
        if more is not None:
            self._must_hold(before, written, more)
        self.items[key] = after
        if before is None:
            insort(self._sorted.setdefault(key[0], []), key[1])
            self.inserted.append(after)
        for index, partitions in self._index.items():
            was, now = _entry(index, before), _entry(index, after)
            if was != now:
                if was is not None:
                    held = partitions[was[0]]
                    held.pop(bisect_left(held, was[1]))
                if now is not None:
                    insort(partitions.setdefault(now[0], []), now[1])
        change = Written(key, before, after, written, self._now())
        self._recent.append(change)
        for watcher in self.watchers:
            watcher(change)


def refusal(code: str, message: str, operation: str, status: int = 400, **more: Any) -> ClientError:
    """An error as botocore raises it."""
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}, **more}
    return ClientError(answer, operation)


def _entry(index: str, item: Item | None) -> tuple[str, SortKey] | None:
    """Where an item stands in an index: its partition, and what it is sorted by."""
    if item is None:
        return None
    partition, sort = INDEXES[index]
    if partition not in item or sort not in item:
        return None
    return item[partition]["S"], (item[sort]["S"], item["pk"]["S"], item["sk"]["S"])
