"""The ledger's table for a whole fleet: a page of an index costs what is on the page, not what is in the index."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from tests.simulation.expressions import key_condition
from tests.simulation.table import INDEXES, LedgerTable


class FleetTable(LedgerTable):
    """As the one of the tests; counts what DynamoDB would charge."""

    units_read = 0.0
    units_written = 0.0

    def query(self, **asked: Any) -> Mapping[str, Any]:
        index = asked.get("IndexName")
        answer = super().query(**asked) if index is None else self._page(index, **asked)
        size = sum(map(_size, answer["Items"]))
        self.units_read += (1.0 if asked.get("ConsistentRead") else 0.5) * max(1, -(-size // 4096))
        return answer

    def get_item(self, **asked: Any) -> Mapping[str, Any]:
        answer = super().get_item(**asked)
        size = _size(answer["Item"]) if answer else 0
        self.units_read += (1.0 if asked.get("ConsistentRead") else 0.5) * max(1, -(-size // 4096))
        return answer

    def _write(self, key: Any, after: Any, written: Any, more: Any) -> None:
        before = self.items.get(key)
        super()._write(key, after, written, more)
        size = max(1, -(-max(_size(after), _size(before or {})) // 1024))
        self.units_written += size
        for attribute, _ in INDEXES.values():  # an index entry that moves is a delete and a put
            was, now = attribute in (before or {}), attribute in after
            has_moved = was and now and (before or {}).get(attribute) != after[attribute]
            self.units_written += size * (2 if has_moved else 1) if was or now else 0

    def _page(
        self,
        index: str,
        *,
        KeyConditionExpression: str,  # noqa: N803
        ExpressionAttributeValues: Mapping[str, Any],  # noqa: N803
        Limit: int | None = None,  # noqa: N803
        ExclusiveStartKey: Any = None,  # noqa: N803
        **_: Any,
    ) -> Mapping[str, Any]:
        wanted = key_condition(KeyConditionExpression, ExpressionAttributeValues)
        keys = self._index[index].get(wanted.partition, [])
        sort = INDEXES[index][1]
        begin = 0
        if ExclusiveStartKey is not None:
            at = ExclusiveStartKey
            begin = bisect_right(keys, (at[sort]["S"], at["pk"]["S"], at["sk"]["S"]))
        end = len(keys)
        if wanted.compared == "<=":
            end = bisect_right(keys, (wanted.sort, "\U0010ffff"))
        elif wanted.compared:
            raise NotImplementedError(f"an index asked by {wanted.compared!r}")
        last = min(end, begin + min(Limit or self._page_items, self._page_items))
        items = [self.items[key[-2], key[-1]] for key in keys[begin:last]]
        answer: dict[str, Any] = {"Items": items, "Count": len(items), "ScannedCount": len(items)}
        if last < end:
            names = {"pk", "sk", *INDEXES[index]}
            answer["LastEvaluatedKey"] = {name: items[-1][name] for name in sorted(names)}
        return answer


def _size(item: Mapping[str, Any]) -> int:
    """About as DynamoDB counts: names and values as text."""
    return sum(len(name) + len(str(next(iter(value.values())))) for name, value in item.items())
