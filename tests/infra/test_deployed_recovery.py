from __future__ import annotations

import json
import re

import pytest
from conftest import Assembly, Resource, listed, resources_of, written

HOME, AWAY = "eu-central-1", "eu-west-1"
AT_HOME, AT_COPIES = f"HoldfastRecovery-{HOME}", f"HoldfastRecovery-{AWAY}"
WORKFLOWS = {
    "holdfast-answer",
    "holdfast-hold",
    "holdfast-recover",
    "holdfast-recover-set",
    "holdfast-rehearse",
    "holdfast-swap-names",
}


def test_every_region_can_do_everything_that_people_ask_for(assembly: Assembly) -> None:
    machines = {(machine.region, machine.properties["StateMachineName"]) for machine in _machines(assembly)}
    assert machines == {(region, name) for region in (HOME, AWAY) for name in WORKFLOWS}


def test_every_machine_is_standard_traced_and_logs_no_data(assembly: Assembly) -> None:
    for machine in _machines(assembly):
        assert machine.properties["StateMachineType"] == "STANDARD", str(machine)
        assert machine.properties["TracingConfiguration"] == {"Enabled": True}, str(machine)
        logged = machine.properties["LoggingConfiguration"]
        assert (logged["Level"], logged["IncludeExecutionData"]) == ("ALL", False), str(machine)


def test_a_workflow_that_ends_badly_is_told_in_its_own_region(assembly: Assembly) -> None:
    for machine in _machines(assembly):
        detail = assembly.rule("holdfast-workflow-ended-badly", region=machine.region).properties["EventPattern"][
            "detail"
        ]
        assert set(detail["status"]) == {"FAILED", "TIMED_OUT", "ABORTED"}
        (prefix,) = detail["stateMachineArn"]
        told = f"arn:aws:states:{machine.region}:${{AWS.AccountId}}:stateMachine:"
        assert f"{told}{machine.properties['StateMachineName']}".startswith(written(prefix["prefix"]))
        assert written(prefix["prefix"]) == f"{told}holdfast-"


def test_notices_of_a_copy_region_go_home(assembly: Assembly) -> None:
    here, there = (assembly.rule("holdfast-aws-notices", region=region) for region in (HOME, AWAY))
    assert (here.stack, there.stack) == ("HoldfastBackup", AT_COPIES)
    assert here.properties["EventPattern"] == there.properties["EventPattern"]
    (target,) = there.properties["Targets"]
    assert written(target["Arn"]) == f"arn:aws:events:{HOME}:${{AWS.AccountId}}:event-bus/default"
    assert target["RoleArn"]


@pytest.mark.parametrize("deployed", ["assembly", "alone", "wide"])
def test_at_home_recovery_has_no_bus_of_its_own_and_sends_no_notices_home(
    deployed: str, request: pytest.FixtureRequest
) -> None:
    found: Assembly = request.getfixturevalue(deployed)
    assert not [it for it in _in(found, AT_HOME) if it.type in {"AWS::Events::EventBus", "AWS::Events::Rule"}]
    buses = [bus for bus in found.resources("AWS::Events::EventBus") if bus.region == HOME]
    assert [(bus.stack, bus.properties["Name"]) for bus in buses] == [("HoldfastBackup", "holdfast")]


def test_programs_are_told_through_the_bus_of_the_region(assembly: Assembly) -> None:
    tellers = {
        (function.region, name): resource
        for name, function in assembly.functions()
        for statement in assembly.statements_of(function)
        if "events:PutEvents" in listed(statement["Action"])
        for resource in resources_of(statement)
    }
    recovery = ("holdfast-record-rehearsal", "holdfast-record-recovery")
    at_home = {
        (HOME, name) for name in ("holdfast-score-run", "holdfast-watch-sharing", "holdfast-check-keys", *recovery)
    }
    assert set(tellers) == at_home | {(AWAY, name) for name in recovery}
    for (region, name), bus in tellers.items():
        made_here = re.fullmatch(r"\$\{Bus[0-9A-F]{8}\.Arn\}", bus)
        assert made_here or bus == f"arn:aws:events:{region}:${{AWS.AccountId}}:event-bus/holdfast", name


def test_recovery_waits_for_the_bus_at_home_only(assembly: Assembly) -> None:
    artifacts = json.loads((assembly.folder / "manifest.json").read_text())["artifacts"]
    waits = {
        stack: {it for it in artifacts[stack]["dependencies"] if not it.endswith(".assets")}
        for stack in (AT_HOME, AT_COPIES)
    }
    assert waits == {
        AT_HOME: {"HoldfastVault-eu-central-1", "HoldfastWatch-eu-central-1", "HoldfastMemory", "HoldfastBackup"},
        AT_COPIES: {"HoldfastVault-eu-west-1", "HoldfastWatch-eu-west-1", "HoldfastMemory"},
    }


def test_with_copies_it_is_they_that_are_rehearsed_and_home_has_no_network(assembly: Assembly) -> None:
    assert _rehearsing(assembly) == {AT_COPIES}
    assert _with_network(assembly) == {AT_COPIES}


def test_without_copies_home_rehearses_in_a_network_of_its_own(alone: Assembly) -> None:
    assert _rehearsing(alone) == {AT_HOME}
    assert _with_network(alone) == {AT_HOME}


def test_leftovers_of_rehearsals_are_removed_even_where_none_begin_by_themselves(try_out: Assembly) -> None:
    assert _rehearsing(try_out) == set()
    reaped = {
        schedule.region
        for schedule in try_out.resources("AWS::Scheduler::Schedule")
        if schedule.properties["Name"] == "holdfast-reap-rehearsals"
    }
    assert reaped == {HOME, AWAY}


@pytest.mark.parametrize(("deployed", "stack"), [("assembly", AT_COPIES), ("alone", AT_HOME)])
def test_restored_databases_reach_nothing_and_only_the_verifier_reaches_them(
    deployed: str, stack: str, request: pytest.FixtureRequest
) -> None:
    """F88."""
    found: Assembly = request.getfixturevalue(deployed)
    ways_out = {
        "AWS::EC2::InternetGateway",
        "AWS::EC2::NatGateway",
        "AWS::EC2::Route",
        "AWS::EC2::VPCPeeringConnection",
    }
    assert not {resource.type for resource in found.resources()} & ways_out
    openings = {
        (rule.properties["FromPort"], rule.properties["SourceSecurityGroupId"]["Fn::GetAtt"][0])
        for rule in found.resources("AWS::EC2::SecurityGroupIngress")
    }
    (verifier,) = {source for _, source in openings}
    assert {port for port, _ in openings} == {443, 3306, 5432}
    function = found.function("holdfast-verify-database", region=found.regions[stack])
    assert function.properties["VpcConfig"]["SecurityGroupIds"] == [{"Fn::GetAtt": [verifier, "GroupId"]}]
    for group in found.resources("AWS::EC2::SecurityGroup"):
        assert "SecurityGroupIngress" not in group.properties
        for rule in group.properties.get("SecurityGroupEgress", []):
            assert rule["CidrIp"] == "255.255.255.255/32", "the CDK writes 'nothing' as this address"


@pytest.mark.parametrize(
    ("deployed", "stacks"), [("assembly", {AT_COPIES}), ("alone", {AT_HOME}), ("try_out", set[str]())]
)
def test_only_verify_database_joins_a_network_and_only_where_there_is_one(
    deployed: str, stacks: set[str], request: pytest.FixtureRequest
) -> None:
    found: Assembly = request.getfixturevalue(deployed)
    inside = {(function.stack, name) for name, function in found.functions() if "VpcConfig" in function.properties}
    assert inside == {(stack, "holdfast-verify-database") for stack in stacks}


def test_without_a_network_nobody_may_make_or_delete_network_interfaces(assembly: Assembly) -> None:
    joining = {"ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface"}
    may = {
        function.stack
        for _, function in assembly.functions()
        for statement in assembly.statements_of(function)
        if joining & set(listed(statement["Action"]))
    }
    assert may == {AT_COPIES}


def test_databases_are_restored_across_two_zones_under_the_agreed_name(assembly: Assembly) -> None:
    group = assembly.one("AWS::RDS::DBSubnetGroup", AT_COPIES).properties
    assert group["DBSubnetGroupName"] == "holdfast-rehearsal"
    assert len(group["SubnetIds"]) == 2


def test_without_database_rehearsals_there_is_no_network(try_out: Assembly) -> None:
    assert not [resource for resource in try_out.resources() if resource.type.startswith(("AWS::EC2::", "AWS::RDS::"))]
    for region in (HOME, AWAY):
        function = try_out.function("holdfast-start-restore", region=region)
        variables = function.properties["Environment"]["Variables"]
        assert not [name for name in variables if name.startswith("HOLDFAST_REHEARSAL_")]


def test_a_set_runs_recoveries_of_its_own_region_and_waits_for_their_end(assembly: Assembly) -> None:
    """Step Functions learns of the end of a nested execution through a rule of its own, which the role must let it
    make: without it the state fails when it is reached, and not when the stack is deployed."""
    for region in (HOME, AWAY):
        machine = assembly.machine("holdfast-recover-set", region=region)
        recover = assembly.machine("holdfast-recover", region=region)
        assert machine.properties["DefinitionSubstitutions"]["Recover"] == {"Ref": recover.id}
        rights = {
            action: written(statement["Resource"])
            for statement in assembly.statements_of(machine)
            for action in listed(statement["Action"])
            if action.startswith(("states:", "events:"))
        }
        here = f"{region}:${{AWS.AccountId}}"
        rule = f"arn:aws:events:{here}:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule"
        executions = f"arn:aws:states:{here}:execution:${{6.${{:.${{{recover.id}}}}}}}:*"
        assert rights == {
            "states:StartExecution": f"${{{recover.id}}}",
            "states:DescribeExecution": executions,
            "states:StopExecution": executions,
            "events:PutTargets": rule,
            "events:PutRule": rule,
            "events:DescribeRule": rule,
        }


def test_no_other_workflow_starts_anything_or_makes_rules(assembly: Assembly) -> None:
    for machine in _machines(assembly):
        if machine.properties["StateMachineName"] != "holdfast-recover-set":
            granted = {action for s in assembly.statements_of(machine) for action in listed(s["Action"])}
            assert not {a for a in granted if a.startswith(("states:", "events:"))}, str(machine)


def test_without_alarms_in_the_settings_nothing_starts_a_recovery_by_itself(assembly: Assembly) -> None:
    names = {rule.properties["Name"] for rule in assembly.resources("AWS::Events::Rule")}
    watched = {"holdfast-sharing-changed", "holdfast-key-taken-away"}
    assert names == watched | {"holdfast-alarms", "holdfast-aws-notices", "holdfast-workflow-ended-badly"}
    heed_failure = assembly.function("holdfast-heed-failure", region=HOME)
    callers = [
        permission
        for permission in assembly.resources("AWS::Lambda::Permission")
        if permission.properties["FunctionName"] == {"Fn::GetAtt": [heed_failure.id, "Arn"]}
    ]
    assert not callers


def test_the_alarms_of_the_settings_and_no_others_start_a_recovery(alone: Assembly) -> None:
    rule = alone.rule("holdfast-failures", region=HOME)
    assert rule.properties["EventPattern"] == {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": ["billing-down", "orders-down"], "state": {"value": ["ALARM"]}},
    }
    (target,) = rule.properties["Targets"]
    heed_failure = alone.function("holdfast-heed-failure", region=HOME)
    assert target["Arn"] == {"Fn::GetAtt": [heed_failure.id, "Arn"]}
    assert target["DeadLetterConfig"]["Arn"]


def _machines(assembly: Assembly) -> list[Resource]:
    machines = list(assembly.resources("AWS::StepFunctions::StateMachine"))
    assert machines
    return machines


def _in(assembly: Assembly, stack: str) -> list[Resource]:
    resources = [resource for resource in assembly.resources() if resource.stack == stack]
    assert resources
    return resources


def _rehearsing(assembly: Assembly) -> set[str]:
    """The stacks that begin rehearsals by the clock."""
    return {
        schedule.stack
        for schedule in assembly.resources("AWS::Scheduler::Schedule")
        if schedule.properties["Name"] == "holdfast-rehearse"
    }


def _with_network(assembly: Assembly) -> set[str]:
    return {resource.stack for resource in assembly.resources("AWS::EC2::VPC", "AWS::RDS::DBSubnetGroup")}
