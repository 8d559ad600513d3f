"""Recovery, in every Region that holds copies: nothing in it needs the home Region to be there."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Environment, Fn, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra import functions, names
from infra.functions import Spec
from infra.packaging import Package
from infra.parts import aws_notices, neighbours
from infra.parts.clock import Clock
from infra.parts.function import HandlerFunction
from infra.parts.order_queue import DeadLetters
from infra.parts.rehearsal_network import RehearsalNetwork
from infra.parts.workflow import Workflow
from infra.settings import Deployment


class RecoveryStack(Stack):
    """The rehearsal of recoveries, and the notices of this Region sent on to where copies are tracked."""

    def __init__(self, scope: Construct, id: str, *, deployment: Deployment, env: Environment) -> None:
        super().__init__(scope, id, env=env, description="Holdfast: proves that the copies in this Region restore")
        self._deployment = deployment
        self._package = Package(self, "Package", block=deployment.block)
        self._missed = DeadLetters(self, "Missed", queue_name=names.MISSED_EVENTS)
        self._network = RehearsalNetwork(self, "Network") if deployment.configuration.rehearse_databases else None

        made = {spec.verb: self._function(spec) for spec in functions.AT_RECOVERY}
        ledger = neighbours.ledger(self)
        made[functions.CHOOSE_REHEARSAL.verb].remember_in(ledger, write=False)
        record_rehearsal = made[functions.RECORD_REHEARSAL.verb]
        record_rehearsal.remember_in(ledger)
        record_rehearsal.tell(neighbours.topic(self), events.EventBus(self, "Bus", event_bus_name=names.BUS))
        for spec in (functions.START_RESTORE, functions.CHECK_RESTORE, functions.REMOVE_RESTORE):
            self._place(made[spec.verb])

        rehearse = Workflow(self, "Rehearse", machine_name=names.REHEARSE, file="rehearse", functions=made.values())
        if deployment.configuration.rehearsals_per_day:
            clock = Clock(self, "Clock", dead_letters=self._missed)
            clock.start_evenly(deployment.configuration.rehearsals_per_day, rehearse.machine, name=names.REHEARSE)
        self._send_notices_home()

    @property
    def availability_zones(self) -> list[str]:
        """The first two, by position: with an account in the settings, the CDK would ask AWS for their names."""
        return [Fn.select(position, Fn.get_azs()) for position in range(2)]

    def _function(self, spec: Spec) -> HandlerFunction:
        inside = self._network if spec is functions.VERIFY_DATABASE else None
        return HandlerFunction(
            self,
            spec,
            deployment=self._deployment,
            package=self._package,
            vpc=inside.vpc if inside else None,
            security_group=inside.verifier if inside else None,
        )

    def _place(self, function: HandlerFunction) -> None:
        """The function knows where restored databases go; without a network there is nowhere, and none are restored."""
        if self._network is not None:
            function.add_environment("HOLDFAST_REHEARSAL_SUBNET_GROUP", names.SUBNET_GROUP)
            function.add_environment("HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS", self._network.databases.security_group_id)

    def _send_notices_home(self) -> None:
        home_bus = f"arn:{self.partition}:events:{self._deployment.home}:{self.account}:event-bus/default"
        courier = iam.Role(
            self,
            "Courier",
            assumed_by=iam.ServicePrincipal(
                "events.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": self.account}}
            ),
            description="Sends what EC2 and RDS say about snapshots here to the home Region",
        )
        aws_notices.rule(self).add_target(
            targets.EventBus(
                events.EventBus.from_event_bus_arn(self, "HomeBus", home_bus),
                role=courier,
                dead_letter_queue=self._missed,
            )
        )
