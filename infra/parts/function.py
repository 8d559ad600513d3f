"""A function: runtime, architecture, log group, tracing and role said once, and what it is given said as verbs."""

# pyright: reportArgumentType=false
# jsii's classes and its interfaces disagree about the names of parameters, and pyright about both.

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_destinations as destinations
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from functions.aws import outbound
from functions.aws.permissions import Permission
from infra import names
from infra.functions import JOIN_NETWORK, Reach, Spec
from infra.packaging import Package
from infra.parts.deep_checks import DeepChecks
from infra.parts.order_queue import OrderQueue
from infra.settings import Deployment

READ = ("dynamodb:GetItem", "dynamodb:Query")
WRITE = ("dynamodb:PutItem", "dynamodb:UpdateItem")
"""Nothing that deletes. BatchWriteItem is left out for that: IAM lets it delete without asking for DeleteItem."""


class HandlerFunction(lambda_.Function):
    """A Lambda function with a role of its own. Each verb grants the right and says where, in one step."""

    def __init__(
        self,
        scope: Construct,
        spec: Spec,
        *,
        deployment: Deployment,
        package: Package,
        vpc: ec2.IVpc | None = None,
        security_group: ec2.ISecurityGroup | None = None,
        sends_back: bool = False,
    ) -> None:
        self.spec = spec
        self._deployment = deployment
        role = iam.Role(
            scope,
            f"{spec.id}Role",
            assumed_by=iam.ServicePrincipal(
                "lambda.amazonaws.com",
                # Lambda documents nowhere whether it always names the account it works for. Where it does, only ours
                # counts; and that the role is of the function's own account, it checks in any case.
                conditions={"StringEqualsIfExists": {"aws:SourceAccount": Stack.of(scope).account}},
            ),
            description=f"What {spec.name} may do, and nobody else",
        )
        log_group = logs.LogGroup(
            scope,
            f"{spec.id}Logs",
            log_group_name=f"/aws/lambda/{spec.name}",
            retention=logs.RetentionDays.ONE_MONTH,
            removal_policy=RemovalPolicy.DESTROY,
        )
        super().__init__(
            scope,
            spec.id,
            function_name=spec.name,
            handler=spec.handler,
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            code=package.code,
            layers=list(package.content_layers if spec.reads_content else package.layers),
            role=role,
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            timeout=Duration.seconds(spec.timeout_seconds),
            memory_size=spec.memory_mib,
            vpc=vpc,
            security_groups=[security_group] if security_group else None,
            # Back-pressure goes back to the queue it came from. Lambda takes that for a runaway loop and stops it
            # after 16 rounds, unless told that it is meant.
            recursive_loop=lambda_.RecursiveLoop.ALLOW if sends_back else None,
            environment={
                "HOLDFAST_ACCOUNT": Stack.of(scope).account,
                "POWERTOOLS_SERVICE_NAME": spec.name,
                "POWERTOOLS_LOG_LEVEL": "INFO",
            },
        )
        log_group.grant_write(self)
        self._allow_what_is_declared((*spec.permissions, *((JOIN_NETWORK,) if vpc else ())), deployment)

    def _allow_what_is_declared(self, declared: Iterable[Permission], deployment: Deployment) -> None:
        stack = Stack.of(self)
        regions = {
            Reach.HERE: (stack.region,),
            Reach.COPIES: deployment.copies,
            Reach.EVERYWHERE: deployment.regions,
        }[self.spec.reach]
        said: list[dict[str, object]] = []
        for permission in declared:
            for region in regions:
                statement = permission.statement(partition=stack.partition, account=stack.account, region=region)
                if statement not in said:
                    said.append(statement)
                    self.add_to_role_policy(iam.PolicyStatement.from_json(statement))

    def _allow_on(self, arn: str, declared: Iterable[Permission]) -> None:
        """What a call declares, on the one thing that the stack means."""
        stack = Stack.of(self)
        for permission in declared:
            statement = permission.statement(partition=stack.partition, account=stack.account, region=stack.region)
            self.add_to_role_policy(iam.PolicyStatement.from_json({**statement, "Resource": arn}))

    def remember_in(self, ledger: dynamodb.ITableV2, *, write: bool = True) -> None:
        """The function reads the ledger, and writes it unless told otherwise; it can delete nothing from it."""
        ledger.grant(self, *READ, *(WRITE if write else ()))
        self.add_environment("HOLDFAST_TABLE", names.LEDGER)

    def order_through(self, orders: OrderQueue, variable: str) -> None:
        """The function sends orders to the queue."""
        self._allow_on(orders.queue.queue_arn, outbound.PERMISSIONS["send"])
        self.add_environment(variable, orders.queue.queue_url)

    def tell(self, topic: sns.ITopic, bus: events.IEventBus) -> None:
        """The function tells people through the topic and programs through the bus."""
        self.tell_people(topic)
        self._allow_on(bus.event_bus_arn, outbound.PERMISSIONS["publish"])
        self.add_environment("HOLDFAST_BUS", names.BUS)

    def tell_people(self, topic: sns.ITopic) -> None:
        """The function tells people through the topic."""
        self._allow_on(topic.topic_arn, outbound.PERMISSIONS["notify"])
        self.add_environment("HOLDFAST_TOPIC_ARN", topic.topic_arn)

    def handle_snapshots(self) -> None:
        """The function knows the key by name; the right to use it comes with the calls that use it."""
        self.add_environment("HOLDFAST_KEY_ALIAS", names.KEY_ALIAS)

    def check_deeply(self, deep_checks: DeepChecks) -> None:
        """The function knows where the machines of deep checks are launched, and may do its part with them."""
        self._allow_what_is_declared(self.spec.for_deep_checks, self._deployment)
        self.add_environment("HOLDFAST_DEEP_CHECK_ZONE", deep_checks.zone)
        self.add_environment("HOLDFAST_DEEP_CHECK_SUBNET", deep_checks.subnet_id)
        self.add_environment("HOLDFAST_DEEP_CHECK_SECURITY_GROUP", deep_checks.security_group_id)
        self.add_environment("HOLDFAST_DEEP_CHECK_PROFILE", deep_checks.profile)
        self.handle_snapshots()

    def give_up_into(self, dead_letters: sqs.IQueue) -> None:
        """An event that the function failed three times lies in the queue, with the error and its stack."""
        self.configure_async_invoke(
            on_failure=destinations.SqsDestination(dead_letters),
            retry_attempts=2,
            max_event_age=Duration.hours(1),
        )
