from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from typing import Any

import pytest
from conftest import ROOT, Assembly, Resource, written

from infra import functions, packaging

SPECS = {spec.name: spec for spec in (*functions.AT_HOME, *functions.AT_RECOVERY)}


def test_every_declared_function_is_deployed_and_no_other(assembly: Assembly) -> None:
    at_home, at_recovery = ({spec.name for spec in specs} for specs in (functions.AT_HOME, functions.AT_RECOVERY))
    assert at_home | at_recovery == set(SPECS)
    deployed = sorted((function.stack, name) for name, function in assembly.functions())
    assert deployed == sorted(
        [("HoldfastBackup", name) for name in at_home]
        + [("HoldfastRecovery-eu-central-1", name) for name in at_recovery]
        + [("HoldfastRecovery-eu-west-1", name) for name in at_recovery]
    )


def test_every_function_runs_its_own_handler_for_as_long_as_declared(assembly: Assembly) -> None:
    for name, function in assembly.functions():
        spec = SPECS[name]
        assert function.properties["Handler"] == f"functions.handlers.{spec.verb}.handler"
        assert function.properties["Timeout"] == spec.timeout_seconds
        assert function.properties["MemorySize"] == spec.memory_mib


def test_every_function_is_python_on_arm_and_traced(assembly: Assembly) -> None:
    for _, function in assembly.functions():
        assert function.properties["Runtime"] == "python3.13"
        assert function.properties["Architectures"] == ["arm64"]
        assert function.properties["TracingConfig"] == {"Mode": "Active"}


CONTENT_LIBRARIES = {"google_crc32c", "numpy"}


def test_functions_that_read_content_have_the_inspection_layer_and_others_do_not(assembly: Assembly) -> None:
    for name, function in assembly.functions():
        layers = [layer["Ref"] for layer in function.properties["Layers"]]
        kinds = [re.sub(r"^Package|[0-9A-F]{8}$", "", layer) for layer in layers]
        assert sorted(kinds) == (["Inspection"] if SPECS[name].reads_content else []) + ["Libraries", "Settings"]


def test_the_inspection_layer_holds_what_reads_content_and_the_other_one_does_not() -> None:
    locked = {it["name"]: it for it in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    ours = locked["holdfast"]
    assert packaging.INSPECTION == ("--only-group", "inspection")
    assert _with_what_they_need(ours["dev-dependencies"]["inspection"], locked) == CONTENT_LIBRARIES
    libraries = _with_what_they_need(ours["dependencies"], locked)
    assert "boto3" in libraries
    assert not libraries & CONTENT_LIBRARIES


def test_every_function_without_the_inspection_layer_can_be_imported_without_it() -> None:
    without = [spec for spec in SPECS.values() if not spec.reads_content]
    assert without
    _import_without(CONTENT_LIBRARIES, [spec.handler.removesuffix(".handler") for spec in without])


def test_every_function_with_the_inspection_layer_needs_it() -> None:
    for spec in SPECS.values():
        if spec.reads_content:
            with pytest.raises(subprocess.CalledProcessError) as refused:
                _import_without(CONTENT_LIBRARIES, [spec.handler.removesuffix(".handler")])
            assert b"halted; None in sys.modules" in refused.value.stderr


def test_every_function_logs_into_a_group_that_forgets(assembly: Assembly) -> None:
    groups = {(group.stack, group.id): group for group in assembly.resources("AWS::Logs::LogGroup")}
    for name, function in assembly.functions():
        group = groups[function.stack, function.properties["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group.properties["LogGroupName"] == f"/aws/lambda/{name}"
        assert group.properties["RetentionInDays"] == 30


def test_every_function_has_a_role_of_its_own(assembly: Assembly) -> None:
    roles = [(f.stack, f.properties["Role"]["Fn::GetAtt"][0]) for _, f in assembly.functions()]
    assert len(roles) == len(set(roles))
    for role in assembly.resources("AWS::IAM::Role"):
        assert "ManagedPolicyArns" not in role.properties, f"{role} holds rights that nobody here wrote down"


def test_what_a_function_fails_is_kept_somewhere(assembly: Assembly) -> None:
    invoked = {
        (resource.stack, resource.properties["FunctionName"]["Ref"])
        for resource in assembly.resources("AWS::Lambda::EventInvokeConfig")
        if resource.properties["DestinationConfig"]["OnFailure"]["Destination"]
    }
    fed = {(resource.stack, resource.properties["FunctionName"]["Ref"]) for resource in _sources(assembly)}
    by_workflow = _called_by_workflows(assembly)
    for name, function in assembly.functions():
        keepers = invoked | fed | by_workflow
        assert (function.stack, function.id) in keepers, f"an event that {name} fails is lost"


def test_every_function_of_recovery_is_called_by_a_workflow_or_by_the_clock(assembly: Assembly) -> None:
    scheduled = {
        (schedule.stack, written(schedule.properties["Target"]["Arn"]).removeprefix("${").removesuffix(".Arn}"))
        for schedule in assembly.resources("AWS::Scheduler::Schedule")
    }
    called = _called_by_workflows(assembly) | scheduled
    idle = [name for name, f in assembly.functions() if "Recovery" in f.stack and (f.stack, f.id) not in called]
    assert not idle


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
    meant = {name for name, f in assembly.functions() if f.properties.get("RecursiveLoop") == "Allow"}
    assert meant == {"holdfast-take-snapshot", "holdfast-copy-snapshot"}


LEDGER, KEY, TOPIC, BUS = "HOLDFAST_TABLE", "HOLDFAST_KEY_ALIAS", "HOLDFAST_TOPIC_ARN", "HOLDFAST_BUS"
SNAPSHOTS, COPIES = "HOLDFAST_SNAPSHOT_ORDERS_URL", "HOLDFAST_COPY_ORDERS_URL"
NETWORK = {"HOLDFAST_REHEARSAL_SUBNET_GROUP", "HOLDFAST_REHEARSAL_SECURITY_GROUP_IDS"}

PLACES: dict[str, set[str]] = {
    "holdfast-take-inventory": {LEDGER},
    "holdfast-plan-backups": {LEDGER, SNAPSHOTS},
    "holdfast-take-snapshot": {LEDGER, KEY, SNAPSHOTS},
    "holdfast-track-points": {LEDGER, KEY, SNAPSHOTS, COPIES},
    "holdfast-copy-snapshot": {LEDGER, KEY, COPIES},
    "holdfast-sweep": {LEDGER, KEY, SNAPSHOTS, COPIES},
    "holdfast-mark-expired": {LEDGER, KEY, TOPIC},
    "holdfast-delete-expired": {LEDGER, KEY},
    "holdfast-heed-alarm": {LEDGER, SNAPSHOTS},
    "holdfast-heed-failure": {LEDGER, TOPIC},
    "holdfast-score-run": {LEDGER, TOPIC, BUS},
    "holdfast-watch-sharing": {LEDGER, TOPIC, BUS},
    "holdfast-check-keys": {LEDGER, KEY, TOPIC, BUS},
    "holdfast-choose-rehearsal": {LEDGER},
    "holdfast-start-restore": NETWORK,
    "holdfast-check-restore": NETWORK,
    "holdfast-verify-volume": {LEDGER},
    "holdfast-inspect-content": {LEDGER},
    "holdfast-start-deep-check": set(),
    "holdfast-follow-deep-check": set(),
    "holdfast-verify-database": set(),
    "holdfast-record-rehearsal": {LEDGER, TOPIC, BUS},
    "holdfast-remove-restore": NETWORK,
    "holdfast-reap-rehearsals": {LEDGER, TOPIC} | NETWORK,
    "holdfast-choose-recovery": {LEDGER, KEY},
    "holdfast-plan-recovery": {LEDGER},
    "holdfast-ask-approval": {LEDGER, TOPIC},
    "holdfast-answer-approval": {LEDGER},
    "holdfast-start-recovery": set(),
    "holdfast-check-recovery": set(),
    "holdfast-configure-recovery": set(),
    "holdfast-verify-recovery": {LEDGER},
    "holdfast-remove-recovery": set(),
    "holdfast-record-recovery": {LEDGER, TOPIC, BUS},
    "holdfast-stop-recovery": set(),
    "holdfast-read-set": set(),
    "holdfast-note-set": {TOPIC},
    "holdfast-swap-names": {LEDGER},
    "holdfast-hold-point": {LEDGER},
}


def test_a_function_knows_only_the_places_it_uses(assembly: Assembly) -> None:
    everywhere = {"HOLDFAST_ACCOUNT", "POWERTOOLS_SERVICE_NAME", "POWERTOOLS_LOG_LEVEL"}
    for name, function in assembly.functions():
        # Nothing is rehearsed at home by itself while there are copies, so there is no network either.
        missing = NETWORK if function.stack == "HoldfastRecovery-eu-central-1" else set()
        expected = everywhere | (PLACES[name] - missing)
        assert set(function.properties["Environment"]["Variables"]) == expected, str(function)


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
    region = "eu-central-1" if spec in functions.AT_HOME else "eu-west-1"
    given = set(assembly.function(spec.name, region=region).properties["Environment"]["Variables"])
    for tool, variable in REACHES.items():
        if re.search(rf"\btools\.{tool}\b", source):
            assert variable in given, f"{spec.verb} uses tools.{tool}"


def test_one_code_asset_serves_all_functions_of_a_stack(assembly: Assembly) -> None:
    for stack in ("HoldfastBackup", "HoldfastRecovery-eu-central-1", "HoldfastRecovery-eu-west-1"):
        codes = {f.properties["Code"]["S3Key"] for _, f in assembly.functions() if f.stack == stack}
        assert len(codes) == 1


def test_the_code_asset_holds_the_functions_and_nothing_else(assembly: Assembly) -> None:
    function = assembly.function("holdfast-take-snapshot", region="eu-central-1")
    folder = assembly.folder / f"asset.{function.properties['Code']['S3Key'].removesuffix('.zip')}"
    assert [entry.name for entry in folder.iterdir()] == ["functions"]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "functions" / "core" / "slots.py" in files
    assert not [path for path in files if path.suffix in {".pyc", ".md"}]


def test_schedules_are_in_utc_and_keep_what_they_could_not_start(assembly: Assembly) -> None:
    schedules = list(assembly.resources("AWS::Scheduler::Schedule"))
    assert {(s.stack, s.properties["Name"], s.properties["ScheduleExpression"]) for s in schedules} == {
        ("HoldfastBackup", "holdfast-take-inventory", "rate(1 hour)"),
        ("HoldfastBackup", "holdfast-plan-backups", "rate(5 minutes)"),
        ("HoldfastBackup", "holdfast-track-points", "rate(1 minute)"),
        ("HoldfastBackup", "holdfast-sweep", "rate(15 minutes)"),
        ("HoldfastBackup", "holdfast-mark-expired", "cron(10 5 * * ? *)"),
        ("HoldfastBackup", "holdfast-delete-expired", "cron(40 5 * * ? *)"),
        ("HoldfastBackup", "holdfast-watch-sharing", "rate(5 minutes)"),
        ("HoldfastBackup", "holdfast-check-keys", "cron(10 6 * * ? *)"),
        ("HoldfastRecovery-eu-central-1", "holdfast-reap-rehearsals", "rate(15 minutes)"),
        ("HoldfastRecovery-eu-west-1", "holdfast-reap-rehearsals", "rate(15 minutes)"),
        ("HoldfastRecovery-eu-west-1", "holdfast-rehearse", "rate(6 hours)"),
    }
    for schedule in schedules:
        assert schedule.properties["ScheduleExpressionTimezone"] == "Etc/UTC"
        assert schedule.properties["Target"]["DeadLetterConfig"]["Arn"]


def test_no_rehearsals_a_day_means_no_schedule(try_out: Assembly) -> None:
    names = {schedule.properties["Name"] for schedule in try_out.resources("AWS::Scheduler::Schedule")}
    assert "holdfast-rehearse" not in names
    assert {"holdfast-plan-backups", "holdfast-reap-rehearsals"} <= names


def _sources(assembly: Assembly) -> list[Resource]:
    return list(assembly.resources("AWS::Lambda::EventSourceMapping"))


def _called_by_workflows(assembly: Assembly) -> set[tuple[str, str]]:
    """Stack and id of every function that a workflow's definition names."""
    return {
        (machine.stack, value["Fn::GetAtt"][0])
        for machine in assembly.resources("AWS::StepFunctions::StateMachine")
        for value in machine.properties["DefinitionSubstitutions"].values()
        if "Fn::GetAtt" in value
    }


def _with_what_they_need(wanted: list[dict[str, Any]], locked: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The names of locked packages and of all they depend on, as they are imported."""
    found: set[str] = set()
    waiting = [it["name"] for it in wanted]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [it["name"] for it in locked[name].get("dependencies", ())]
    return {name.replace("-", "_") for name in found}


def _import_without(libraries: set[str], modules: list[str]) -> None:
    """Imports the modules where these libraries are not installed, as in a function without their layer."""
    missing = "".join(f"sys.modules[{library!r}] = None\n" for library in sorted(libraries))
    imports = "".join(f"import {module}\n" for module in modules)
    subprocess.run(  # noqa: S603 - our own modules under our own Python
        [sys.executable, "-c", f"import sys\n{missing}{imports}"], cwd=ROOT, check=True, capture_output=True
    )
