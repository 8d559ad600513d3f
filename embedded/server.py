"""The embedded AWS as one process: ministack, corrected, with our clock, faults, volumes and databases."""

from __future__ import annotations

import asyncio
import atexit
import faulthandler
import logging
import os
import resource
import signal
import tempfile
import threading
import time
from pathlib import Path
from types import ModuleType

from embedded import ACCOUNT, HOME_REGION, clock

LOG_NAME = "embedded.log"

# Workers inherit the server's environment, so what is scrubbed here is scrubbed for every function too.
_SETTINGS = {
    "AUTH": "true",
    "BIND_HOST": "127.0.0.1",
    "IOT_MTLS_ENABLED": "0",
    "MINISTACK_ACCOUNT_ID": ACCOUNT,
    "MINISTACK_DOCKER_TIMEOUT": "1",
    "MINISTACK_HOST": "127.0.0.1",
    "MINISTACK_REGION": HOME_REGION,
    "MOTO_ACCOUNT_ID": ACCOUNT,
    "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
    "SFTP_ENABLED": "0",
}
_PARENT_LOOK_SECONDS = 1.0


def serve(data_directory: Path, port: int, *, rate: float = 1.0, ends_with: int | None = None) -> None:
    """The embedded AWS has answered on 127.0.0.1:`port` until it was told to stop.

    `ends_with` is the process without which the server has no reason to go on.
    """
    data_directory = data_directory.resolve()
    _scrub_environment(data_directory, port)
    _log_into(data_directory / LOG_NAME)
    clock.start(data_directory / "clock", rate)
    app = _assembled(data_directory)
    if ends_with is not None:
        _end_with(ends_with)
    _raise_file_limit()
    faulthandler.register(signal.SIGUSR1)  # `kill -USR1` writes what every thread is doing to standard error
    asyncio.run(_run(app, port))
    _leave_no_worker_behind()


def _scrub_environment(data_directory: Path, port: int) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "MINISTACK_", "LAMBDA_", "MOTO_", "SFN_"))]:
        del os.environ[name]
    scratch = data_directory / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.update(_SETTINGS, GATEWAY_PORT=str(port), TMPDIR=str(scratch), EMBEDDED_DATA=str(data_directory))
    tempfile.tempdir = None  # it may have been worked out before TMPDIR was set


def _log_into(path: Path) -> None:
    # Before ministack is imported: its own basicConfig then finds the root logger configured and leaves it alone.
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s [%(name)s] %(message)s"))
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO").upper(), handlers=[handler])


def _assembled(data_directory: Path) -> ModuleType:
    # These import ministack and moto, which read the environment as they are imported.
    import ministack.app as app

    from embedded import corrections, databases, gateway, instances, volumes

    corrections.install(dial=data_directory / "clock", layers=data_directory / "layers")
    volumes.install(app)
    instances.install(app)
    databases.install(app)
    app.app = gateway.around(app.app)
    return app


async def _run(app: ModuleType, port: int) -> None:
    from hypercorn.asyncio import serve as hypercorn_serve
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = 75
    config.graceful_timeout = 1
    config.loglevel = "WARNING"
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wish in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wish, stopping.set)
    await hypercorn_serve(app.app, config, shutdown_trigger=stopping.wait)


def _leave_no_worker_behind() -> None:
    from ministack.core import lambda_runtime

    lambda_runtime.reset()
    # Whoever started a process of its own stops it in an exit function; run those, but do not wait for the
    # threads of running executions, which would hold this process for as long as their waits last.
    atexit._run_exitfuncs()
    logging.shutdown()
    os._exit(0)


def _end_with(parent: int) -> None:
    def watch() -> None:
        while _is_running(parent):
            time.sleep(_PARENT_LOOK_SECONDS)
        logging.getLogger("embedded").warning("process %s is gone, so the server stops", parent)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="embedded-parent", daemon=True).start()


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _raise_file_limit() -> None:
    """Bursts of connections and workers need more than the usual soft limit of 1024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
