"""Recovery, in every Region in use: where copies are, nothing in it needs the home Region to be there."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from aws_cdk import Duration, Environment, Fn, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra import functions, names
from infra.functions import Spec
from infra.packaging import Package
from infra.parts import aws_notices, logged_calls, neighbours
from infra.parts.clock import Clock
from infra.parts.deep_checks import DeepChecks
from infra.parts.function import HandlerFunction
from infra.parts.order_queue import DeadLetters
from infra.parts.rehearsal_network import RehearsalNetwork
from infra.parts.workflow import Workflow
from infra.settings import Deployment

READERS = (
    functions.CHOOSE_REHEARSAL,
    functions.CHOOSE_RECOVERY,
    functions.PLAN_RECOVERY,
    functions.ANSWER_APPROVAL,
    functions.REAP_REHEARSALS,
    functions.INSPECT_CONTENT,
    functions.VERIFY_RECOVERY,
    functions.SWAP_NAMES,
)
"""They read the ledger and write nothing."""

WRITERS = (
    functions.RECORD_REHEARSAL,
    functions.VERIFY_VOLUME,
    functions.ASK_APPROVAL,
    functions.RECORD_RECOVERY,
    functions.HOLD_POINT,
)


class RecoveryStack(Stack):
    """Recoveries, and rehearsals of them; with copies here, the notices of this Region are sent on home."""

    def __init__(self, scope: Construct, id: str, *, deployment: Deployment, env: Environment) -> None:
        super().__init__(scope, id, env=env, description="Holdfast: recovers in this Region, and proves that it can")
        self._deployment = deployment
        is_home = self.region == deployment.home
        rehearses = deployment.rehearses_in(self.region)
        self._package = Package(self, "Package", block=deployment.block)
        self._missed = DeadLetters(self, "Missed", queue_name=names.MISSED_RECOVERY_EVENTS)
        with_databases = rehearses and deployment.configuration.rehearse_databases
        checks_deeply = rehearses and deployment.configuration.settings.checks_deeply
        network = (
            RehearsalNetwork(self, "Network", databases=with_databases) if with_databases or checks_deeply else None
        )
        self._network = network if with_databases else None

        self._made = {spec.verb: self._function(spec) for spec in functions.AT_RECOVERY}
        self._connect(
            events.EventBus.from_event_bus_name(self, "Bus", names.BUS)
            if is_home
            else events.EventBus(self, "Bus", event_bus_name=names.BUS)
        )
        if network is not None and checks_deeply:
            self._check_deeply(DeepChecks(self, "DeepChecks", network=network))
        clock = Clock(self, "Clock", group_name=names.RECOVERY_SCHEDULES, dead_letters=self._missed)
        rehearse = self._workflow("Rehearse", names.REHEARSE, "rehearse")
        recover = self._workflow("Recover", names.RECOVER, "recover")
        self._workflow("RecoverSet", names.RECOVER_SET, "recover_set", Recover=recover.machine)
        self._workflow("Answer", names.ANSWER, "answer")
        self._workflow("Hold", names.HOLD, "hold")
        self._workflow("Swap", names.SWAP, "swap_names")
        if rehearses and deployment.configuration.rehearsals_per_day:
            clock.start_evenly(deployment.configuration.rehearsals_per_day, rehearse.machine, name=names.REHEARSE)
        reap_rehearsals = self._made[functions.REAP_REHEARSALS.verb]
        clock.every(Duration.minutes(15), reap_rehearsals)
        reap_rehearsals.give_up_into(self._missed)
        if not is_home:
            self._send_notices_home()

    def _connect(self, bus: events.IEventBus) -> None:
        """Each function knows what it works with, and may use it."""
        ledger, topic = neighbours.ledger(self), neighbours.topic(self)
        for spec in (*READERS, *WRITERS):
            self._made[spec.verb].remember_in(ledger, write=spec in WRITERS)
        for spec in (functions.RECORD_REHEARSAL, functions.RECORD_RECOVERY):
            self._made[spec.verb].tell(topic, bus)
        for spec in (functions.ASK_APPROVAL, functions.NOTE_SET, functions.REAP_REHEARSALS):
            self._made[spec.verb].tell_people(topic)
        for spec in (
            functions.START_RESTORE,
            functions.CHECK_RESTORE,
            functions.REMOVE_RESTORE,
            functions.REAP_REHEARSALS,
        ):
            self._place(self._made[spec.verb])
        self._made[functions.CHOOSE_RECOVERY.verb].handle_snapshots()

    def _workflow(self, id: str, machine_name: str, file: str, **machines: stepfunctions.StateMachine) -> Workflow:
        return Workflow(
            self, id, machine_name=machine_name, file=file, functions=self._made.values(), machines=machines
        )

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

    def _check_deeply(self, deep_checks: DeepChecks) -> None:
        """What is due is chosen, volumes are restored where a machine can have them, and machines come and go."""
        for spec in (
            functions.CHOOSE_REHEARSAL,
            functions.START_RESTORE,
            functions.START_DEEP_CHECK,
            functions.FOLLOW_DEEP_CHECK,
            functions.REMOVE_RESTORE,
            functions.REAP_REHEARSALS,
        ):
            self._made[spec.verb].check_deeply(deep_checks)

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
        bus = events.EventBus.from_event_bus_arn(self, "HomeBus", home_bus)
        for rule in (aws_notices.rule(self), logged_calls.of_sharing(self), logged_calls.of_keys(self)):
            rule.add_target(targets.EventBus(bus, role=courier, dead_letter_queue=self._missed))
