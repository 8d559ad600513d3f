"""The script of a deep check: sent once, harmless to carry, and believed only where it was understood."""

from __future__ import annotations

import ast
import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from functions.aws.clients import Clients
from functions.aws.deep_checks import on_checker
from functions.aws.deep_checks.on_checker import BEGIN, END
from functions.aws.deep_checks.scripts import Scripts, read, script
from functions.core.deep_checks import CommandEnded, DeepCommand, FileSystemSeen
from functions.core.errors import AwsBusy, OutcomeUnknown

REGION, CHECKER, RUN = "eu-central-1", "i-0123456789abcdef0", "0a1b2c3d-0a1b-4c3d-8e9f-0123456789ab"
LS = DeepCommand(run="ls 'a b' | wc -l", directory="/data", within=timedelta(minutes=2))


@pytest.fixture
def clients() -> Clients:
    return Clients(boto3.Session(region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test"))


@pytest.fixture
def ssm(clients: Clients) -> Stubber:
    stubber = Stubber(clients.retrying("ssm", REGION))
    stubber.activate()
    return stubber


@pytest.fixture
def ssm_once(clients: Clients) -> Stubber:
    stubber = Stubber(clients.once("ssm", REGION))
    stubber.activate()
    return stubber


@pytest.fixture
def scripts(clients: Clients, ssm: Stubber, ssm_once: Stubber) -> Scripts:
    return Scripts(REGION, clients)


def printed(*lines: object) -> str:
    return "\n".join([BEGIN, *(json.dumps(line) for line in lines), END]) + "\n"


def invocation(status: str, details: str | None = None, *, said: str = "", error: str = "", code: int = 0) -> Any:
    return {
        "Status": status,
        "StatusDetails": details or status,
        "StandardOutputContent": said,
        "StandardErrorContent": error,
        "ResponseCode": code,
    }


def order_in(text: str) -> dict[str, Any]:
    """What a script is told to do."""
    (written,) = re.findall(r'sys\.exit\(main\("([A-Za-z0-9+/=]+)"\)\)', text)
    return json.loads(base64.b64decode(written))


@pytest.mark.parametrize(("status", "is_online"), [("Online", True), ("ConnectionLost", False), (None, False)])
def test_a_machine_is_online_when_systems_manager_says_so(
    scripts: Scripts, ssm: Stubber, status: str | None, is_online: bool
) -> None:
    known = [] if status is None else [{"InstanceId": CHECKER, "PingStatus": status}]
    asked = {"Filters": [{"Key": "InstanceIds", "Values": [CHECKER]}]}
    ssm.add_response("describe_instance_information", {"InstanceInformationList": known}, asked)
    assert scripts.is_online(CHECKER) is is_online


def test_a_script_is_sent_with_the_time_it_has(scripts: Scripts, ssm: Stubber, ssm_once: Stubber) -> None:
    ssm.add_response("list_commands", {"Commands": []}, {"InstanceId": CHECKER})
    asked = {
        "InstanceIds": [CHECKER],
        "DocumentName": "AWS-RunShellScript",
        "Comment": "Holdfast checks a restored volume",
        "TimeoutSeconds": 120,
        "Parameters": {"commands": [script(["vol-1"], [LS], seconds=1800)], "executionTimeout": ["1800"]},
    }
    ssm_once.add_response("send_command", {"Command": {"CommandId": RUN}}, asked)
    assert scripts.send(CHECKER, ["vol-1"], [LS], seconds=1800) == RUN
    ssm_once.assert_no_pending_responses()


def test_a_script_that_was_sent_before_is_not_sent_again(scripts: Scripts, ssm: Stubber) -> None:
    def sent(id: str, minute: int) -> dict[str, Any]:
        return {"CommandId": id, "RequestedDateTime": datetime(2026, 11, 20, 12, minute, tzinfo=UTC)}

    ssm.add_response("list_commands", {"Commands": [sent("b" * 36, 5), sent(RUN, 1)]}, {"InstanceId": CHECKER})
    assert scripts.send(CHECKER, ["vol-1"], [], seconds=1800) == RUN


def test_a_lost_reply_leaves_open_whether_the_script_runs(scripts: Scripts, ssm: Stubber, ssm_once: Stubber) -> None:
    ssm.add_response("list_commands", {"Commands": []})
    ssm_once.add_client_error("send_command", "InternalServerError", http_status_code=500)
    with pytest.raises(OutcomeUnknown):
        scripts.send(CHECKER, ["vol-1"], [], seconds=1800)


def test_a_machine_that_is_not_registered_yet_is_asked_again(scripts: Scripts, ssm: Stubber, ssm_once: Stubber) -> None:
    ssm.add_response("list_commands", {"Commands": []})
    ssm_once.add_client_error("send_command", "InvalidInstanceId", http_status_code=400)
    with pytest.raises(AwsBusy):
        scripts.send(CHECKER, ["vol-1"], [], seconds=1800)


def test_a_script_is_under_way_before_systems_manager_knows_of_it(scripts: Scripts, ssm: Stubber) -> None:
    ssm.add_client_error("get_command_invocation", "InvocationDoesNotExist", http_status_code=400)
    assert scripts.ending(CHECKER, RUN) is None


@pytest.mark.parametrize("status", ["Pending", "InProgress", "Delayed", "Cancelling"])
def test_a_script_that_runs_has_no_ending(scripts: Scripts, ssm: Stubber, status: str) -> None:
    ssm.add_response("get_command_invocation", invocation(status))
    assert scripts.ending(CHECKER, RUN) is None


def test_a_script_that_ended_well_is_read(scripts: Scripts, ssm: Stubber) -> None:
    ssm.add_response("get_command_invocation", invocation("Success", said=printed({"where": "vol-1", "kind": "xfs"})))
    ended = scripts.ending(CHECKER, RUN)
    assert ended is not None
    assert ended.problem == ""
    assert ended.report.file_systems == (FileSystemSeen(where="vol-1", kind="xfs"),)


@pytest.mark.parametrize(
    ("status", "details"), [("TimedOut", "ExecutionTimedOut"), ("Failed", "Failed"), ("Failed", "Undeliverable")]
)
def test_a_script_that_ended_badly_says_how(scripts: Scripts, ssm: Stubber, status: str, details: str) -> None:
    said = invocation(status, details, said=printed(), error="no\nroom", code=137)
    ssm.add_response("get_command_invocation", said)
    ended = scripts.ending(CHECKER, RUN)
    assert ended is not None
    assert ended.problem == f"Systems Manager says {details}, 137: no room"
    assert not ended.report.is_whole


def test_a_report_is_read_between_its_marks_and_nowhere_else() -> None:
    noise = json.dumps({"where": "vol-9", "kind": "ext4", "exit": 0})
    report = read(f"{noise}\n{printed({'position': 0, 'exit': 3, 'said': 'x'})}{noise}\n")
    assert report.commands == (CommandEnded(position=0, exit=3, said="x"),)
    assert (report.file_systems, report.is_whole) == ((), True)


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace(BEGIN, ""),
        lambda text: text.replace(END, ""),
        lambda text: text.replace('"kind"', '"sort"'),
        lambda text: text.replace("{", "["),
        lambda text: text.replace('{"where": "vol-1", "kind": "xfs"}', "17"),
        lambda _text: "",
    ],
)
def test_a_report_of_which_a_part_is_missing_or_not_understood_is_not_whole(broken: Callable[[str], str]) -> None:
    assert not read(broken(printed({"where": "vol-1", "kind": "xfs"}))).is_whole


def test_a_number_that_is_none_is_no_exit_status() -> None:
    report = read(printed({"where": "vol-1", "kind": "xfs", "exit": "0"}))
    assert report.file_systems[0].exit is None


def test_a_script_carries_the_commands_where_nothing_reads_them_as_code() -> None:
    text = script(["vol-1"], [LS], seconds=1800)
    assert LS.run not in text
    order = order_in(text)
    assert order == {
        "volumes": ["vol-1"],
        "seconds": 1770,
        "commands": [{"run": LS.run, "directory": "/data", "seconds": 120.0, "as_root": False}],
    }


def test_a_script_is_one_that_the_python_of_amazon_linux_2023_reads() -> None:
    text = script(["vol-1"], [LS], seconds=1800)
    assert text.startswith("#!/usr/bin/python3\n")
    ast.parse(text, feature_version=(3, 9))
    imported = {name.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for name in node.names}
    assert imported <= {
        "base64",
        "contextlib",
        "fcntl",
        "json",
        "os",
        "shutil",
        "signal",
        "subprocess",
        "sys",
        "threading",
        "time",
    }


def test_systems_manager_finds_no_parameters_of_its_own_in_a_script() -> None:
    """It replaces what stands between two pairs of braces."""
    text = script(["vol-1"], [LS], seconds=1800)
    assert "{{" not in text
    assert len(text) < 32_768


def test_a_report_fits_into_what_systems_manager_keeps_however_much_is_said() -> None:
    spoken = "\x00" * 50 + "x" * 320
    found = [{"position": n, "exit": 1, "said": on_checker.cut(spoken)} for n in range(20)]
    found += [
        {"where": f"vol-{n}", "kind": "ext4", "exit": 4, "said": on_checker.cut(spoken), "is_mounted": False}
        for n in range(60)
    ]
    text = on_checker.written(found)
    assert len(text) < 24_000
    report = read(text)
    assert (report.is_whole, len(report.commands), len(report.file_systems)) == (True, 20, 60)
    assert all(one.exit == 4 for one in report.file_systems)
