"""The machines of deep checks in memory, and what is told about the script on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from functions.aws.deep_checks.checkers import Checker
from functions.aws.deep_checks.scripts import ScriptEnded
from functions.core.deep_checks import DeepCommand, FileSystemSeen, Report
from functions.core.errors import HoldfastError
from functions.core.restores import Leftover, RestoreOrder
from tests.handlers.world import World

WHOLE = Report(
    file_systems=(FileSystemSeen(where="vol-1", kind="ext4", exit=0, is_mounted=True),), commands=(), is_whole=True
)
DAMAGED = Report(
    file_systems=(FileSystemSeen(where="vol-1", kind="ext4", exit=4, said="Inode 12 is bad", is_mounted=True),),
    is_whole=True,
)


@dataclass
class FakeCheckers:
    """Machines that are asked for, run when a test says so, and go in two looks."""

    strangers: tuple[str, ...] = ()
    refuses: HoldfastError | None = None
    launched: dict[str, RestoreOrder] = field(default_factory=dict)
    is_running: bool = False
    ended: str = ""
    attached: list[tuple[str, ...]] = field(default_factory=list)
    is_attached: bool = False
    removing: set[str] = field(default_factory=set)
    left: list[Leftover] = field(default_factory=list)
    unlisted: HoldfastError | None = None

    def others(self, rehearsal_id: str) -> tuple[str, ...]:
        return self.strangers

    def launch(self, order: RestoreOrder, *, within: timedelta) -> str:
        if self.refuses:
            raise self.refuses
        id = f"i-{order.rehearsal_id}"
        self.launched[id] = order
        return id

    def look(self, id: str) -> Checker:
        return Checker(id=id, is_running=self.is_running, ended=self.ended)

    def attach(self, id: str, volume_ids: Sequence[str]) -> bool:
        if self.refuses:
            raise self.refuses
        self.attached.append(tuple(volume_ids))
        return self.is_attached

    def remove(self, id: str) -> None:
        self.removing.add(id)

    def remove_all_of(self, rehearsal_id: str) -> bool:
        ids = {id for id, order in self.launched.items() if order.rehearsal_id == rehearsal_id}
        gone = ids & self.removing
        self.removing |= ids
        self.launched = {id: order for id, order in self.launched.items() if id not in gone}
        return not ids - gone

    def leftovers(self) -> Iterator[Leftover]:
        if self.unlisted:
            raise self.unlisted
        yield from self.left


@dataclass
class FakeScripts:
    """One script on one machine."""

    online: bool = False
    sent: list[tuple[tuple[str, ...], tuple[DeepCommand, ...], int]] = field(default_factory=list)
    end: ScriptEnded | None = None
    refuses: HoldfastError | None = None

    def is_online(self, checker_id: str) -> bool:
        return self.online

    def send(self, checker_id: str, volume_ids: Sequence[str], commands: Sequence[DeepCommand], *, seconds: int) -> str:
        if self.refuses:
            raise self.refuses
        self.sent.append((tuple(volume_ids), tuple(commands), seconds))
        return "command-1"

    def ending(self, checker_id: str, script_id: str) -> ScriptEnded | None:
        if self.refuses:
            raise self.refuses
        return self.end


@dataclass
class DeepChecks:
    """What a test turns."""

    checkers: FakeCheckers
    scripts: FakeScripts


def with_deep_checks(world: World) -> DeepChecks:
    """From now on deep checks are made in the Region of the functions."""
    tools = world.tools
    tools._environment = {
        **tools._environment,
        "HOLDFAST_DEEP_CHECK_SUBNET": "subnet-1",
        "HOLDFAST_DEEP_CHECK_ZONE": f"{tools.region}a",
    }
    made = DeepChecks(FakeCheckers(), FakeScripts())
    vars(tools).update(checkers=made.checkers, scripts=made.scripts)
    return made
