"""What wakes a person: notices by e-mail, and alarms about what Holdfast cannot say about itself."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Duration, Environment, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra import names
from infra.parts.order_queue import DeadLetters
from infra.settings import Deployment

MACHINE_ENDS = ("ABORTED", "FAILED", "TIMED_OUT")


class WatchStack(Stack):
    """The topic of a Region and what speaks through it. It is there before the functions that publish to it."""

    def __init__(self, scope: Construct, id: str, *, deployment: Deployment, env: Environment) -> None:
        super().__init__(scope, id, env=env, description="Holdfast: tells people what needs them")
        self._topic = sns.Topic(
            self,
            "Notices",
            topic_name=names.TOPIC,
            display_name="Holdfast",
            master_key=kms.Alias.from_alias_name(self, "Key", names.KEY_ALIAS),
            enforce_ssl=True,
        )
        for address in deployment.configuration.notify:
            self._topic.add_subscription(subscriptions.EmailSubscription(address))
        self._let_alarms_speak()
        if self.region == deployment.home:
            self._alarm_when_nothing_is_planned()
            self._alarm_when_backups_are_overdue()
            self._alarm_when_points_are_lost()
            self._alarm_when_strangers_read_backups()
            if deployment.longest_lock_days:
                self._alarm_when_points_stay_unlocked()
            self._alarm_on_dead_letters(names.DEAD_LETTERS_AT_HOME)
        self._alarm_on_dead_letters((*names.DEAD_LETTERS_AT_RECOVERY, names.UNSENT_NOTICES))
        self._tell_how_workflows_ended()

    def _let_alarms_speak(self) -> None:
        self._topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="Alarms",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self._topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )

    def _alarm_when_nothing_is_planned(self) -> None:
        """Silence is the alarm: the planner counts its plans, and a planner that stopped counts none."""
        self._alarm(
            "NoPlan",
            name="holdfast-no-plan",
            says="No backup plan was made for 15 minutes. Look at the log of holdfast-plan-backups; until it runs "
            "again, no backup is begun. Right after the first deployment this ends by itself.",
            metric=cloudwatch.Metric(
                namespace=names.METRICS, metric_name=names.PLANS_MADE, statistic="Sum", period=Duration.minutes(5)
            ),
            threshold=1,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            periods=3,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm_when_backups_are_overdue(self) -> None:
        """The sweep counts what is past its deadline; a sweep that stopped counts nothing, which is as bad."""
        self._alarm_above_zero(
            "Overdue",
            name="holdfast-overdue",
            says="Backups are past their deadline, or the sweep does not run. The log of holdfast-sweep names them; "
            "the error of each is on the ledger. Right after the first deployment this ends by itself.",
            counted=names.OVERDUE,
            period=Duration.minutes(15),
            periods=2,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm_when_points_are_lost(self) -> None:
        """Completed snapshots that AWS no longer has: somebody else deleted them."""
        self._alarm_above_zero(
            "Lost",
            name="holdfast-lost",
            says="Recovery points or copies that were complete are not at AWS any more. The log of "
            "holdfast-mark-expired names them; CloudTrail says who deleted them. Copies are made again by themselves.",
            counted=names.LOST,
            period=Duration.days(1),
            periods=1,
            missing=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _alarm_when_strangers_read_backups(self) -> None:
        """A notice told of each at once; this stands while one stands, and when nobody looks any more."""
        self._alarm_above_zero(
            "Exposed",
            name="holdfast-exposed",
            says="Backups are shared with accounts that the settings do not name, or holdfast-watch-sharing does not "
            "run. Its notices and its log name them; where shares are taken back, the log of holdfast-withdraw-shares "
            "says why one stays. Right after the first deployment this ends by itself.",
            counted=names.EXPOSED,
            period=Duration.minutes(5),
            periods=3,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm_when_points_stay_unlocked(self) -> None:
        self._alarm_above_zero(
            "Unlocked",
            name="holdfast-unlocked",
            says="Points that their policy locks could not be locked, or holdfast-lock-points does not run. Its log "
            "names them and says why.",
            counted=names.UNLOCKED,
            period=Duration.minutes(15),
            periods=3,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm_on_dead_letters(self, queues: Iterable[str]) -> None:
        for queue in queues:
            self._alarm(
                "".join(word.capitalize() for word in queue.split("-")),
                name=f"{queue}-not-empty",
                says=f"{queue} holds messages that could not be handled. Read one in the SQS console: it carries the "
                "error. When the cause is mended, start a redrive there.",
                metric=cloudwatch.Metric(
                    namespace="AWS/SQS",
                    metric_name="ApproximateNumberOfMessagesVisible",
                    dimensions_map={"QueueName": queue},
                    statistic="Maximum",
                    period=Duration.minutes(5),
                ),
                threshold=0,
                comparison=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
                periods=1,
                missing=cloudwatch.TreatMissingData.NOT_BREACHING,
            )

    def _alarm_above_zero(
        self,
        id: str,
        *,
        name: str,
        says: str,
        counted: str,
        period: Duration,
        periods: int,
        missing: cloudwatch.TreatMissingData,
    ) -> None:
        """Of a number of our own that should be none."""
        self._alarm(
            id,
            name=name,
            says=says,
            metric=cloudwatch.Metric(namespace=names.METRICS, metric_name=counted, statistic="Maximum", period=period),
            threshold=0,
            comparison=cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
            periods=periods,
            missing=missing,
        )

    def _alarm(
        self,
        id: str,
        *,
        name: str,
        says: str,
        metric: cloudwatch.Metric,
        threshold: float,
        comparison: cloudwatch.ComparisonOperator,
        periods: int,
        missing: cloudwatch.TreatMissingData,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            id,
            alarm_name=name,
            alarm_description=says,
            metric=metric,
            threshold=threshold,
            comparison_operator=comparison,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        to_people = actions.SnsAction(self._topic)
        alarm.add_alarm_action(to_people)
        alarm.add_ok_action(to_people)

    def _tell_how_workflows_ended(self) -> None:
        """An execution that fails, times out or is stopped is told from outside: it cannot tell that itself."""
        machines = f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:holdfast-"
        rule = events.Rule(
            self,
            "Ended",
            rule_name="holdfast-workflow-ended-badly",
            description="A workflow of Holdfast failed, timed out or was stopped",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={"stateMachineArn": events.Match.prefix(machines), "status": list(MACHINE_ENDS)},
            ),
        )
        execution = events.EventField.from_path("$.detail.executionArn")
        rule.add_target(
            targets.SnsTopic(
                self._topic,
                message=events.RuleTargetInput.from_text(
                    f"Holdfast in {self.region}: the execution {execution} ended "
                    f"{events.EventField.from_path('$.detail.status')}. "
                    "Open it in the Step Functions console: the red state says what to do."
                ),
                # A role and not a line in the topic's policy: only a role can be tied to this account.
                role=iam.Role(
                    self,
                    "Herald",
                    assumed_by=iam.ServicePrincipal(
                        "events.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": self.account}}
                    ),
                    description="Publishes how workflows ended",
                ),
                dead_letter_queue=DeadLetters(self, "Unsent", queue_name=names.UNSENT_NOTICES),
            )
        )
