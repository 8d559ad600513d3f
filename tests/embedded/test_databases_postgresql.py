"""The PostgreSQL servers below the RDS plane, without any AWS."""

import hashlib
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pg8000.exceptions import DatabaseError
from pg8000.native import Connection

from embedded.databases import certificates, connection, programs
from embedded.databases import images as images_module
from embedded.databases.doorway import Doorway
from embedded.databases.images import Images
from embedded.databases.server import Server, ServerError

PASSWORD = "a master's password"


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A directory below which the servers' account may live."""
    directory = programs.directory_for_servers("holdfast-test-")
    (directory / "images").mkdir(mode=0o700)
    (directory / "servers").mkdir()
    (directory / "servers").chmod(0o711)
    yield directory
    assert not _processes_below(directory)
    assert not list((directory / "images").iterdir()), "a test did not release its image"
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def server(ground: Path) -> Iterator[Server]:
    running = Server.create(programs.installed()["16"], ground / "servers" / "shop")
    running.start()
    running.add_master("holdfast", PASSWORD, "shop")
    yield running
    running.remove()


@pytest.fixture(scope="module")
def doorway(ground: Path, server: Server) -> Iterator[tuple[Doorway, Path]]:
    made = certificates.make(ground)
    door = Doorway(server.socket_path, made.server_context())
    yield door, made.authority
    door.close()


def _processes_below(directory: Path) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if any(str(directory) in part for part in _command(process))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def _rows(connected: Connection, statement: str) -> list[list[Any]]:
    return connected.run(statement) or []


def _digest(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(directory)).encode() + path.read_bytes())
    return digest.hexdigest()


class Writers:
    """Clients that commit rows one by one until they are told to stop, and know what was acknowledged."""

    def __init__(self, server: Server, count: int) -> None:
        with server.administration() as administrator:
            administrator.run("CREATE TABLE beat (id bigserial PRIMARY KEY)")
        self.acknowledged: set[int] = set()
        self._server = server
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(count)]

    def __enter__(self) -> "Writers":
        for thread in self._threads:
            thread.start()
        while len(self.acknowledged) < 50:
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        with self._server.administration() as administrator:
            administrator.run("DROP TABLE beat")

    def _write(self) -> None:
        with self._server.administration() as connected:
            while not self._stopping.is_set():
                self.acknowledged.add(_rows(connected, "INSERT INTO beat DEFAULT VALUES RETURNING id")[0][0])


def test_every_row_committed_before_an_image_is_in_it(ground: Path, server: Server) -> None:
    images = Images(ground / "images")
    with Writers(server, 3) as writers:
        before = set(writers.acknowledged)
        image = images.take(server)
        count_after = len(writers.acknowledged)
        while len(writers.acknowledged) < count_after + 50:
            time.sleep(0.01)
    restored = images.restore(image, ground / "servers" / "restored")
    restored.start()
    with restored.administration() as administrator:
        rows = {row[0] for row in _rows(administrator, "SELECT id FROM beat")}
    assert before <= rows
    assert writers.acknowledged - rows, "the writers went on, so later rows must be missing"
    assert "database system was not properly shut down; automatic recovery in progress" in restored.log()
    restored.remove()
    images.release(image)


def test_the_server_works_while_most_of_an_image_is_copied(
    ground: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, served = images_module._copy, list[list[Any]]()

    def watched(source: Path, target: Path, changed_since_ns: int = 0) -> None:
        if not changed_since_ns:
            with server.administration() as connected:
                served.append(_rows(connected, "SELECT 1"))
        copy(source, target, changed_since_ns)

    monkeypatch.setattr(images_module, "_copy", watched)
    images = Images(ground / "images")
    images.release(images.take(server))
    assert served == [[[1]]]


def test_an_image_does_not_change_when_its_source_or_its_copies_do(ground: Path, server: Server) -> None:
    images = Images(ground / "images")
    image = images.take(server)
    taken = _digest(image.directory)
    restored = images.restore(image, ground / "servers" / "changed")
    restored.start()
    for each in (server, restored):
        with each.administration() as administrator:
            administrator.run("CREATE TABLE later AS SELECT generate_series(1, 10000)")
            administrator.run("CHECKPOINT")
            administrator.run("DROP TABLE later")
    assert _digest(image.directory) == taken
    assert not image.directory.stat().st_mode & 0o222
    restored.remove()
    images.release(image)


def test_an_image_goes_with_the_last_snapshot_that_has_it(ground: Path, server: Server) -> None:
    images = Images(ground / "images")
    image = images.take(server)
    images.hold(image)
    images.release(image)
    assert image.directory.exists()
    images.release(image)
    assert not image.directory.exists()


def test_the_size_of_an_image_is_that_of_its_files(ground: Path, server: Server) -> None:
    images = Images(ground / "images")
    image = images.take(server)
    assert image.size_bytes == sum(path.stat().st_size for path in image.directory.rglob("*") if path.is_file())
    assert not (image.directory / "postmaster.pid").exists()
    images.release(image)


def test_no_process_of_a_paused_server_runs(server: Server) -> None:
    with server.administration(), server.paused():
        postmaster = next(process for process in _processes_below(server.home) if process.name() == "postgres")
        family = [postmaster, *postmaster.children(recursive=True)]
        assert {process.status() for process in family} == {psutil.STATUS_STOPPED}
        assert len(family) > 4
    with server.administration() as administrator:
        assert administrator.run("SELECT 1") == [[1]]


def test_data_pages_carry_checksums(server: Server) -> None:
    with server.administration() as administrator:
        assert administrator.run("SHOW data_checksums") == [["on"]]


def test_two_servers_are_different_systems(ground: Path, server: Server) -> None:
    other = Server.create(programs.installed()["16"], ground / "servers" / "other")
    other.start()
    identifiers = set()
    for each in (server, other):
        with each.administration() as administrator:
            identifiers.add(_rows(administrator, "SELECT system_identifier FROM pg_control_system()")[0][0])
    other.remove()
    assert len(identifiers) == 2


def test_a_server_that_cannot_start_shows_the_end_of_its_log(ground: Path, server: Server) -> None:
    images = Images(ground / "images")
    image = images.take(server)
    broken = images.restore(image, ground / "servers" / "broken")
    (broken.data_directory / "global" / "pg_control").write_bytes(b"\0" * 8192)
    with pytest.raises(ServerError, match="database files are incompatible with server"):
        broken.start()
    broken.remove()
    images.release(image)


def test_the_endpoint_proves_who_it_is(doorway: tuple[Doorway, Path]) -> None:
    door, authority = doorway
    endpoint = {"Address": door.address, "Port": door.port}
    with connection(endpoint, "holdfast", PASSWORD, database="shop", authority=authority) as connected:
        assert connected.run("SELECT current_user::text, current_database()::text") == [["holdfast", "shop"]]


def test_a_stranger_authority_does_not_trust_the_endpoint(tmp_path: Path, doorway: tuple[Doorway, Path]) -> None:
    door, _ = doorway
    stranger = certificates.make(tmp_path).authority
    with (
        pytest.raises(ssl.SSLCertVerificationError),
        connection({"Address": door.address, "Port": door.port}, "holdfast", PASSWORD, authority=stranger),
    ):
        pass


def test_a_client_without_tls_is_turned_away(doorway: tuple[Doorway, Path]) -> None:
    door, _ = doorway
    with pytest.raises(DatabaseError, match="encrypted connections only"):
        Connection("holdfast", host=door.address, port=door.port, password=PASSWORD, database="shop", ssl_context=False)


def test_the_master_user_is_no_superuser_but_owns_the_databases(doorway: tuple[Doorway, Path]) -> None:
    door, _ = doorway
    with connection({"Address": door.address, "Port": door.port}, "holdfast", PASSWORD, database="shop") as connected:
        assert connected.run("SELECT rolsuper FROM pg_roles WHERE rolname = 'holdfast'") == [[False]]
        connected.run("CREATE TABLE mine (id int)")
        connected.run("CREATE ROLE application LOGIN")


def test_the_port_stays_when_the_server_restarts(server: Server, doorway: tuple[Doorway, Path]) -> None:
    door, _ = doorway
    server.stop()
    server.start()
    with connection({"Address": door.address, "Port": door.port}, "holdfast", PASSWORD) as connected:
        assert connected.run("SELECT 1") == [[1]]


def test_a_new_password_replaces_the_old_one(server: Server, doorway: tuple[Doorway, Path]) -> None:
    door, _ = doorway
    endpoint = {"Address": door.address, "Port": door.port}
    server.set_master_password("holdfast", "quite'another")
    with connection(endpoint, "holdfast", "quite'another") as connected:
        assert connected.run("SELECT 1") == [[1]]
    with (
        pytest.raises(DatabaseError, match="password authentication failed"),
        connection(endpoint, "holdfast", PASSWORD),
    ):
        pass
    server.set_master_password("holdfast", PASSWORD)


OWNER = """
import sys, time
from embedded.databases import estate, programs
database = estate.estate().build(programs.installed()["16"], "holdfast", "a master's password", None)
if sys.argv[1] == "paused":
    pause = database.server.paused()
    pause.__enter__()
print(estate.estate().directory, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("state", "signal_sent"),
    [("running", signal.SIGTERM), ("running", signal.SIGKILL), ("paused", signal.SIGKILL)],
)
def test_no_server_outlives_the_process_that_owns_it(state: str, signal_sent: signal.Signals) -> None:
    owner_command = [sys.executable, "-c", OWNER, state]
    root = Path(__file__).parents[2]
    with subprocess.Popen(owner_command, stdout=subprocess.PIPE, cwd=root, text=True) as owner:  # noqa: S603
        assert owner.stdout is not None
        directory = Path(owner.stdout.readline().strip())
        assert directory.is_absolute(), "the owner ended before it had a database"
        assert len(_processes_below(directory)) >= 2
        owner.send_signal(signal_sent)
        owner.wait()
    deadline = time.monotonic() + 120
    while (_processes_below(directory) or directory.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _processes_below(directory)
    assert not directory.exists()
