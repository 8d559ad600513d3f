from __future__ import annotations

import re

import pytest
from conftest import ROOT, Assembly, Resource

from infra import functions

SPECS = {spec.name: spec for spec in (*functions.AT_HOME, *functions.AT_RECOVERY)}


def test_every_declared_function_is_deployed_and_no_other(assembly: Assembly) -> None:
    assert set(assembly.functions()) == set(SPECS)


def test_every_function_runs_its_own_handler_for_as_long_as_declared(assembly: Assembly) -> None:
    for name, function in assembly.functions().items():
        spec = SPECS[name]
        assert function.properties["Handler"] == f"functions.handlers.{spec.verb}.handler"
        assert function.properties["Timeout"] == spec.timeout_seconds
        assert function.properties["MemorySize"] == spec.memory_mib


def test_every_function_is_python_on_arm_and_traced(assembly: Assembly) -> None:
    for function in assembly.functions().values():
        assert function.properties["Runtime"] == "python3.13"
        assert function.properties["Architectures"] == ["arm64"]
        assert function.properties["TracingConfig"] == {"Mode": "Active"}
        assert len(function.properties["Layers"]) == 2


def test_every_function_logs_into_a_group_that_forgets(assembly: Assembly) -> None:
    groups = {(group.stack, group.id): group for group in assembly.resources("AWS::Logs::LogGroup")}
    for name, function in assembly.functions().items():
        group = groups[function.stack, function.properties["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group.properties["LogGroupName"] == f"/aws/lambda/{name}"
        assert group.properties["RetentionInDays"] == 30


def test_every_function_has_a_role_of_its_own(assembly: Assembly) -> None:
    roles = [(f.stack, f.properties["Role"]["Fn::GetAtt"][0]) for f in assembly.functions().values()]
    assert len(roles) == len(set(roles))
    for role in assembly.resources("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role.properties, f"{role} holds rights that nobody here wrote down"


def test_what_a_function_fails_is_kept_somewhere(assembly: Assembly) -> None:
    invoked = {
        resource.properties["FunctionName"]["Ref"]
        for resource in assembly.resources("AWS::Lambda::EventInvokeConfig")
        if resource.properties["DestinationConfig"]["OnFailure"]["Destination"]
    }
    fed = {resource.properties["FunctionName"]["Ref"] for resource in _sources(assembly)}
    for name, function in assembly.functions().items():
        by_workflow = SPECS[name] in functions.AT_RECOVERY
        assert function.id in invoked | fed or by_workflow, f"an event that {name} fails is lost"


def test_stream_records_that_cannot_be_scored_are_kept(assembly: Assembly) -> None:
    (stream,) = (s for s in _sources(assembly) if "StartingPosition" in s.properties)
    assert stream.properties["DestinationConfig"]["OnFailure"]["Destination"]
    assert stream.properties["BisectBatchOnFunctionError"] is True
    assert stream.properties["MaximumRetryAttempts"] == 5
    (pattern,) = stream.properties["FilterCriteria"]["Filters"]
    assert pattern["Pattern"] == '{"eventName":["INSERT"],"dynamodb":{"Keys":{"sk":{"S":[{"prefix":"run#"}]}}}}'


def test_those_who_carry_out_orders_answer_for_each_and_the_reader_of_hints_for_all(assembly: Assembly) -> None:
    answers = {
        s.properties["FunctionName"]["Ref"].rstrip("0123456789ABCDEF"): s.properties.get("FunctionResponseTypes")
        for s in _sources(assembly)
        if "StartingPosition" not in s.properties
    }
    assert answers == {
        "TakeSnapshot": ["ReportBatchItemFailures"],
        "CopySnapshot": ["ReportBatchItemFailures"],
        "TrackPoints": None,
    }


def test_functions_that_send_orders_back_are_not_stopped_as_loops(assembly: Assembly) -> None:
    meant = {name for name, f in assembly.functions().items() if f.properties.get("RecursiveLoop") == "Allow"}
    assert meant == {"holdfast-take-snapshot", "holdfast-copy-snapshot"}


def test_a_function_knows_only_the_places_it_uses(assembly: Assembly) -> None:
    everywhere = {"HOLDFAST_ACCOUNT", "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL"}
    ledger, key = {"HOLDFAST_TABLE"}, {"HOLDFAST_KEY_ALIAS"}
    snapshots, copies = {"HOLDFAST_SNAPSHOT_ORDERS_URL"}, {"HOLDFAST_COPY_ORDERS_URL"}
    told = {"HOLDFAST_TOPIC_ARN", "HOLDFAST_BUS"}
    network = {"HOLDFAST_REHEARSAL_SUBNET_GROUP", "HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS"}
    expected = {
        "holdfast-take-inventory": ledger,
        "holdfast-plan-backups": ledger | snapshots,
        "holdfast-take-snapshot": ledger | key | snapshots,
        "holdfast-track-points": ledger | key | copies,
        "holdfast-copy-snapshot": ledger | key | copies,
        "holdfast-sweep": ledger | key | snapshots | copies,
        "holdfast-mark-expired": ledger | key,
        "holdfast-delete-expired": ledger | key,
        "holdfast-heed-alarm": ledger | snapshots,
        "holdfast-score-run": ledger | told,
        "holdfast-choose-rehearsal": ledger,
        "holdfast-start-restore": network,
        "holdfast-check-restore": network,
        "holdfast-verify-volume": set(),
        "holdfast-verify-database": set(),
        "holdfast-record-rehearsal": ledger | told,
        "holdfast-remove-restore": network,
    }
    for name, function in assembly.functions().items():
        assert set(function.properties["Environment"]["Variables"]) == everywhere | expected[name], name


REACHES = {
    "ledger": "HOLDFAST_TABLE",
    "snapshots": "HOLDFAST_KEY_ALIAS",
    "snapshot_orders": "HOLDFAST_SNAPSHOT_ORDERS_URL",
    "copy_orders": "HOLDFAST_COPY_ORDERS_URL",
    "topic": "HOLDFAST_TOPIC_ARN",
    "bus": "HOLDFAST_BUS",
    "restores": "HOLDFAST_REHEARSAL_SUBNET_GROUP",
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_function_is_given_every_place_its_handler_reaches_for(assembly: Assembly, spec: functions.Spec) -> None:
    source = (ROOT / "functions" / "handlers" / f"{spec.verb}.py").read_text(encoding="utf-8")
    given = set(assembly.functions()[spec.name].properties["Environment"]["Variables"])
    for tool, variable in REACHES.items():
        if re.search(rf"\btools\.{tool}\b", source):
            assert variable in given, f"{spec.verb} uses tools.{tool}"


def test_one_code_asset_serves_all_functions_of_a_stack(assembly: Assembly) -> None:
    for stack in ("HoldfastBackup", "HoldfastRecovery-eu-west-1"):
        codes = {f.properties["Code"]["S3Key"] for f in assembly.functions().values() if f.stack == stack}
        assert len(codes) == 1


def test_the_code_asset_holds_the_functions_and_nothing_else(assembly: Assembly) -> None:
    function = assembly.functions()["holdfast-take-snapshot"]
    folder = assembly.folder / f"asset.{function.properties['Code']['S3Key'].removesuffix('.zip')}"
    assert [entry.name for entry in folder.iterdir()] == ["functions"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "functions" / "core" / "slots.py" in files
    assert not [path for path in files if path.suffix in {".pyc", ".md"}]


def test_schedules_are_in_utc_and_keep_what_they_could_not_start(assembly: Assembly) -> None:
    schedules = {s.properties["Name"]: s for s in assembly.resources("AWS::Scheduler::Schedule")}
    assert {name: s.properties["ScheduleExpression"] for name, s in schedules.items()} == {
        "holdfast-take-inventory": "rate(1 hour)",
        "holdfast-plan-backups": "rate(5 minutes)",
        "holdfast-track-points": "rate(1 minute)",
        "holdfast-sweep": "rate(15 minutes)",
        "holdfast-mark-expired": "cron(10 5 * * ? *)",
        "holdfast-delete-expired": "cron(40 5 * * ? *)",
        "holdfast-rehearse": "rate(6 hours)",
    }
    for schedule in schedules.values():
        assert schedule.properties["ScheduleExpressionTimezone"] == "Etc/UTC"
        assert schedule.properties["Target"]["DeadLetterConfig"]["Arn"]


def test_no_rehearsals_a_day_means_no_schedule(try_out: Assembly) -> None:
    names = {schedule.properties["Name"] for schedule in try_out.resources("AWS::Scheduler::Schedule")}
    assert "holdfast-rehearse" not in names
    assert "holdfast-plan-backups" in names


def _sources(assembly: Assembly) -> list[Resource]:
    return list(assembly.resources("AWS::Lambda::EventSourceMapping"))
