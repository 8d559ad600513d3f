"""Messages AWS sends us: only the fields we read, in AWS's spelling, each turned into a word of ours."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from functions.core.errors import BadMessage
from functions.core.plain_text import one_line
from functions.core.resources import Kind, ResourceKey


class _FromAws(BaseModel):
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class _SnapshotOfSet(_FromAws):
    snapshot_id: str = ""


class _NoticeDetail(_FromAws):
    snapshot_id: str = ""
    snapshots: list[_SnapshotOfSet] = []
    source_identifier: str = Field(default="", alias="SourceIdentifier")


class Notice(_FromAws):
    """A notice of EC2 or RDS about a snapshot. It is a hint that something moved there; the truth is asked for."""

    detail_type: str = Field(alias="detail-type")
    source: Literal["aws.ec2", "aws.rds"]
    account: str
    region: str
    detail: _NoticeDetail = _NoticeDetail()

    @property
    def snapshot_ids(self) -> tuple[str, ...]:
        """The snapshots it names, without the ARNs around them."""
        named = (
            self.detail.snapshot_id,
            self.detail.source_identifier,
            *(s.snapshot_id for s in self.detail.snapshots),
        )
        return tuple(name.rpartition("/")[2] for name in named if name)


class _Metric(_FromAws):
    namespace: str = ""
    name: str = ""
    dimensions: dict[str, str] = {}


class _MetricStat(_FromAws):
    metric: _Metric = _Metric()


class _MetricQuery(_FromAws):
    metric_stat: _MetricStat = Field(default=_MetricStat(), alias="metricStat")


class _Configuration(_FromAws):
    metrics: list[_MetricQuery] = []


class _State(_FromAws):
    value: str
    timestamp: str = ""


class _AlarmDetail(_FromAws):
    alarm_name: str = Field(alias="alarmName")
    state: _State
    configuration: _Configuration = _Configuration()


class AlarmChanged(_FromAws):
    """A CloudWatch alarm that changed its state, as EventBridge delivers it."""

    source: Literal["aws.cloudwatch"]
    account: str
    region: str
    time: AwareDatetime
    detail: _AlarmDetail

    @property
    def is_alarm(self) -> bool:
        """Whether it went into ALARM."""
        return self.detail.state.value == "ALARM"

    @property
    def alarmed_at(self) -> datetime:
        """When EventBridge saw the change."""
        return self.time

    def resources(self) -> tuple[ResourceKey, ...]:
        """The volumes, instances, databases and clusters whose metrics the alarm watches; empty for any other alarm,
        and for one whose dimensions nothing at AWS can be called by."""
        found: list[ResourceKey] = []
        for query in self.detail.configuration.metrics:
            metric = query.metric_stat.metric
            for namespace, dimension, kind in WATCHED:
                if metric.namespace == namespace and metric.dimensions.get(dimension):
                    written = f"{kind}/{self.region}/{metric.dimensions[dimension]}"
                    with suppress(ValueError):
                        found.append(ResourceKey.parse(written, account=self.account))
        return tuple(dict.fromkeys(found))


WATCHED = (
    ("AWS/EBS", "VolumeId", Kind.VOLUME),
    ("AWS/EC2", "InstanceId", Kind.INSTANCE),
    ("AWS/RDS", "DBInstanceIdentifier", Kind.DATABASE),
    ("AWS/RDS", "DBClusterIdentifier", Kind.CLUSTER),
)


def alarm(event: object) -> AlarmChanged:
    """The alarm change an EventBridge event tells of.

    Errors: BadMessage when it is none.
    """
    return _checked(AlarmChanged, event)


def notices(records: object) -> tuple[Notice, ...]:
    """The notices in a batch of SQS records, each an EventBridge event.

    Errors: BadMessage when one is not a notice of EC2 or RDS.
    """
    if not isinstance(records, list):
        raise BadMessage(
            "Records: not a batch of notices", hint="Something else calls the function that tracks points."
        )
    return tuple(_checked(Notice, _body(record)) for record in cast(list[Any], records))


def _body(record: Any) -> Any:
    try:
        return json.loads(record["body"])
    except (KeyError, TypeError, ValueError, RecursionError) as problem:
        raise BadMessage(
            "Records.body: a notice is not JSON", hint="Something else writes to the queue of notices."
        ) from problem


def _checked(shape: type[Any], event: object) -> Any:
    try:
        return shape.model_validate(event)
    except ValidationError as problem:
        said = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'event'}: {e['msg']}" for e in problem.errors())
        raise BadMessage(
            f"not a {shape.__name__}: {one_line(said, longest=600)}",
            hint="Compare it with the example in events/; the rule that sent it may match too much.",
        ) from problem
