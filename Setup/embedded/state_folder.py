"""The folder that one embedded run lives in: who may use it, its ports, and what an earlier run left running.

Nothing in it is precious to the machine: removing the folder resets the run.
"""

import fcntl
import json
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import psutil

from Sensor_core.errors import EnergyError

HOST = "127.0.0.1"
STOP_SIGNALS = {"java": signal.SIGTERM, "postgres": signal.SIGINT, "valkey-server": signal.SIGTERM}
"""How each engine's program is asked to stop; SIGINT is PostgreSQL's fast shutdown."""

_LOCK_WAIT_S = 15.0
_INHERIT_WITHIN_S = 5.0
_LEFTOVER_GRACE_S = 10.0
_POLL_S = 0.1


class StateFolder:
    """One run's folder, usable by one process at a time.

    The lock belongs to the process, not to the file: it is gone when the process is, however it ended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock_file: TextIO | None = None

    def claim(self) -> None:
        """Take the folder for this process and end what an earlier run left running in it.

        Raises:
            EnergyError: Another live run uses the folder.
        """
        (self.path / "logs").mkdir(parents=True, exist_ok=True)
        lock_file = (self.path / "lock").open("a+", encoding="utf-8")
        try:
            self._wait_for_lock(lock_file)
        except EnergyError:
            lock_file.close()
            raise
        lock_file.truncate(0)
        lock_file.write(str(os.getpid()))
        lock_file.flush()
        self._lock_file = lock_file
        self.end_leftovers()

    def inherit(self) -> bool:
        """Take the folder of a run whose process has just ended; False if a new run was faster."""
        lock_file = (self.path / "lock").open("a+", encoding="utf-8")
        deadline = time.monotonic() + _INHERIT_WITHIN_S
        # The end of a process is seen at one of its files before it is at the others: the lock may be late.
        while not _try_lock(lock_file):
            if time.monotonic() > deadline:
                lock_file.close()
                return False
            time.sleep(_POLL_S)
        self._lock_file = lock_file
        return True

    def release(self) -> None:
        """Let the next run have the folder; does nothing if it was never claimed."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None

    def end_leftovers(self) -> None:
        """Stop every engine that runs on this folder; only the folder's owner may call it."""
        leftovers = [process for process in psutil.process_iter() if self._is_engine(process)]
        for process in leftovers:
            _send(process, STOP_SIGNALS[_program(process)])
        _, stubborn = psutil.wait_procs(leftovers, timeout=_LEFTOVER_GRACE_S)
        for process in stubborn:
            kill_tree(process)

    def choose_ports(self, preferred: Mapping[str, int]) -> dict[str, int]:
        """Pick a free port for every name: that of the last run, the preferred one, or any.

        Args:
            preferred: The port that a user would expect, by the name of its use; 0 for any.

        Returns:
            The ports by name, kept in the folder for its next run.
        """
        kept_file = self.path / "ports.json"
        kept: dict[str, int] = json.loads(kept_file.read_text()) if kept_file.exists() else {}
        ports: dict[str, int] = {}
        for name, port in preferred.items():
            candidates = [kept.get(name, port), port]
            free = (p for p in candidates if p and p not in ports.values() and is_free(p))
            ports[name] = next(free, None) or any_free_port()
        write_private(kept_file, json.dumps(ports))
        return ports

    def _wait_for_lock(self, lock_file: TextIO) -> None:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while not _try_lock(lock_file):
            lock_file.seek(0)
            user = lock_file.read()
            # The guard of a dead run holds the lock while it stops that run's engines.
            if time.monotonic() > deadline or (user.isdigit() and psutil.pid_exists(int(user))):
                raise EnergyError(
                    f"the state folder {self.path} is in use by process {user or 'unknown'}: "
                    "stop that run first, or give this one another state folder"
                )
            time.sleep(_POLL_S)

    def _is_engine(self, process: psutil.Process) -> bool:
        try:
            if _program(process) not in STOP_SIGNALS:
                return False
            return any(argument.startswith(f"{self.path}{os.sep}") for argument in process.cmdline())
        except psutil.Error:
            return False


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """Hold this user's other runs off while ports are chosen and not listened on yet.

    Of two runs that find the same port free, one would fail to listen and take the other's engines for its own.
    """
    path = Path(tempfile.gettempdir()) / f"energy-run-{os.geteuid()}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)) as lock_file:
        fcntl.flock(lock_file, fcntl.LOCK_EX)
        yield


def kill_tree(process: psutil.Process) -> None:
    """Kill a process and its children, and wait until they are gone.

    A killed postmaster's children go on for a moment, and the next one does not start beside them.
    """
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    _send(process, signal.SIGKILL)
    _, stubborn = psutil.wait_procs(family, timeout=1)
    for member in stubborn:
        _send(member, signal.SIGKILL)
    psutil.wait_procs(stubborn, timeout=_LEFTOVER_GRACE_S)


def write_private(path: Path, text: str) -> None:
    """Write a file that only this user may read, from its first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def is_free(port: int) -> bool:
    """Whether nothing listens on the port, and this process could."""
    with socket.socket() as probe:
        # Binding alone would not do: macOS allows it beside a listener on every address.
        if probe.connect_ex((HOST, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _program(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""


def _send(process: psutil.Process, signal_number: int) -> None:
    try:
        process.send_signal(signal_number)
    except psutil.NoSuchProcess:
        return


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def any_free_port() -> int:
    """A port of ``HOST`` that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
