"""Backups, in the home Region: what is planned by the clock, ordered through queues and tracked by notices."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Acknowledgment, Annotations, Duration, Environment, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra import functions, names
from infra.functions import Spec
from infra.packaging import Package
from infra.parts import aws_notices, logged_calls, neighbours
from infra.parts.clock import Clock
from infra.parts.function import HandlerFunction
from infra.parts.order_queue import DeadLetters, OrderQueue
from infra.settings import Deployment

SNAPSHOT_ORDERS_URL = "HOLDFAST_SNAPSHOT_ORDERS_URL"
COPY_ORDERS_URL = "HOLDFAST_COPY_ORDERS_URL"

AT_ONCE = 10
"""How many functions carry out orders of one queue at once. EC2 refills 5 creating calls a second, so that more of
them would only be throttled."""


class BackupStack(Stack):
    """Functions, queues, schedules and rules; it may be destroyed and deployed again at any time."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        deployment: Deployment,
        ledger: dynamodb.ITableV2,
        env: Environment,
    ) -> None:
        super().__init__(scope, id, env=env, description="Holdfast: takes, copies and expires recovery points")
        self._deployment = deployment
        self._package = Package(self, "Package", block=deployment.block)
        self._ledger = neighbours.ledger(self, stream_arn=ledger.table_stream_arn)
        self._missed = DeadLetters(self, "Missed", queue_name=names.MISSED_EVENTS)

        snapshot_orders = OrderQueue(self, "SnapshotOrders", queue_name=names.SNAPSHOT_ORDERS)
        copy_orders = OrderQueue(self, "CopyOrders", queue_name=names.COPY_ORDERS)
        notices = OrderQueue(self, "AwsNotices", queue_name=names.AWS_NOTICES)

        take_inventory = self._function(functions.TAKE_INVENTORY)
        plan_backups = self._function(functions.PLAN_BACKUPS)
        take_snapshot = self._function(functions.TAKE_SNAPSHOT, sends_back=True)
        track_points = self._function(functions.TRACK_POINTS)
        copy_snapshot = self._function(functions.COPY_SNAPSHOT, sends_back=True)
        sweep = self._function(functions.SWEEP)
        mark_expired = self._function(functions.MARK_EXPIRED)
        delete_expired = self._function(functions.DELETE_EXPIRED)
        heed_alarm = self._function(functions.HEED_ALARM)
        heed_failure = self._function(functions.HEED_FAILURE)
        score_run = self._function(functions.SCORE_RUN)

        for function in (plan_backups, take_snapshot, track_points, sweep, heed_alarm):
            function.order_through(snapshot_orders, SNAPSHOT_ORDERS_URL)
        for function in (track_points, copy_snapshot, sweep):
            function.order_through(copy_orders, COPY_ORDERS_URL)
        for function in (take_snapshot, track_points, copy_snapshot, sweep, mark_expired, delete_expired):
            function.handle_snapshots()
        Validations.of(self.node.find_child(f"{functions.COPY_SNAPSHOT.id}Role")).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::E3510",
                reason="snapshot/${*} is IAM's way to write the literal asterisk that stands for a copy not yet made",
            )
        )

        snapshot_orders.feed(take_snapshot, batch_size=5, max_concurrency=AT_ONCE)
        copy_orders.feed(copy_snapshot, batch_size=5, max_concurrency=AT_ONCE)
        notices.feed(track_points, batch_size=10, max_batching_window=Duration.seconds(2), answers_for_each=False)
        aws_notices.rule(self).add_target(targets.SqsQueue(notices.queue, dead_letter_queue=self._missed))
        self._wake_on_alarms(heed_alarm)
        self._recover_on_alarms(heed_failure)
        self._score_what_the_ledger_learns(score_run)
        topic = neighbours.topic(self)
        bus = events.EventBus(self, "Bus", event_bus_name=names.BUS)
        heed_failure.tell_people(topic)
        mark_expired.tell_people(topic)
        score_run.tell(topic, bus)

        clock = Clock(self, "Clock", group_name=names.SCHEDULES, dead_letters=self._missed)
        clock.every(Duration.hours(1), take_inventory)
        clock.every(Duration.minutes(5), plan_backups)
        clock.every(Duration.minutes(1), track_points)
        clock.every(Duration.minutes(15), sweep)
        clock.daily(5, 10, mark_expired)
        clock.daily(5, 40, delete_expired)
        for function in (take_inventory, plan_backups, track_points, sweep, mark_expired, delete_expired, heed_alarm):
            function.give_up_into(self._missed)
        self._watch_over_what_is_kept(clock, topic, bus)

    def _function(self, spec: Spec, *, sends_back: bool = False, writes: bool = True) -> HandlerFunction:
        function = HandlerFunction(
            self, spec, deployment=self._deployment, package=self._package, sends_back=sends_back
        )
        function.remember_in(self._ledger, write=writes)
        return function

    def _watch_over_what_is_kept(self, clock: Clock, topic: sns.ITopic, bus: events.IEventBus) -> None:
        """Nobody reads our snapshots who should not, and none becomes unreadable, without somebody being told."""
        watch_sharing = self._function(functions.WATCH_SHARING)
        check_keys = self._function(functions.CHECK_KEYS)
        clock.every(Duration.minutes(5), watch_sharing)
        clock.daily(6, 10, check_keys)
        for function, rule in (
            (watch_sharing, logged_calls.of_sharing(self)),
            (check_keys, logged_calls.of_keys(self)),
        ):
            function.tell(topic, bus)
            function.give_up_into(self._missed)
            rule.add_target(targets.LambdaFunction(function, dead_letter_queue=self._missed))
        check_keys.handle_snapshots()
        if self._deployment.configuration.settings.guard.enforce:
            self._withdraw_shares(clock, topic, bus)
        if self._deployment.longest_lock_days:
            self._lock_points(clock)

    def _withdraw_shares(self, clock: Clock, topic: sns.ITopic, bus: events.IEventBus) -> None:
        """At once when a share is found, and again until it is gone."""
        withdraw_shares = self._function(functions.WITHDRAW_SHARES, writes=False)
        withdraw_shares.tell_people(topic)
        withdraw_shares.give_up_into(self._missed)
        clock.every(Duration.minutes(5), withdraw_shares)
        rule = events.Rule(
            self,
            "SharesFound",
            rule_name="holdfast-shares-found",
            description="A snapshot is shared with strangers",
            event_bus=bus,
            event_pattern=events.EventPattern(
                source=["holdfast"], detail_type=["FindingBegun.v1"], detail={"concern": ["share"]}
            ),
        )
        rule.add_target(targets.LambdaFunction(withdraw_shares, dead_letter_queue=self._missed))

    def _lock_points(self, clock: Clock) -> None:
        lock_points = self._function(functions.locking_at_most(self._deployment.longest_lock_days), writes=False)
        lock_points.handle_snapshots()
        lock_points.give_up_into(self._missed)
        clock.every(Duration.minutes(15), lock_points)
        Annotations.of(self).add_info(
            "Locks hold EBS snapshots only: RDS has none. For databases under a policy with a lock, what keeps points "
            "is that nothing but holdfast-delete-expired may delete them, and the copies in other Regions."
        )

    def _wake_on_alarms(self, heed_alarm: HandlerFunction) -> None:
        rule = events.Rule(
            self,
            "Alarms",
            rule_name="holdfast-alarms",
            description="An alarm may mean that more is written than usual; our own alarms mean something else",
            event_pattern=events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                detail={
                    "alarmName": events.Match.anything_but_prefix("holdfast-"),
                    "state": {"value": ["ALARM"]},
                },
            ),
        )
        rule.add_target(targets.LambdaFunction(heed_alarm, dead_letter_queue=self._missed))

    def _recover_on_alarms(self, heed_failure: HandlerFunction) -> None:
        """Only for the alarms that the settings name; without any there is no rule."""
        alarms = sorted({rule.alarm for rule in self._deployment.configuration.settings.automatic})
        heed_failure.give_up_into(self._missed)
        if not alarms:
            return
        rule = events.Rule(
            self,
            "Failures",
            rule_name="holdfast-failures",
            description="Alarms that start a recovery beside what failed",
            event_pattern=events.EventPattern(
                source=["aws.cloudwatch"],
                detail_type=["CloudWatch Alarm State Change"],
                detail={"alarmName": alarms, "state": {"value": ["ALARM"]}},
            ),
        )
        rule.add_target(targets.LambdaFunction(heed_failure, dead_letter_queue=self._missed))

    def _score_what_the_ledger_learns(self, score_run: HandlerFunction) -> None:
        of_new_runs = lambda_.FilterCriteria.filter(
            {
                "eventName": lambda_.FilterRule.is_equal("INSERT"),
                "dynamodb": {"Keys": {"sk": {"S": lambda_.FilterRule.begins_with("run#")}}},
            }
        )
        score_run.add_event_source(
            event_sources.DynamoEventSource(
                self._ledger,
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,
                batch_size=10,
                max_batching_window=Duration.seconds(1),
                bisect_batch_on_error=True,
                retry_attempts=5,
                filters=[of_new_runs],
                on_failure=event_sources.SqsDlq(self._missed),
            )
        )
