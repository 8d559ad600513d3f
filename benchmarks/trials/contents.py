"""What is put on the images: files of this machine, generated ones that make structures large, canaries, a database."""

from __future__ import annotations

import hashlib
import json
import os
import random
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded.databases import programs
from functions.core.expected_files import ExpectedManifest

KIB = 1024
REAL_FOLDERS = (Path("/etc"), Path("/usr/share/doc"), Path("/usr/share"))
LARGEST_REAL_BYTES = 128 * KIB
CANARIES = 16
CANARY_SIZES_BYTES = (100, 4096, 10_000, 65_536, 300_000)
WORDS = ("alpha", "beta", "gamma", "delta", "backup", "restore", "proof", "volume")
DATA = "data"
LETTERS = """
    CREATE TABLE letters AS SELECT n AS id, string_agg(md5(n::text || m::text), '') AS body
    FROM generate_series(1, 300) AS n, generate_series(1, 300) AS m GROUP BY n
"""
DATABASE_SCALE = 2
"""Of pgbench: 100,000 rows and about 15 MB for each."""


def write_files(folder: Path, *, seed: int, files: int, has_attributes: bool) -> None:
    """About `files` files lie below the folder, a third of them from this machine, the others as `seed` makes them."""
    draw = random.Random(seed)  # noqa: S311 - trials are repeated from their seed
    _copy_real(folder / "machine", draw, files // 3)
    _write_crowd(folder / "many", draw, files // 2)
    _write_nested(folder / "nested", draw, files // 8)
    _write_unusual(folder / "unusual", draw)
    if has_attributes:
        _set_attributes(folder / "many", draw)
    _delete_some(folder, draw)


def write_canaries(folder: Path, *, seed: int) -> ExpectedManifest:
    """Canaries and their manifest lie in `canary` below the folder; the answer is what a policy says of them."""
    draw = random.Random(seed)  # noqa: S311 - trials are repeated from their seed
    place = folder / "canary"
    place.mkdir()
    digests: dict[str, str] = {}
    for number in range(CANARIES):
        content = draw.randbytes(CANARY_SIZES_BYTES[number % len(CANARY_SIZES_BYTES)])
        (place / f"canary-{number:02}.bin").write_bytes(content)
        digests[f"canary-{number:02}.bin"] = hashlib.sha256(content).hexdigest()
    manifest = json.dumps(digests, indent=1).encode()
    (place / "manifest.json").write_bytes(manifest)
    return ExpectedManifest(path="/canary/manifest.json", sha256=hashlib.sha256(manifest).hexdigest())


def make_database(home: Path) -> Path:
    """A PostgreSQL cluster with page checksums, filled and cleanly shut down; the answer is its data directory.

    `home` is made, and belongs to the account of the servers, which is not root.
    """
    with running_database(home) as server:
        _fill_database(server, home, scale=DATABASE_SCALE)
    return home / DATA


@contextmanager
def running_database(home: Path) -> Iterator[programs.Programs]:
    """A server on a new cluster in `home`, which is made; it is shut down at the end."""
    home.mkdir()
    programs.give_to_servers(home)
    installed = programs.installed()
    server = installed[max(installed, key=int)]
    data = str(home / DATA)
    options = ["--data-checksums", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]
    server.run("initdb", ["--pgdata", data, *options, "--wal-segsize=4"])
    settings = f"-c listen_addresses='' -c unix_socket_directories='{home}' -c max_wal_size=64MB"
    control = ["--pgdata", data, "--log", str(home / "server.log"), "--wait", "--timeout=300"]
    server.run("pg_ctl", [*control, "--options", settings, "start"])
    try:
        yield server
    finally:
        server.run("pg_ctl", [*control, "--mode=fast", "stop"])


@contextmanager
def busy_database(home: Path) -> Iterator[None]:
    """The same, with pgbench at work all the time; PostgreSQL checkpoints whenever it thinks fit."""
    with running_database(home) as server:
        reach = ["--host", str(home), "--username", "postgres"]
        server.run("pgbench", [*reach, "--initialize", "--quiet", "--scale=1", "postgres"])
        work = server.start("pgbench", [*reach, "--time=86400", "--client=2", "postgres"], subprocess.DEVNULL)
        try:
            yield
        finally:
            work.terminate()
            work.wait()


def _fill_database(server: programs.Programs, sockets: Path, *, scale: int) -> None:
    """Tables of pgbench after some of its transactions, long values that are stored out of line, gaps, a checkpoint."""
    reach = ["--host", str(sockets), "--username", "postgres"]
    server.run("pgbench", [*reach, "--initialize", "--quiet", f"--scale={scale}", "postgres"])
    server.run("pgbench", [*reach, "--transactions=200", "--client=2", "postgres"])
    statements = (
        LETTERS,
        "CREATE INDEX ON letters (md5(body))",
        "DELETE FROM letters WHERE id % 7 = 0",
        "VACUUM ANALYZE",
        "CHECKPOINT",
    )
    for statement in statements:
        server.run("psql", [*reach, "--quiet", "--set=ON_ERROR_STOP=1", "--command", statement, "postgres"])


def _copy_real(folder: Path, draw: random.Random, wanted: int) -> None:
    found: list[Path] = []
    for source in REAL_FOLDERS:
        if len(found) < wanted:
            found += [path for path in sorted(source.rglob("*")) if _is_public(path)]
    for path in draw.sample(found, min(wanted, len(found))):
        # The machine is in use: a file may have grown since it was found, or be gone.
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST_REAL_BYTES)
        except OSError:
            continue
        target = folder / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _is_public(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IROTH)


def _write_crowd(folder: Path, draw: random.Random, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        words = " ".join(draw.choices(WORDS, k=draw.randrange(5, 400)))
        (folder / f"file-{number:05}-{draw.choice(WORDS)}.txt").write_text(words)


def _write_nested(folder: Path, draw: random.Random, count: int) -> None:
    place = folder
    for number in range(count):
        if number % 20 == 0:
            place = (folder if number % 400 == 0 else place) / f"{draw.choice(WORDS)}-{number}"
            place.mkdir(parents=True)
        (place / f"{'long-name-' * draw.randrange(1, 20)}{number}").write_bytes(draw.randbytes(draw.randrange(9_000)))


def _write_unusual(folder: Path, draw: random.Random) -> None:
    folder.mkdir(parents=True)
    (folder / "large.bin").write_bytes(draw.randbytes(6 * KIB * KIB))
    with (folder / "pieces.bin").open("wb") as file:
        for number in range(700):
            file.seek(number * 16 * KIB)
            file.write(draw.randbytes(4 * KIB))
    with (folder / "sparse.bin").open("wb") as file:
        file.truncate(300 * KIB * KIB)
        file.seek(200 * KIB * KIB)
        file.write(b"the only bytes in here")
    (folder / "empty").touch()
    for number, length in enumerate((5, 40, 59, 60, 300, 1000)):
        (folder / f"link-{number}").symlink_to("t" * length)
    for number in range(10):
        (folder / f"second-name-{number}").hardlink_to(folder / "empty")


def _set_attributes(folder: Path, draw: random.Random) -> None:
    for number, path in enumerate(sorted(folder.iterdir())):
        if number % 25 == 0:
            os.setxattr(path, "user.origin", b"holdfast")
        if number % 100 == 0:
            os.setxattr(path, "user.notes", draw.randbytes(800))


def _delete_some(folder: Path, draw: random.Random) -> None:
    files = sorted(path for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    for path in draw.sample(files, len(files) // 20):
        path.unlink()
