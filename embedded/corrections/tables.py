"""DynamoDB as Holdfast uses it: time to live on the embedded clock, global tables out of CloudFormation.

* An expired item is gone within a few wall seconds, and its removal is on the stream, marked as DynamoDB's own.
  AWS takes up to days; treat the removal as something that happens sometime after the expiry.
* `AWS::DynamoDB::GlobalTable` gets its time to live, its point-in-time recovery, its deletion protection and
  its replicas; ministack drops all four.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from ministack.core.responses import get_region, request_scope
from ministack.services import dynamodb
from ministack.services.cloudformation import provisioners

from embedded import clock
from embedded.corrections.expected import expect, original

_logger = logging.getLogger("embedded.tables")
_EXPIRE_EVERY_WALL_SECONDS = 1.0


def install() -> None:
    _expire_on_the_embedded_clock()
    _provision_whole_global_tables()


# ---------------------------------------------------------------------------- time to live


def _expire_on_the_embedded_clock() -> None:
    original(dynamodb, "_ttl_reaper", "time.sleep(60)", "_remove_item(table, pk_val, sk_val)")
    original(dynamodb, "_emit_stream_event", "_stream_records[table_name].append(record)")
    threading.Thread(target=_keep_expiring, name="embedded-expiry", daemon=True).start()


def _keep_expiring() -> None:
    while True:
        time.sleep(_EXPIRE_EVERY_WALL_SECONDS)
        for (account, region, table_name), setting in list(dynamodb._ttl_settings.all_items()):
            if setting.get("TimeToLiveStatus") != "ENABLED":
                continue
            with request_scope(account, region):
                try:
                    _expire(table_name, setting["AttributeName"])
                except Exception:
                    _logger.exception("items of %s in %s could not be expired", table_name, region)


def _expire(table_name: str, attribute: str) -> None:
    now = clock.now()
    with dynamodb._lock:
        table = dynamodb._tables.get(table_name)
        if table is None:
            return
        due = [
            (partition, sort)
            for partition, items in table["items"].items()
            for sort, item in items.items()
            if _expires_at(item.get(attribute)) <= now
        ]
        for partition, sort in due:
            removed = dynamodb._remove_item(table, partition, sort)
            dynamodb._emit_stream_event(table_name, "REMOVE", removed, None)
            _mark_as_expiry(table_name)


def _expires_at(value: dict[str, Any] | None) -> float:
    return float(value["N"]) if value and "N" in value else float("inf")


def _mark_as_expiry(table_name: str) -> None:
    records = dynamodb._stream_records.get(table_name)
    if records:
        records[-1]["userIdentity"] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


# ---------------------------------------------------------------------------- global tables


def _provision_whole_global_tables() -> None:
    create = original(provisioners, "_ddb_global_table_create", 'translated.pop("Replicas", None)')
    update = original(provisioners, "_ddb_global_table_update", '"Replicas"')
    handler = provisioners._RESOURCE_HANDLERS["AWS::DynamoDB::GlobalTable"]
    expect(
        handler["create"] is create and handler["update"] is update, "the GlobalTable provisioner to be in its table"
    )

    def create_whole(logical_id: str, properties: dict[str, Any], stack_name: str) -> tuple[str, dict[str, Any]]:
        name, attributes = create(logical_id, properties, stack_name)
        _complete(name, properties)
        return name, attributes

    def update_whole(name: str, old: dict[str, Any], new: dict[str, Any], stack_name: str) -> Any:
        result = update(name, old, new, stack_name)
        _complete(name, new)
        return result

    handler["create"], handler["update"] = create_whole, update_whole


def _complete(name: str, properties: dict[str, Any]) -> None:
    """The table has what its CloudFormation properties say beyond an ordinary table."""
    replicas = {replica["Region"]: replica for replica in properties.get("Replicas") or []}
    home = replicas.get(get_region(), {})
    table = dynamodb._tables[name]
    table["DeletionProtectionEnabled"] = bool(home.get("DeletionProtectionEnabled"))
    dynamodb._pitr_settings[name] = _recoverable(home)
    wanted = [{"Create": {"RegionName": region}} for region in replicas if region != get_region()]
    missing = [update for update in wanted if update["Create"]["RegionName"] not in dynamodb._replica_group(table)]
    if missing:
        error = dynamodb._apply_replica_updates(name, table, missing)
        if error:
            raise RuntimeError(f"table {name} could not be replicated: {error}")
    if properties.get("TimeToLiveSpecification"):
        dynamodb._update_ttl({"TableName": name, "TimeToLiveSpecification": properties["TimeToLiveSpecification"]})


def _recoverable(replica: dict[str, Any]) -> bool:
    return bool((replica.get("PointInTimeRecoverySpecification") or {}).get("PointInTimeRecoveryEnabled"))
