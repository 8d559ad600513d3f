"""A service acts for this account only, over encrypted lines, and on what is encrypted under the customer's key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.security.deployed import ACCOUNT, Deployed, Resource
from tests.security.evaluator import Request, Statement, decide, listed

ANOTHER_ACCOUNT = "999988887777"
RESOURCE_POLICIES = {
    "AWS::Events::EventBusPolicy": "Statement",
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
}
TELLS_ITS_ACCOUNT_SOMETIMES = {"ec2.amazonaws.com", "lambda.amazonaws.com"}
"""They check by themselves that the role is of the caller's account; the condition counts where they tell."""


def _statements(document: Any) -> list[Statement]:
    return listed(document["Statement"]) if "Statement" in document else [document]


def to_services(deployed: Deployed) -> Iterator[tuple[str, Statement]]:
    """Every statement that lets a service of AWS do something: who may take a role, and what may be done to a thing."""
    for role in deployed.roles:
        yield from ((str(role), statement) for statement in role.trust)
    for resource in deployed.resources(*RESOURCE_POLICIES):
        for statement in _statements(resource.properties[RESOURCE_POLICIES[resource.type]]):
            if isinstance(statement["Principal"], dict) and "Service" in statement["Principal"]:
                yield str(resource), statement


def _asked(statement: Statement, **keys: str) -> bool:
    """Whether the statement lets the service do what it is about, where these keys have these values."""
    principal = {name: value for name, value in statement.items() if name != "Principal"}
    resource = listed(statement.get("Resource", "*"))[0]
    resource = "arn:aws:x:::y" if resource == "*" else resource
    request = Request(action=listed(statement["Action"])[0].replace("*", "x"), resource=resource, keys=keys)
    return decide([{"Resource": "*", **principal}], request).allowed


def _sources(statement: Statement, account: str) -> dict[str, str]:
    """What a service says of itself that works for an account: whatever of that the statement asks about."""
    said: dict[str, str] = {}
    for keys in statement.get("Condition", {}).values():
        for key, wanted in keys.items():
            named = listed(wanted)[0].replace("*", "x")
            said[key] = account if key == "aws:SourceAccount" else named.replace(ACCOUNT, account)
    return said


def test_a_service_does_it_for_this_account_and_for_no_other(deployed: Deployed) -> None:
    """F89."""
    told = list(to_services(deployed))
    assert len(told) > 60
    for where, statement in told:
        if statement["Effect"] == "Allow":
            assert _asked(statement, **_sources(statement, ACCOUNT)), where
            assert not _asked(statement, **_sources(statement, ANOTHER_ACCOUNT)), f"{where}: {statement}"
            assert _sources(statement, ACCOUNT), f"{where} does not ask for whom the service works"


def test_a_service_that_does_not_say_for_whom_it_works_is_refused(deployed: Deployed) -> None:
    """F89."""
    for where, statement in to_services(deployed):
        services = set(listed(statement["Principal"]["Service"]))
        if statement["Effect"] == "Allow" and not services <= TELLS_ITS_ACCOUNT_SOMETIMES:
            assert not _asked(statement), where


def test_a_function_is_called_by_one_rule_and_not_by_a_whole_service(deployed: Deployed) -> None:
    for permission in deployed.resources("AWS::Lambda::Permission"):
        source = permission.properties.get("SourceArn", "")
        assert f":{ACCOUNT}:" in source, str(permission)
        assert "*" not in source, str(permission)


def test_nothing_of_ours_is_open_to_another_account_or_to_everybody(deployed: Deployed) -> None:
    for resource in deployed.resources(*RESOURCE_POLICIES):
        for statement in _statements(resource.properties[RESOURCE_POLICIES[resource.type]]):
            if statement["Effect"] == "Allow":
                assert _is_ours(statement["Principal"], statement), f"{resource}: {statement}"


def _is_ours(principal: Any, statement: Statement) -> bool:
    if principal in ("*", {"AWS": "*"}):
        return statement["Condition"]["StringEquals"].get("kms:CallerAccount") == ACCOUNT
    return "Service" in principal or all(f"::{ACCOUNT}:" in who for who in listed(principal["AWS"]))


def test_queues_and_topics_take_nothing_in_plain_text(deployed: Deployed) -> None:
    for type, of, action in (
        ("AWS::SQS::Queue", "AWS::SQS::QueuePolicy", "sqs:SendMessage"),
        ("AWS::SNS::Topic", "AWS::SNS::TopicPolicy", "sns:Publish"),
    ):
        policies = list(deployed.resources(of))
        for thing in deployed.resources(type):
            statements = [
                {name: value for name, value in statement.items() if name != "Principal"}
                for policy in policies
                if policy.stack == thing.stack and _is_about(policy, thing)
                for statement in policy.properties["PolicyDocument"]["Statement"]
                if statement["Effect"] == "Deny" and statement["Principal"] in ("*", {"AWS": "*"})
            ]
            arn = f"arn:aws:{type.split('::')[1].lower()}:{thing.region}:{ACCOUNT}:{thing.name}"
            plain = Request(action=action, resource=arn, keys={"aws:SecureTransport": "false"})
            encrypted = Request(action=action, resource=arn, keys={"aws:SecureTransport": "true"})
            assert decide(statements, plain).by is not None, str(thing)
            assert decide(statements, encrypted).by is None, str(thing)


def _is_about(policy: Resource, thing: Resource) -> bool:
    about = [*policy.properties.get("Queues", []), *policy.properties.get("Topics", [])]
    return any(it in (thing.id, thing.name) or it.endswith(f":{thing.name}") for it in about)


def test_the_customers_key_encrypts_all_that_is_kept(deployed: Deployed) -> None:
    keys = {region: f"arn:aws:kms:{region}:{ACCOUNT}:key/" for region in deployed.regions.values()}
    groups = list(deployed.resources("AWS::Logs::LogGroup"))
    assert len(groups) > 60
    for group in groups:
        assert str(group.properties["KmsKeyId"]).startswith(keys[group.region]), str(group)
    for topic in deployed.resources("AWS::SNS::Topic"):
        assert "alias/holdfast" in topic.properties["KmsMasterKeyId"], str(topic)
    for table in deployed.resources("AWS::DynamoDB::GlobalTable"):
        for replica in table.properties["Replicas"]:
            assert "alias/holdfast" in replica["SSESpecification"]["KMSMasterKeyId"], str(table)


def test_queues_are_encrypted_under_the_key_of_sqs(deployed: Deployed) -> None:
    """On purpose: orders hold identifiers and no content, and a disabled key must not lose the letter that says so."""
    for queue in deployed.resources("AWS::SQS::Queue"):
        assert queue.properties["SqsManagedSseEnabled"] is True, str(queue)
        assert "KmsMasterKeyId" not in queue.properties, str(queue)
