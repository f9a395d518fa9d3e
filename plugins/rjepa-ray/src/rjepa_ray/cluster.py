"""Start Ray on this machine or join a cluster, and end or leave it."""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import psutil
import ray

from rjepa_core.errors import BackendError, SettingsError, UsageError
from rjepa_core.settings import ExtractionSettings

from .settings import RaySettings

# Bytes for results on their way from worker to driver, at most one parcel per worker.
_LOCAL_OBJECT_STORE = 256 * 1024 * 1024
# Environment variables by which processes of one Ray authenticate each other.
_AUTHENTICATION = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
# How many times starting Ray is tried.
_STARTS = 3
# Seconds to wait for Ray to end by itself.
_PATIENCE = 10.0
# Seconds to wait for killed processes.
_LAST_MOMENT = 10.0
# Seconds to connect to the head of a cluster.
_CONNECT = 10.0


@attrs.frozen
class RayCluster:
    """The cluster that workers run on.

    Attributes:
        ours: whether Ray was started or joined here, and must be left at the end.
        started: whether it was started here.
        cpus, gpus: of each worker.
        text: a short description.
    """

    ours: bool
    started: bool
    cpus: int
    gpus: float
    text: str


def join(run: ExtractionSettings, own: RaySettings) -> RayCluster:
    """Start Ray on this machine, or join a cluster, and check that it has room for the workers.

    Raises:
        UsageError: there is no cluster at the address.
        SettingsError: it has too few cores or GPUs.
    """
    ours = not ray.is_initialized()
    local = own.address is None and ours
    cores = os.cpu_count() or 1
    cpus = own.cpus or (max(1, cores // own.workers) if local else 1)
    try:
        if ours:
            _init(own, own.workers * cpus)
        there = ray.cluster_resources()
        gpus = _gpus(run, own, there.get("GPU", 0.0))
        for word, needed in (("CPU", own.workers * cpus), ("GPU", own.workers * gpus)):
            if needed > there.get(word, 0.0):
                each, found = (cpus if word == "CPU" else gpus), there.get(word, 0.0)
                if own.workers == 1:
                    raise SettingsError(
                        f"executor.{word.lower()}s: a worker of {each:g} {word}s needs more "
                        f"than the {found:g} {word}s there are"
                    )
                raise SettingsError(
                    f"executor.workers: {own.workers} workers of {each:g} {word}s each are more "
                    f"than the {found:g} {word}s there are; ask for fewer, or set "
                    f"executor.{word.lower()}s"
                )
    except BaseException:
        if ours:
            leave(local, keep_logs=True)
        raise
    nodes = sum(node["Alive"] for node in ray.nodes())
    where = "on this machine" if local else f"on {nodes} node{'s' if nodes > 1 else ''}"
    part = f"{cpus} CPU" + (f", {gpus:g} GPU" if gpus else "")
    return RayCluster(ours, local, cpus, gpus, f"{own.workers} with Ray {where}, {part} each")


def leave(started: bool, keep_logs: bool = False) -> None:
    """Leave the cluster, or end the one that was started, with all its processes."""
    if not started:
        with _restore_signals():
            ray.shutdown()
        return
    # Ray waits indefinitely for a raylet that does not answer.
    late = threading.Timer(_PATIENCE, end_leftovers)
    late.daemon = True
    late.start()
    with _restore_signals():
        try:
            ray.shutdown()
        finally:
            late.cancel()
            end_leftovers()
            if not keep_logs:
                _remove_sessions()


def end_leftovers() -> None:
    """Kill the processes that a Ray started by this process has left behind.

    Ray ends its raylet and expects the workers to notice; one that is busy or stopped lives on for
    minutes. They are recognised by their logs: a session's folder is named after the process that
    began it.
    """
    folder = re.compile(rf"/session_[^/]+_{os.getpid()}/")
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if any(folder.search(file.path) for file in process.open_files()):
                left.append(process)
    left = [process for process in left if process.pid != os.getpid()]
    for process in left:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, _LAST_MOMENT)


def _remove_sessions() -> None:
    """Remove the logs of a Ray that this process started."""
    place = _ray_folder()
    for folder in place.glob(f"session_*_{os.getpid()}"):
        shutil.rmtree(folder, ignore_errors=True)
    latest = place / "session_latest"
    with suppress(OSError):
        if not latest.exists():
            latest.unlink(missing_ok=True)
        place.rmdir()


def _init(own: RaySettings, cpus: int) -> None:
    # Ray reports each start to its makers unless this is set.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if own.address is None and not any(name in os.environ for name in _AUTHENTICATION):
        # Otherwise Ray writes a token of its own into the user's home.
        os.environ[_AUTHENTICATION[0]] = secrets.token_hex(32)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    with _restore_signals():
        if own.address is None:
            _start(cpus, quiet)
            return
        _check_address(_written_address() if own.address == "auto" else own.address)
        try:
            ray.init(own.address, **quiet)
        # Ray also raises bare exceptions.
        except Exception as error:
            ray.shutdown()
            raise _no_cluster(own.address, _line(error)) from error


def _start(cpus: int, quiet: dict[str, Any]) -> None:
    """Start Ray on this machine, with retries.

    Ray gives its own processes 30 seconds to start, which is too little on a busy machine.
    """
    for left in reversed(range(_STARTS)):
        try:
            ray.init(
                "local",
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=_LOCAL_OBJECT_STORE,
                **quiet,
            )
            return
        except Exception as error:
            leave(True, keep_logs=True)
            if not left:
                raise BackendError(
                    f"executor 'ray': Ray did not start on this machine: {_line(error)}"
                ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _written_address() -> str | None:
    """Return the address that Ray uses for `auto`, from the variable or the file of `ray start`.

    The file remains when the machine goes down, and Ray would wait for that head.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named:
        return named
    try:
        return (_ray_folder() / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def _ray_folder() -> Path:
    return Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"


def _check_address(address: str | None) -> None:
    """Refuse an address that nothing answers: Ray would try for minutes, logging each try."""
    if address is None or address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not port.isdigit():
        raise SettingsError(
            f"executor.address: expected auto or HOST:PORT of the cluster's head, got {address}; "
            "run the command on a machine that belongs to the cluster"
        )
    try:
        socket.create_connection((host, int(port)), _CONNECT).close()
    except OSError as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, said: str) -> UsageError:
    return UsageError(
        f"executor.address: no running Ray was found for {address} ({said[:150]}); start one with "
        "`ray start --head`, or leave executor.address out to use this machine alone"
    )


def _gpus(run: ExtractionSettings, own: RaySettings, there: float) -> float:
    device = run.model.device
    if own.gpus is not None:
        gpus = own.gpus
    else:
        gpus = 1.0 if there and (device == "auto" or device.startswith("cuda")) else 0.0
    if gpus and device.startswith("cuda:"):
        raise SettingsError(
            f"model.device: {device} names a GPU, but Ray gives each worker its own; use cuda"
        )
    return gpus


@contextmanager
def _restore_signals() -> Iterator[None]:
    """Restore the signal handlers, which Ray replaces by its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
