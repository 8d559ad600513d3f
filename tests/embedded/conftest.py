"""One embedded AWS for all tests of this folder, and small Lambda functions to try it with."""

from __future__ import annotations

import io
import itertools
import json
import textwrap
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from embedded.aws import EmbeddedAws

PATIENCE_SECONDS = 120.0
"""Of the wall: only a failure takes so long, on however slow a machine."""

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """The embedded AWS, started once; whoever changes its clock's rate, faults or durations puts them back."""
    with EmbeddedAws.start(tmp_path_factory.mktemp("embedded-aws")) as started:
        yield started


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Names that no other test has taken."""
    return lambda stem: f"{stem}-{next(_numbers)}"


@dataclass
class Function:
    """A deployed Lambda function that can write down what happened to it."""

    name: str
    arn: str
    role_arn: str
    journal_path: Path

    def journal(self) -> list[Any]:
        """What the function wrote with `note(...)`, one entry per call."""
        if not self.journal_path.exists():
            return []
        return [json.loads(line) for line in self.journal_path.read_text().splitlines()]

    def wait_for(self, entries: int) -> list[Any]:
        """The journal once it has that many entries."""
        wait_until(lambda: len(self.journal()) >= entries, what=f"{entries} entries of {self.name}")
        return self.journal()


_NOTE = """\
import json, os
def note(entry):
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(json.dumps(entry) + "\\n")
"""


@pytest.fixture
def function(aws: EmbeddedAws, unique: Callable[[str], str], tmp_path: Path) -> Callable[..., Function]:
    """Deploys a function from its source; `allow` are the IAM actions of its role, on every resource."""

    def deploy(
        source: str, *, allow: tuple[str, ...] = (), statements: list[Any] | None = None, **settings: Any
    ) -> Any:
        name = unique("function")
        iam, functions = aws.client("iam"), aws.client("lambda")
        trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_policy([trust]))["Role"]["Arn"]
        allowed = statements or [{"Effect": "Allow", "Action": list(allow), "Resource": "*"}]
        if allow or statements:
            iam.put_role_policy(RoleName=name, PolicyName="allow", PolicyDocument=_policy(allowed))
        journal = tmp_path / f"{name}.journal"
        created = functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Handler="index.handler",
            Role=role,
            Code={"ZipFile": _zipped({"index.py": _NOTE + textwrap.dedent(source)})},
            Environment={"Variables": {"JOURNAL": str(journal)}},
            **{"Timeout": 20, **settings},
        )
        return Function(name, created["FunctionArn"], role, journal)

    return deploy


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE_SECONDS, what: str = "a condition") -> Any:
    """The first true answer of `holds`; the test fails if none came in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := holds():
            return answer
        time.sleep(0.05)
    pytest.fail(f"waited {seconds:.0f} s in vain for {what}")


@pytest.fixture
def until() -> Callable[..., Any]:
    return wait_until


def _policy(statements: list[Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _zipped(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()
