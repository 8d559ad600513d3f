"""The processes that run Lambda functions.

* They follow the embedded clock; a function's time-out stays a matter of the wall, because work takes wall time.
* An exception in a handler carries its class name as `errorType` and does not end the process, as on AWS.
* A process that dies under a call is reported as `Runtime.ExitError`.
* A layer is unpacked once per content, not once per process.
* Two processes start at a time and few idle ones are kept: this is for machines with two cores.
"""

from __future__ import annotations

import hashlib
import io
import os
import queue
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from embedded import clock
from embedded.corrections.expected import expect, original, rewritten

_IDLE_WORKERS_KEPT = 48
_STARTS_AT_A_TIME = 2
_LOG_WAIT_SECONDS = 1.0
_LAST_WORDS_SECONDS = 0.05
_END_OF_LOG = "\x00embedded end of invocation"

_starting = threading.BoundedSemaphore(_STARTS_AT_A_TIME)
_unpacking = threading.Lock()
_last_outcome = threading.local()

_FOLLOW_CLOCK = """\
import importlib.util, pathlib, sys
for _name in ("pytest", "dateutil"):  # time-machine would import both for nothing, at every cold start
    sys.modules[_name] = None
_spec = importlib.util.spec_from_file_location("_embedded_clock", {source!r})
_clock = importlib.util.module_from_spec(_spec)
sys.modules["_embedded_clock"] = _clock
_spec.loader.exec_module(_clock)
_clock.follow(_clock.Dial(pathlib.Path({dial!r})))
for _name in ("pytest", "dateutil"):
    del sys.modules[_name]
del _spec, _clock, _name
"""

_HANDLER_FAILED = (
    '            _real_stdout.write(json.dumps({"status": "error", "error": str(e), '
    '"trace": traceback.format_exc()}) + "\\n")\n'
)
# `status: ok` keeps ministack from killing the process: on AWS an exception leaves the environment warm.
_HANDLER_RAISED = """\
            _real_stdout.write(json.dumps({"status": "ok", "trace": traceback.format_exc(), "raised": {
                "errorMessage": str(e), "errorType": type(e).__name__,
                "stackTrace": traceback.format_tb(e.__traceback__)}}) + "\\n")
"""


class EmbeddedWorker(lambda_runtime.Worker):
    """One process of one function."""

    def _spawn(self) -> None:
        with _starting:
            configured = self.config
            self.config = _with_shared_layers(configured)
            try:
                super()._spawn()
            finally:
                self.config = configured

    def invoke(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        response = super().invoke(*args, **kwargs)
        _last_outcome.response = response
        return response

    def _drain_stderr_bounded(self, *_: float) -> str:
        """What this invocation wrote, exactly: up to the mark its process sets at the end."""
        lines: list[str] = []
        # A process that died sets no mark; what it wrote is already in the queue.
        deadline = time.monotonic() + (_LOG_WAIT_SECONDS if self._proc is not None else _LAST_WORDS_SECONDS)
        while (left := deadline - time.monotonic()) > 0:
            try:
                line = self._stderr_queue.get(timeout=left)
            except queue.Empty:
                break
            if line == _END_OF_LOG:
                break
            lines.append(line)
        return "\n".join(lines)


def install(dial: Path, layers: Path) -> None:
    """New workers follow the clock at `dial` and share the layers unpacked under `layers`."""
    global _layers
    _layers = layers
    lambda_runtime._PYTHON_WORKER_SCRIPT = _worker_script(lambda_runtime._PYTHON_WORKER_SCRIPT, dial)
    _choose_our_workers()
    _report_outcomes()
    _keep_few_idle()
    lambda_svc._ESM_SQS_DEFAULT_CONCURRENCY = _STARTS_AT_A_TIME


def kill(function_name: str) -> None:
    """Every process of the function, in every Region, has been killed where it stood."""
    with lambda_runtime._lock:
        workers = [
            worker
            for key, pool in lambda_runtime._workers.items()
            if key.split(":")[2] == function_name
            for worker in pool
        ]
    for worker in workers:
        process = worker._proc
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()


# ---------------------------------------------------------------------------- the worker's script


def _worker_script(script: str, dial: Path) -> str:
    where = "the Python worker script of core/lambda_runtime.py"
    script = rewritten(script, _HANDLER_FAILED, _HANDLER_RAISED, where)
    script = rewritten(script, "_deadline = time.time() +", "_deadline = time.monotonic() +", where)
    script = rewritten(script, "(_deadline - time.time())", "(_deadline - time.monotonic())", where)
    script = rewritten(
        script,
        "        _real_stdout.flush()\n\nrun()",
        f"        sys.stderr.write({_END_OF_LOG + chr(10)!r})\n"
        "        sys.stderr.flush()\n"
        "        _real_stdout.flush()\n\nrun()",
        where,
    )
    return _FOLLOW_CLOCK.format(source=clock.__file__, dial=str(dial)) + script


def _choose_our_workers() -> None:
    choose = original(lambda_runtime, "_worker_class_for", "return Worker")

    def worker_class_for(config: dict[str, Any]) -> type:
        chosen = choose(config)
        return EmbeddedWorker if chosen is lambda_runtime.Worker else chosen

    lambda_runtime._worker_class_for = worker_class_for


# ---------------------------------------------------------------------------- outcomes


def _report_outcomes() -> None:
    execute = original(lambda_svc, "_execute_function_warm", 'error_type = "Runtime.HandlerError"')

    def execute_function_warm(function: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
        _last_outcome.response = None
        answered = execute(function, event, request_id)
        response = _last_outcome.response
        if response is not None:
            return _outcome(answered, response, request_id)
        if answered.get("error") and not answered.get("throttle"):
            return _failed_start(answered)
        return answered

    lambda_svc._execute_function_warm = execute_function_warm


def _outcome(answered: dict[str, Any], response: dict[str, Any], request_id: str) -> dict[str, Any]:
    raised = response.get("raised")
    if raised is not None:
        log = "\n".join(filter(None, [response.get("log"), "[ERROR] " + response["trace"]]))
        return {"body": {**raised, "requestId": request_id}, "error": True, "log": log}
    if response.get("error") in ("Worker process died", "Worker returned no response"):
        message = f"RequestId: {request_id} Error: Runtime exited with error: signal: killed"
        return {**answered, "body": {"errorType": "Runtime.ExitError", "errorMessage": message}, "error": True}
    return answered


def _failed_start(answered: dict[str, Any]) -> dict[str, Any]:
    """ministack names its own RuntimeError; AWS names what went wrong while the function was imported."""
    message = str(answered["body"].get("errorMessage", "")).removeprefix("Worker init failed: ")
    kind = "Runtime.ImportModuleError" if "No module named" in message else "Runtime.Unknown"
    return {**answered, "body": {"errorType": kind, "errorMessage": message}}


# ---------------------------------------------------------------------------- layers


_layers = Path("layers")


def _with_shared_layers(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with each layer replaced by the directory it is unpacked in."""
    if not config.get("Layers") or not str(config.get("Runtime", "")).startswith("python"):
        return config
    directories = os.pathsep.join(str(_unpacked(layer)) for layer in config["Layers"])
    environment = config.get("Environment") or {}
    variables = {**(environment.get("Variables") or {}), "_LAMBDA_LAYERS_DIRS": directories}
    return {**config, "Layers": [], "Environment": {**environment, "Variables": variables}}


def _unpacked(layer: str | dict[str, Any]) -> Path:
    content = lambda_svc._resolve_layer_zip(layer)
    if content is None:
        raise RuntimeError(f"layer {layer} has no content; deploy it again before invoking the function")
    directory = _layers / hashlib.sha256(content).hexdigest()[:24]
    with _unpacking:
        if not directory.exists():
            _layers.mkdir(parents=True, exist_ok=True)
            # Renamed once complete, so that a killed server leaves no half layer behind.
            half = Path(tempfile.mkdtemp(dir=_layers))
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(half)
            half.rename(directory)
    return directory


# ---------------------------------------------------------------------------- how many


def _keep_few_idle() -> None:
    release = original(lambda_runtime, "release_worker", "worker.in_use = False")

    def release_worker(worker: lambda_runtime.Worker | None) -> None:
        release(worker)
        with lambda_runtime._lock:
            surplus = list(_surplus())
            for pool in lambda_runtime._workers.values():
                pool[:] = [kept for kept in pool if kept not in surplus]
        lambda_runtime.kill_workers(surplus)

    lambda_runtime.release_worker = release_worker
    expect(hasattr(lambda_svc, "release_worker"), "services/lambda_svc.py to import release_worker by name")
    lambda_svc.release_worker = release_worker


def _surplus() -> Iterator[lambda_runtime.Worker]:
    idle = [worker for pool in lambda_runtime._workers.values() for worker in pool if not worker.in_use]
    idle.sort(key=lambda worker: worker.last_used)
    yield from idle[: max(0, len(idle) - _IDLE_WORKERS_KEPT)]
