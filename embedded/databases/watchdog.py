"""Ends every database server of an embedded AWS that is gone, however it went.

Runs as a process of its own and as a file, not a module: it imports the standard library and psutil only. Its standard
input is a pipe whose other end the embedded AWS holds. The pipe closes when that process ends, even by SIGKILL.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil

_GRACE_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.02


def main(directory: Path) -> None:
    # A Ctrl-C and a stopped session are news for the embedded AWS; this process ends when it has cleaned up after it.
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    sys.stdin.buffer.read()
    while found := _servers_below(directory):
        _end(found)
    _remove(directory)


def _servers_below(directory: Path) -> list[psutil.Process]:
    below = f"{directory}{os.sep}"
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and any(part.startswith(below) for part in process.cmdline()):
                found.append(process)
    return found


def _end(servers: list[psutil.Process]) -> None:
    for server in servers:
        with contextlib.suppress(psutil.NoSuchProcess):
            # A snapshot may have been interrupted while all of them were stopped.
            for process in (*server.children(recursive=True), server):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()
            # SIGQUIT, because a killed postmaster leaves its shared memory behind.
            server.send_signal(signal.SIGQUIT)
    for server in _alive_after(_GRACE_SECONDS, servers):
        with contextlib.suppress(psutil.NoSuchProcess):
            server.kill()
    _alive_after(_GRACE_SECONDS, servers)


def _alive_after(seconds: float, servers: list[psutil.Process]) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while (alive := [server for server in servers if _is_alive(server)]) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_SECONDS)
    return alive


def _is_alive(server: psutil.Process) -> bool:
    # The embedded AWS is its parent and waits for us, not for it: what has ended stays a zombie as long.
    try:
        return server.is_running() and server.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _remove(directory: Path) -> None:
    # Images are frozen: their directories must be writable before they let go of their files.
    for where, _, _ in os.walk(directory):
        with contextlib.suppress(FileNotFoundError):
            Path(where).chmod(0o700)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
