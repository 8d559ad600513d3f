"""What the suites ask of AWS, written down: each call with the functions of ours through which it was made.

`make units` names a folder in HOLDFAST_ISSUED; every process of the run leaves one file there, and
`test_granted_is_used.py` reads them all in a run of its own afterwards. Without a folder nothing is recorded.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient

FOLDER = "HOLDFAST_ISSUED"
OURS = str(Path(__file__).parents[2] / "functions") + os.sep
IAM_NAMES = {"monitoring": "cloudwatch"}
"""Where IAM's name for a service is not that of its endpoint."""
ALLOWED_BY = {"sqs:SendMessageBatch": "sqs:SendMessage", "dynamodb:TransactWriteItems": "dynamodb:PutItem"}
"""Operations without an action of their own in IAM; of a transaction each part is asked about, see `parts_of`."""


@dataclass(frozen=True, slots=True, order=True)
class Issued:
    """One call: IAM's name for it, and who of ours called whom, as module and function, the outermost first."""

    action: str
    through: tuple[tuple[str, str], ...]

    @property
    def handler(self) -> str | None:
        """The verb whose handler it was, if any."""
        modules = [module for module, _ in self.through if module.startswith("handlers.")]
        return modules[0].partition(".")[2] if modules else None


def parts_of(service: str, operation: str, parameters: Any) -> list[str]:
    """The actions that IAM is asked about for this call."""
    if operation == "TransactWriteItems":
        names = {
            "Put": "PutItem",
            "Update": "UpdateItem",
            "Delete": "DeleteItem",
            "ConditionCheck": "ConditionCheckItem",
        }
        return [f"dynamodb:{names[kind]}" for item in parameters["TransactItems"] for kind in item]
    if operation == "TransactGetItems":
        return ["dynamodb:GetItem"]
    action = f"{IAM_NAMES.get(service, service)}:{operation}"
    return [ALLOWED_BY.get(action, action)]


def path_here() -> tuple[tuple[str, str], ...]:
    """The functions of ours that led here, the outermost first."""
    path: list[tuple[str, str]] = []
    frame = sys._getframe()  # inspect.stack would read every source
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(OURS):
            module = file.removeprefix(OURS).removesuffix(".py").replace(os.sep, ".")
            path.append((module, frame.f_code.co_name))
        frame = frame.f_back
    return tuple(reversed(path))


@pytest.fixture(scope="session", autouse=True)
def issued_calls() -> Iterator[None]:
    """Every call that botocore sends from here on is recorded, if somebody wants to know."""
    folder = os.environ.get(FOLDER)
    if not folder:
        yield
        return
    recorded: set[Issued] = set()
    make: Any = vars(BaseClient)["_make_api_call"]  # botocore's one way out

    def recording(self: Any, operation: str, parameters: Any) -> Any:
        through = path_here()
        if through:
            service = self.meta.service_model.endpoint_prefix
            recorded.update(Issued(action, through) for action in parts_of(service, operation, parameters))
        return make(self, operation, parameters)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", recording)
        yield
    Path(folder).mkdir(parents=True, exist_ok=True)
    text = json.dumps([asdict(one) for one in sorted(recorded)])
    (Path(folder) / f"{os.getpid()}.json").write_text(text, encoding="utf-8")


def read(folder: Path) -> frozenset[Issued]:
    """Everything that the processes of a run recorded."""
    return frozenset(
        Issued(one["action"], tuple((module, function) for module, function in one["through"]))
        for file in sorted(folder.glob("*.json"))
        for one in json.loads(file.read_text(encoding="utf-8"))
    )
