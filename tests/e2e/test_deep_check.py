"""Volumes that are looked at on a machine of their own: their file systems are checked and mounted, and asked by the
command of their policy, which wants a file that one of them does not have."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.deployment import AWAY, Deployment, Thing
from tests.e2e.rehearsals import REHEARSAL_TAG, Rehearsals, Rehearsed

DISKS = {"ext4": "ext4", "xfs": "xfs", "without the file": "postgresql", "offline": "ext4", "crowded": "ext4"}
TOGETHER = ("ext4", "xfs", "without the file")
FAULTS: Mapping[str, dict[str, Any]] = {
    "offline": {"operation": "life:ssm-agent", "effect": "stick", "region": AWAY},
    "crowded": {
        "operation": "ec2:RunInstances",
        "effect": "refuse",
        "error_code": "InsufficientInstanceCapacity",
        "region": AWAY,
    },
}
COMMAND = "deep check: `grep -c . README.txt` in /"

pytestmark = pytest.mark.skipif(
    shutil.which("xfs_repair") is None or shutil.which("e2fsck") is None,
    reason="the machine of a deep check is this one, and it has no xfs_repair or e2fsck",
)


@dataclass
class Checked:
    """The volumes by what happens to them, and what their rehearsals found."""

    deployment: Deployment
    things: Mapping[str, Thing]
    rehearsed: dict[str, Rehearsed] = field(default_factory=dict)

    def said(self, name: str) -> dict[str, tuple[bool | None, str]]:
        """What the machine said, by assertion, without the id of the volume."""
        return {
            one["what"].replace(self.things[name].id, "it"): (one["held"], one["detail"])
            for one in self.rehearsed[name].story["evidence"]["assertions"]
            if one["what"].startswith("deep check: ")
        }


@pytest.fixture(scope="module")
def checked(deployment: Deployment) -> Iterator[Checked]:
    """A night, and the rehearsals after it: of some at the same time, and of two under a fault each."""
    things = {name: deployment.protect_a_volume(disk=disk, policy="deep") for name, disk in DISKS.items()}
    checked = Checked(deployment, things)
    rehearsals = Rehearsals(deployment)
    try:
        deployment.next_night()
        deployment.plan()
        points = {name: (thing, deployment.until_copied(thing).point["slot_at"]) for name, thing in things.items()}
        checked.rehearsed |= rehearsals.run({name: points[name] for name in TOGETHER})
        for name, fault in FAULTS.items():
            deployment.aws.arm(fault)
            checked.rehearsed |= rehearsals.run({name: points[name]})
            deployment.aws.clear_faults()
        yield checked
    finally:
        deployment.aws.clear_faults()
        for thing in things.values():
            if thing in deployment.things:
                deployment.leave(thing)


@pytest.mark.parametrize(("name", "checker"), [("ext4", "e2fsck"), ("xfs", "xfs_repair")])
def test_a_whole_volume_is_checked_mounted_and_asked(checked: Checked, name: str, checker: str) -> None:
    whole = checked.rehearsed[name]
    assert (whole.status, whole.fitness) == ("SUCCEEDED", "fit"), whole.reason
    said = checked.said(name)
    assert {what: held for what, (held, _) in said.items()} == {
        f"deep check: {checker} finds no damage in it": True,
        f"deep check: it mounts as {name}": True,
        COMMAND: True,
    }
    assert int(said[COMMAND][1]) > 0, "the command's own answer is kept"


def test_how_long_it_took_and_on_which_machine_is_recorded(checked: Checked) -> None:
    check = checked.rehearsed["ext4"].story["deep_check"]
    assert check["stage"] == "over"
    assert check["checker_id"].startswith("i-")
    assert check["asked_at"] < check["ended_at"]


def test_a_command_that_fails_makes_the_point_unfit_and_holds_it(checked: Checked) -> None:
    unfit = checked.rehearsed["without the file"]
    assert (unfit.error, unfit.fitness, unfit.broken) == ("RehearsalFailed", "unfit", [COMMAND])
    assert "README.txt: No such file" in unfit.reason
    (because,) = Rehearsals(checked.deployment).held(checked.things["without the file"]).values()
    assert COMMAND in because


@pytest.mark.parametrize(("name", "word"), [("offline", "SSM agent"), ("crowded", "EC2 has none of t4g.small")])
def test_what_got_no_machine_is_undecided_and_says_what_to_do(checked: Checked, name: str, word: str) -> None:
    undecided = checked.rehearsed[name]
    assert (undecided.error, undecided.fitness, undecided.broken) == ("RehearsalFailed", "undecided", [])
    assert word in undecided.reason
    assert "not over within 0:15:00" in undecided.reason
    held = [one["held"] for one in undecided.story["evidence"]["assertions"]]
    assert held.count(None) == 1
    assert len(held) > 1, "what was read of it still counts"


def test_nothing_is_left_of_machines_and_volumes(checked: Checked) -> None:
    ec2 = checked.deployment.aws.client("ec2", AWAY)

    def alive() -> list[str]:
        tagged = [{"Name": "tag-key", "Values": [REHEARSAL_TAG]}]
        described = [one for r in ec2.describe_instances(Filters=tagged)["Reservations"] for one in r["Instances"]]
        assert described
        return [one["InstanceId"] for one in described if one["State"]["Name"] != "terminated"]

    checked.deployment.until("every machine has ended", lambda: not alive())
    checked.deployment.until("nothing restored is left", lambda: not Rehearsals(checked.deployment).leftovers())
