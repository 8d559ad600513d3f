"""What happens by the clock. All of it is UTC: nothing moves when a country changes its clocks."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Duration, TimeZone
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.parts.function import HandlerFunction


class Clock(Construct):
    """The schedules of a stack, in a group of its own: two stacks share the home Region, and a name exists there once.

    What a schedule could not start lies in `dead_letters`.
    """

    def __init__(self, scope: Construct, id: str, *, group_name: str, dead_letters: sqs.IQueue) -> None:
        super().__init__(scope, id)
        self._dead_letters = dead_letters
        self._group = scheduler.ScheduleGroup(self, "Group", schedule_group_name=group_name)

    def every(self, period: Duration, function: HandlerFunction) -> None:
        """The function runs once in each period."""
        self._call(function, scheduler.ScheduleExpression.rate(period))

    def daily(self, hour: int, minute: int, function: HandlerFunction) -> None:
        """The function runs once a day at this time."""
        at = scheduler.ScheduleExpression.cron(hour=str(hour), minute=str(minute), time_zone=TimeZone.ETC_UTC)
        self._call(function, at)

    def start_evenly(self, times_a_day: int, machine: stepfunctions.IStateMachine, *, name: str) -> None:
        """An execution of the machine starts so many times a day, at equal distances."""
        self._schedule(
            "Start",
            name,
            scheduler.ScheduleExpression.rate(Duration.minutes(24 * 60 // times_a_day)),
            targets.StepFunctionsStartExecution(
                machine,
                input=scheduler.ScheduleTargetInput.from_object({}),
                dead_letter_queue=self._dead_letters,
                max_event_age=Duration.hours(1),
            ),
        )

    def _call(self, function: HandlerFunction, when: scheduler.ScheduleExpression) -> None:
        target = targets.LambdaInvoke(
            function,
            dead_letter_queue=self._dead_letters,
            # An hour later a tick says nothing that newer ticks have not said.
            max_event_age=Duration.hours(1),
        )
        self._schedule(function.spec.id, function.spec.name, when, target)

    def _schedule(
        self, id: str, name: str, when: scheduler.ScheduleExpression, target: scheduler.IScheduleTarget
    ) -> None:
        scheduler.Schedule(self, id, schedule_name=name, schedule_group=self._group, schedule=when, target=target)
