"""What cdk-nag, checkov and cfn-lint find although it is meant so: exact findings, why, and a proof for each resource.

An acknowledgement covers a finding only while its proof holds for that very resource. One that covers none is
superfluous, and a test says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from infra import functions
from tests.security import service_table
from tests.security.deployed import ACCOUNT, Deployed, Resource
from tests.security.evaluator import Statement, listed
from tests.security.findings import Finding

Proof = Callable[[Deployed, Finding], bool]
OF_COMPLIANCE = ("HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321")


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Findings that stay, by rule and by what they name in brackets; "" where a rule names nothing."""

    rules: tuple[str, ...]
    details: tuple[str, ...] = ("",)
    reason: str
    proof: Proof

    def covers(self, deployed: Deployed, finding: Finding) -> bool:
        return finding.rule in self.rules and finding.detail in self.details and self.proof(deployed, finding)


def _by_compliance(rule: str, *packs: str) -> tuple[str, ...]:
    return tuple(f"{pack}-{rule}" for pack in packs or OF_COMPLIANCE)


# ---------------------------------------------------------------------------- proofs


def _is_the_pythons_of_the_layers(_: Deployed, finding: Finding) -> bool:
    return finding.resource.properties["Runtime"] == "python3.13"


def _holds_dead_letters(deployed: Deployed, finding: Finding) -> bool:
    """No function reads it, and an alarm watches it."""
    queue = finding.resource
    read = {
        it.properties["EventSourceArn"].rpartition(":")[2] for it in _in(deployed, "AWS::Lambda::EventSourceMapping")
    }
    watched = {
        (alarm.region, dimension["Value"])
        for alarm in _in(deployed, "AWS::CloudWatch::Alarm")
        for dimension in alarm.properties.get("Dimensions", [])
    }
    return queue.name not in read and (queue.region, queue.name) in watched


def _is_a_mail(_: Deployed, finding: Finding) -> bool:
    return finding.resource.properties["Protocol"] == "email"


def _has_a_queue_with_dead_letters(deployed: Deployed, finding: Finding) -> bool:
    source = finding.resource.properties["EventSourceArn"].rpartition(":")[2]
    return any(
        queue.name == source and "RedrivePolicy" in queue.properties for queue in _in(deployed, "AWS::SQS::Queue")
    )


def _keeps_what_it_could_not_handle(deployed: Deployed, finding: Finding) -> bool:
    """Whatever calls it without waiting leaves what failed in a queue; workflows and queues wait for it."""
    function = finding.resource
    if any(
        it.properties["FunctionName"] == function.name and it.properties["DestinationConfig"]["OnFailure"]
        for it in _in(deployed, "AWS::Lambda::EventInvokeConfig", stack=function.stack)
    ):
        return True
    targets = [
        *(it.properties["Target"]["Arn"] for it in _in(deployed, "AWS::Scheduler::Schedule")),
        *(target["Arn"] for it in _in(deployed, "AWS::Events::Rule") for target in it.properties["Targets"]),
    ]
    return not any(arn.endswith(f":function:{function.name}") for arn in targets)


def _is_called_by_nobody_outside(deployed: Deployed, finding: Finding) -> bool:
    """Nothing from outside of the account can call it, so nothing from outside can use up the account's concurrency."""
    urls = list(_in(deployed, "AWS::Lambda::Url"))
    callers = {it.properties["Principal"] for it in _in(deployed, "AWS::Lambda::Permission")}
    return not urls and callers <= {"events.amazonaws.com"} and finding.resource.type == "AWS::Lambda::Function"


def _talks_to_aws_only(deployed: Deployed, finding: Finding) -> bool:
    """The one function that opens connections to what was restored is in the network, where there is one."""
    verifier = f"holdfast-{functions.VERIFY_DATABASE.verb.replace('_', '-')}"
    has_network = bool(list(_in(deployed, "AWS::EC2::VPC", stack=finding.resource.stack)))
    return finding.resource.name != verifier or not has_network


def _is_of_one_role(_: Deployed, finding: Finding) -> bool:
    return len(finding.resource.properties["Roles"]) == 1


def _has_no_way_out(deployed: Deployed, finding: Finding) -> bool:
    exits = ("InternetGateway", "NatGateway", "VPNGateway", "VPCPeeringConnection", "TransitGatewayAttachment")
    return not list(_in(deployed, *(f"AWS::EC2::{name}" for name in exits), stack=finding.resource.stack))


def _is_used_by_nothing(deployed: Deployed, finding: Finding) -> bool:
    """Everything that is put into the network is given groups of ours."""
    stack = finding.resource.stack
    ours = {f"{group.id}.GroupId" for group in _in(deployed, "AWS::EC2::SecurityGroup", stack=stack)}
    placed = [
        *(
            it.properties["VpcConfig"]["SecurityGroupIds"]
            for it in _in(deployed, "AWS::Lambda::Function", stack=stack)
            if "VpcConfig" in it.properties
        ),
        *(it.properties.get("SecurityGroupIds", []) for it in _in(deployed, "AWS::EC2::VPCEndpoint", stack=stack)),
    ]
    return bool(placed) and all(groups and set(groups) <= ours for groups in placed)


def _speaking_of(finding: Finding, ending: str) -> list[Statement]:
    """The statements of the policy that allow something on a resource which ends so, and not on names of ours."""
    return [
        statement
        for statement in finding.resource.properties["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and any(str(it).endswith(ending) for it in listed(statement["Resource"]))
    ]


def _has_no_kind_of_resource(_: Deployed, finding: Finding) -> bool:
    too_early = {*functions.JOIN_NETWORK.actions, "ssm:UpdateInstanceInformation"}
    return all(
        not service_table.resource_types(action) or action in too_early
        for statement in _speaking_of(finding, "*")
        if "*" in listed(statement["Resource"])
        for action in listed(statement["Action"])
    )


def _is_a_version_to_call(_: Deployed, finding: Finding) -> bool:
    calling = [
        s for s in finding.resource.properties["PolicyDocument"]["Statement"] if ":function:" in str(s["Resource"])
    ]
    return bool(calling) and all(listed(s["Action"]) == ["lambda:InvokeFunction"] for s in calling)


MAKING_OR_LOOKING = (
    "ec2:CopySnapshot",
    "ec2:CreateSnapshot",
    "ec2:Describe",
    "rds:Copy",
    "rds:Create",
    "rds:Describe",
    "rds:Restore",
)


def _is_tied_or_makes_or_looks(_: Deployed, finding: Finding) -> bool:
    """Whoever changes what is there is bound by a condition; making and looking leave it as it is."""
    named = finding.detail.removeprefix("Resource::").split(":", 5)[5].replace("<*>", "${*}")
    about = _speaking_of(finding, f":{named}")
    return bool(about) and all(
        "Condition" in statement or all(action.startswith(MAKING_OR_LOOKING) for action in listed(statement["Action"]))
        for statement in about
    )


def _is_a_group_beside_a_database(_: Deployed, finding: Finding) -> bool:
    """Groups are read, or named in a call about a database; no action that changes a group is there."""
    kinds = (":pg:*", ":cluster-pg:*", ":og:*", ":subgrp:*")
    about = [statement for kind in kinds for statement in _speaking_of(finding, kind)]
    changing = ("Group", "Tags")
    return bool(about) and all(
        action.startswith("rds:Describe") or not any(word in action for word in changing)
        for statement in about
        for action in listed(statement["Action"])
    )


def _is_bound_to_a_service(_: Deployed, finding: Finding) -> bool:
    """Keys are used through a service or for blocks of EBS; without that they are only looked at."""
    bounds = ("kms:ViaService", "kms:EncryptionContext:aws:ebs:id")
    return all(
        any(bound in str(statement.get("Condition", {})) for bound in bounds)
        or listed(statement["Action"]) == ["kms:DescribeKey"]
        for statement in _speaking_of(finding, ":key/*")
    )


def _is_given_to_rds_only(_: Deployed, finding: Finding) -> bool:
    services = {"rds.amazonaws.com", "monitoring.rds.amazonaws.com"}
    return all(
        set(listed(statement["Condition"]["StringEquals"]["iam:PassedToService"])) <= services
        for statement in _speaking_of(finding, ":role/*")
    )


def _is_made_by_rds(_: Deployed, finding: Finding) -> bool:
    making = {"secretsmanager:CreateSecret", "secretsmanager:TagResource"}
    return all(
        set(listed(statement["Action"])) <= making or "primaryDB" in str(statement["Condition"])
        for statement in _speaking_of(finding, "rds!*")
    )


def _is_the_ledgers(_: Deployed, finding: Finding) -> bool:
    return all(
        str(resource).endswith(("table/holdfast-ledger", "table/holdfast-ledger/index/*"))
        for statement in _speaking_of(finding, "/index/*")
        for resource in listed(statement["Resource"])
    )


def _is_of_one_machine(_: Deployed, finding: Finding) -> bool:
    about = [
        s for s in finding.resource.properties["PolicyDocument"]["Statement"] if ":execution:" in str(s["Resource"])
    ]
    return bool(about) and all(":execution:holdfast-recover:*" in str(statement["Resource"]) for statement in about)


def _is_told_names_only(deployed: Deployed, finding: Finding) -> bool:
    """Every variable holds the account, the zone, how much to log, or what something deployed is called."""
    called = {ACCOUNT, f"{finding.resource.region}a", "INFO"}
    for it in deployed.resources():
        called |= {it.id, f"{it.id}.GroupId", f"arn:aws:sns:{it.region}:{ACCOUNT}:{it.name}"}
        called |= {text for key, text in it.properties.items() if key.endswith("Name")}
    return called.issuperset(finding.resource.properties["Environment"]["Variables"].values())


def _is_encrypted_by_sqs(_: Deployed, finding: Finding) -> bool:
    return finding.resource.properties["SqsManagedSseEnabled"] is True


def _is_open_through_stores_of_this_account(_: Deployed, finding: Finding) -> bool:
    """Whoever is not named uses the key only for this account, and only through its stores in this Region."""
    region = finding.resource.region
    stores = {f"{service}.{region}.amazonaws.com" for service in ("dynamodb", "ec2", "rds", "sns")}
    to_everybody = [
        statement["Condition"]["StringEquals"]
        for statement in finding.resource.properties["KeyPolicy"]["Statement"]
        if statement["Effect"] == "Allow" and statement["Principal"] in ("*", {"AWS": "*"})
    ]
    return bool(to_everybody) and all(
        only["kms:CallerAccount"] == ACCOUNT and set(listed(only["kms:ViaService"])) <= stores for only in to_everybody
    )


def _is_of_a_role_beside_its_policy(deployed: Deployed, finding: Finding) -> bool:
    stack = finding.resource.stack
    names = deployed.templates[stack]["Resources"][finding.resource.id]["DependsOn"]
    role = names[int(finding.detail.removeprefix("DependsOn/"))]
    policies = {it.id for it in _in(deployed, "AWS::IAM::Policy", stack=stack) if role in it.properties["Roles"]}
    return deployed.resource(stack, role).type == "AWS::IAM::Role" and bool(policies & set(names))


def _is_an_expression_of_jsonata(_: Deployed, finding: Finding) -> bool:
    workflow = json.loads(finding.resource.properties["DefinitionString"])
    state = workflow["States"][finding.detail.split("/")[-2]]
    return workflow["QueryLanguage"] == "JSONata" and re.fullmatch("{%.+%}", state["TimeoutSeconds"]) is not None


def _in(deployed: Deployed, *types: str, stack: str | None = None) -> Iterator[Resource]:
    return (it for it in deployed.resources(*types) if stack in (None, it.stack))


# ---------------------------------------------------------------------------- acknowledgements


def _on(service: str, *resources: str) -> tuple[str, ...]:
    return tuple(f"Resource::arn:aws:{service}:{resource}" for resource in resources)


IAM5 = ("AwsSolutions-IAM5",)
HERE = "REGION:ACCOUNT"

ACKNOWLEDGED: tuple[Acknowledgement, ...] = (
    Acknowledgement(
        rules=("AwsSolutions-L1", "Serverless-LambdaLatestVersion"),
        reason="the layers hold libraries that are built and tested for Python 3.13",
        proof=_is_the_pythons_of_the_layers,
    ),
    Acknowledgement(
        rules=("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"),
        reason="a queue of dead letters is where letters end: a person reads it when its alarm says so",
        proof=_holds_dead_letters,
    ),
    Acknowledgement(
        rules=("Serverless-SNSRedrivePolicy",),
        reason="SNS offers no dead letters for mail",
        proof=_is_a_mail,
    ),
    Acknowledgement(
        rules=("Serverless-LambdaEventSourceMappingDestination",),
        reason="Lambda has no destination for messages of a queue: the queue itself hands them to its dead letters",
        proof=_has_a_queue_with_dead_letters,
    ),
    Acknowledgement(
        rules=(
            *_by_compliance("LambdaDLQ", "HIPAA.Security", "NIST.800.53.R5"),
            "Serverless-LambdaDLQ",
            "CKV_AWS_116",
        ),
        reason="a destination keeps the error beside the event, which a dead-letter queue of a function does not",
        proof=_keeps_what_it_could_not_handle,
    ),
    Acknowledgement(
        rules=(*_by_compliance("LambdaConcurrency", "HIPAA.Security", "NIST.800.53.R5"), "CKV_AWS_115"),
        reason="reserved concurrency is taken from the user's other functions, used or not",
        proof=_is_called_by_nobody_outside,
    ),
    Acknowledgement(
        rules=(*_by_compliance("LambdaInsideVPC"), "CKV_AWS_117"),
        reason="a function that talks to AWS only needs no network, and one would cost endpoints in every Region",
        proof=_talks_to_aws_only,
    ),
    Acknowledgement(
        rules=("CKV_AWS_173",),
        reason="the variables hold names, which the template says too; a disabled key must not stop who tells of it",
        proof=_is_told_names_only,
    ),
    Acknowledgement(
        rules=("CKV_AWS_27",),
        reason="queues are encrypted under the key of SQS: a disabled key must not lose the letter that says so",
        proof=_is_encrypted_by_sqs,
    ),
    Acknowledgement(
        rules=("CKV_AWS_33",),
        reason="as in AWS's own keys, whoever of this account may use a store may use the key through it, nobody else",
        proof=_is_open_through_stores_of_this_account,
    ),
    Acknowledgement(
        rules=_by_compliance("IAMNoInlinePolicy"),
        reason="a policy inside of its role goes when the role goes, and cannot be attached to another one",
        proof=_is_of_one_role,
    ),
    Acknowledgement(
        rules=("AwsSolutions-VPC7", *_by_compliance("VPCFlowLogsEnabled")),
        reason="nothing enters or leaves the network of rehearsals, and it is empty most of the time",
        proof=_has_no_way_out,
    ),
    Acknowledgement(
        rules=_by_compliance("VPCDefaultSecurityGroupClosed"),
        reason="closing it takes a custom resource with a function that is not ours; nothing uses the group",
        proof=_is_used_by_nothing,
    ),
    Acknowledgement(
        rules=(*IAM5, "CKV_AWS_111"),
        details=("Resource::*", ""),
        reason="these actions have no kind of resource, or are asked for before there is one",
        proof=_has_no_kind_of_resource,
    ),
    Acknowledgement(
        rules=IAM5,
        details=("Resource::FUNCTION:*",),
        reason="whoever may call a function may call its versions",
        proof=_is_a_version_to_call,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("dynamodb", f"{HERE}:table/holdfast-ledger/index/*"),
        reason="the indexes of the ledger",
        proof=_is_the_ledgers,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("ec2", "*::snapshot/snap-*", "REGION::snapshot/*", "REGION::snapshot/<*>"),
        reason="snapshots have no names before they are made; whoever changes one is bound by its tags",
        proof=_is_tied_or_makes_or_looks,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("ec2", f"{HERE}:volume/*", f"{HERE}:instance/*"),
        reason="the user's volumes have names of their own; whoever changes one is bound by its tags",
        proof=_is_tied_or_makes_or_looks,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on(
            "ec2",
            "REGION::image/*",
            f"{HERE}:network-interface/*",
            f"{HERE}:security-group/*",
            f"{HERE}:subnet/*",
        ),
        reason="a machine is made from Amazon's images, into the network that is tagged for it, and says whose it is",
        proof=_is_tied_or_makes_or_looks,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on(
            "rds",
            "*:ACCOUNT:snapshot:*",
            "*:ACCOUNT:snapshot:holdfast-*",
            "*:ACCOUNT:cluster-snapshot:*",
            "*:ACCOUNT:cluster-snapshot:holdfast-*",
            f"{HERE}:snapshot:*",
            f"{HERE}:snapshot:holdfast-*",
            f"{HERE}:cluster-snapshot:*",
            f"{HERE}:cluster-snapshot:holdfast-*",
        ),
        reason="a database's snapshot is named by its slot; whoever changes one is bound by its tags",
        proof=_is_tied_or_makes_or_looks,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on(
            "rds",
            f"{HERE}:db:*",
            f"{HERE}:db:holdfast-rt-*",
            f"{HERE}:cluster:*",
            f"{HERE}:cluster:holdfast-rt-*",
        ),
        reason="people name their databases; whoever changes one is bound by tags, or by what it may change",
        proof=_is_tied_or_makes_or_looks,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("rds", f"{HERE}:pg:*", f"{HERE}:cluster-pg:*", f"{HERE}:og:*", f"{HERE}:subgrp:*"),
        reason="people name their groups, and a database is restored in those that the original had",
        proof=_is_a_group_beside_a_database,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("kms", "*:ACCOUNT:key/*", f"{HERE}:key/*"),
        reason="sources are encrypted under whatever key the user chose",
        proof=_is_bound_to_a_service,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("iam", ":ACCOUNT:role/*"),
        reason="a recovered database is given the roles that the original had, of any name",
        proof=_is_given_to_rds_only,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("secretsmanager", f"{HERE}:secret:rds!*"),
        reason="RDS names the secrets that it manages",
        proof=_is_made_by_rds,
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("servicequotas", f"{HERE}:ebs/*"),
        reason="the quotas of one service are read, and nothing in Service Quotas can be changed",
        proof=lambda _, finding: all(
            listed(statement["Action"]) == ["servicequotas:GetServiceQuota"]
            for statement in _speaking_of(finding, ":ebs/*")
        ),
    ),
    Acknowledgement(
        rules=IAM5,
        details=_on("states", f"{HERE}:execution:MACHINE:*"),
        reason="the executions of one workflow, which have the names that they are started with",
        proof=_is_of_one_machine,
    ),
    Acknowledgement(
        rules=("W3005",),
        details=("DependsOn/1", "DependsOn/3"),
        reason="the CDK says DependsOn for a role and its policy together; the half about the role is superfluous",
        proof=_is_of_a_role_beside_its_policy,
    ),
    Acknowledgement(
        rules=("E3601",),
        details=("Properties/DefinitionString/States/Ask for approval/TimeoutSeconds",),
        reason="in JSONata the States Language takes an expression here, of which cfn-lint knows nothing",
        proof=_is_an_expression_of_jsonata,
    ),
)
