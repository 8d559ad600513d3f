"""Everything of the databases that lies on this machine: servers, images, certificates and who cleans up after them."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from embedded.databases import certificates, programs, watchdog
from embedded.databases.doorway import Doorway
from embedded.databases.images import Image, Images
from embedded.databases.programs import Programs
from embedded.databases.server import Server

AUTHORITY_NAME = "rds-ca.pem"
"""The certificate every endpoint's chain ends in, as a file in the data directory of the embedded AWS."""

AUTHORITY_VARIABLE = "HOLDFAST_CA_BUNDLE"
"""Names the authority to whatever connects to a database; on Amazon's AWS functions believe Amazon's own."""

# initdb and crash recovery keep a processor busy; more of them at once only get slower.
_BUILDERS = 2


@dataclass(frozen=True)
class LiveDatabase:
    """A PostgreSQL server and the port its clients come through."""

    server: Server
    doorway: Doorway

    def remove(self) -> None:
        """Neither the server nor its files nor its port exist any more."""
        self.doorway.close()
        self.server.remove()


class Estate:
    """The databases of one embedded AWS; gone when its process is gone."""

    def __init__(self) -> None:
        self.directory = programs.directory_for_servers("holdfast-databases-")
        self._servers = self.directory / "servers"
        self._servers.mkdir()
        self._servers.chmod(0o711)
        images = self.directory / "images"
        images.mkdir(mode=0o700)
        self.images = Images(images)
        self.certificates = certificates.make(self.directory)
        self.builders = ThreadPoolExecutor(_BUILDERS, thread_name_prefix="embedded-databases")
        self._names = itertools.count()
        _publish(self.certificates.authority)
        self._tls = self.certificates.server_context()
        # The watchdog waits for the end of its standard input, which comes with the end of this process at the latest.
        self._watchdog = subprocess.Popen(  # noqa: S603 - this interpreter and our own file
            [sys.executable, watchdog.__file__, str(self.directory)], stdin=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self.close)

    def close(self) -> None:
        """No server runs any more, and no file of theirs is left."""
        self._watchdog.communicate()

    def build(self, version: Programs, username: str, password: str, database: str | None) -> LiveDatabase:
        """A new database answers on its port."""
        server = Server.create(version, self._new_home())
        return self._open(server, lambda: server.add_master(username, password, database))

    def rebuild(self, image: Image, port: int | None = None) -> LiveDatabase:
        """A database with the content of `image` answers on its port, or on the one that was asked for."""
        return self._open(self.images.restore(image, self._new_home()), port=port)

    def _open(
        self, server: Server, prepare: Callable[[], None] = lambda: None, *, port: int | None = None
    ) -> LiveDatabase:
        try:
            server.start()
            prepare()
            return LiveDatabase(server, Doorway(server.socket_path, self._tls, port))
        except Exception:
            server.remove()
            raise

    def _new_home(self) -> Path:
        return self._servers / f"{next(self._names):04d}"


def _publish(authority: Path) -> None:
    """Clients find the authority where the embedded AWS keeps its data; the estate itself may lie elsewhere.

    The processes of functions inherit this process's environment, and none of them meets a database before there is
    one.
    """
    if data_directory := os.environ.get("EMBEDDED_DATA"):
        published = shutil.copyfile(authority, Path(data_directory) / AUTHORITY_NAME)
        os.environ[AUTHORITY_VARIABLE] = str(published)


@functools.cache
def estate() -> Estate:
    """The estate of this process, made when the first database needs it."""
    return Estate()
