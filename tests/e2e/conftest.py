"""One deployment for all stories of a worker: the assembly is synthesised and deployed as `make try` does it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.aws import EmbeddedAws
from tests.e2e.bookshop import Bookshop
from tests.e2e.deployment import Deployment, Thing
from tests.e2e.recoveries import Recoveries

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Holdfast deployed on an embedded AWS whose operations take a few seconds."""
    assembly = tmp_path_factory.mktemp("assembly") / "cdk.out"
    settings = Path(__file__).with_name("settings.json")
    environment = {**os.environ, "CDK_OUTDIR": str(assembly), "HOLDFAST_SETTINGS_FILE": str(settings)}
    synth = subprocess.run(
        [sys.executable, "app.py"], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert synth.returncode == 0, synth.stdout + synth.stderr
    with EmbeddedAws.start(tmp_path_factory.mktemp("aws")) as aws:
        aws.deploy(assembly)
        yield Deployment(aws)


@pytest.fixture(autouse=True)
def undisturbed(deployment: Deployment) -> Iterator[None]:
    """Every story begins with an ordinary AWS, and leaves its volumes behind."""
    deployment.aws.clear_faults()
    deployment.aws.reset_durations()
    yield
    deployment.aws.clear_faults()
    for thing in list(deployment.things):
        deployment.leave(thing)


@pytest.fixture(scope="session")
def recoveries(deployment: Deployment) -> Recoveries:
    """The state machines of the deployment, and everything people are told from now on."""
    return Recoveries(deployment)


@pytest.fixture(scope="session")
def bookshop(deployment: Deployment) -> Bookshop:
    """A database with one point and its copy, and with a row that was committed after that."""
    return Bookshop.open(deployment)


@pytest.fixture(scope="session")
def ledger_volume(deployment: Deployment) -> Thing:
    """A volume with a file system, settings and tags of its own, and one point with its copy."""
    thing = deployment.protect_a_volume(disk="ext4", tags={"Name": "ledger"}, Iops=4000, Throughput=200)
    deployment.plan()
    deployment.until_copied(thing)
    deployment.leave(thing)
    return thing
