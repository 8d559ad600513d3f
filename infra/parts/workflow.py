"""A state machine whose definition is a file, and the right to call what the file names."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from pathlib import Path

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from infra.errors import CannotSynthesise
from infra.parts.function import HandlerFunction

DEFINITIONS = Path(__file__).parent.parent / "workflows"


class Workflow(Construct):
    """`workflows/<file>.asl.json` as a Standard state machine.

    The definition stays in the template, where tests and diffs see it. The log holds every event and no data: an
    execution's input and output are in its history, for whoever may read that.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        machine_name: str,
        file: str,
        functions: Iterable[HandlerFunction],
        machines: Mapping[str, stepfunctions.StateMachine] | None = None,
    ) -> None:
        super().__init__(scope, id)
        definition = (DEFINITIONS / f"{file}.asl.json").read_text(encoding="utf-8")
        nested = machines or {}
        named = self._functions_named_in(definition, functions, set(nested))
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "states.amazonaws.com",
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            ),
            description=f"Lets {machine_name} invoke the functions that its definition names",
        )
        self.machine = stepfunctions.StateMachine(
            self,
            "Machine",
            state_machine_name=machine_name,
            state_machine_type=stepfunctions.StateMachineType.STANDARD,
            role=role,
            definition_body=stepfunctions.DefinitionBody.from_string(definition),
            definition_substitutions={
                **{name: function.function_arn for name, function in named.items()},
                **{name: machine.state_machine_arn for name, machine in nested.items()},
            },
            tracing_enabled=True,
            logs=stepfunctions.LogOptions(
                destination=logs.LogGroup(
                    self,
                    "Logs",
                    # The prefix lets CloudWatch use one short resource policy for all machines of the account.
                    log_group_name=f"/aws/vendedlogs/states/{machine_name}",
                    retention=logs.RetentionDays.ONE_MONTH,
                    removal_policy=RemovalPolicy.DESTROY,
                ),
                level=stepfunctions.LogLevel.ALL,
                include_execution_data=False,
            ),
        )
        for function in named.values():
            function.grant_invoke(role)
        for machine in nested.values():
            self._let_it_run(machine, role)

    def _let_it_run(self, machine: stepfunctions.StateMachine, role: iam.Role) -> None:
        """The role may run the machine and wait for its end, which Step Functions learns through a rule of its own."""
        stack = Stack.of(self)
        machine.grant_start_execution(role)
        machine.grant_execution(role, "states:DescribeExecution", "states:StopExecution")
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["events:PutTargets", "events:PutRule", "events:DescribeRule"],
                resources=[
                    stack.format_arn(
                        service="events",
                        resource="rule",
                        resource_name="StepFunctionsGetEventsForStepFunctionsExecutionRule",
                    )
                ],
            )
        )

    @staticmethod
    def _functions_named_in(
        definition: str, functions: Iterable[HandlerFunction], machines: Set[str]
    ) -> dict[str, HandlerFunction]:
        by_name = {function.spec.id: function for function in functions}
        wanted = sorted(set(re.findall(r"\$\{(\w+)\}", definition)) - machines)
        unknown = [name for name in wanted if name not in by_name]
        if unknown:
            raise CannotSynthesise(
                f"the workflow names functions that this stack does not have: {', '.join(unknown)}\n"
                f"Hint: it has {', '.join(sorted(by_name))}; the name of verify_volume is VerifyVolume."
            )
        return {name: by_name[name] for name in wanted}
