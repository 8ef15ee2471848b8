"""One service of the pipeline as a child process."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

import psutil

from Sensor_core.errors import EnergyError
from Setup.embedded.state_folder import kill_tree

SETTLED_S: Final = 60.0
"""A service that ran this long is soon started again when it dies, however often it died before. [s]"""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
LARGEST_LOG_BYTES: Final = 20 * 1024 * 1024
_LAST_LINES: Final = 12
_TAIL_BYTES: Final = 16 * 1024


@dataclass(frozen=True)
class Service:
    """A program of the pipeline.

    Attributes:
        name: Its name in logs and views.
        script: The console script that runs it.
        stop_turn: Services with a lower turn are stopped first.
        arguments: Its command line.
        may_end: Whether it is done when it exits with 0; the others run for ever.
    """

    name: str
    script: str
    stop_turn: int = 0
    arguments: tuple[str, ...] = ()
    may_end: bool = False

    def with_arguments(self, *arguments: str) -> "Service":
        """The same program with another command line."""
        return replace(self, arguments=arguments)


class State(Enum):
    """What a service does now."""

    RUNNING = "running"
    WAITING = "restarting"
    DONE = "done"
    STOPPED = "stopped"


@dataclass(frozen=True)
class Status:
    """A service as the view shows it.

    Attributes:
        name: The service.
        state: What it does now.
        pid: Its process number, None while it does not run.
        up_s: How long it has been running. [s]
        restarts: How often it was started again.
    """

    name: str
    state: State
    pid: int | None
    up_s: float | None
    restarts: int


class Child:
    """One service's process, started as often as it takes."""

    def __init__(self, service: Service, logs: Path, environment: Mapping[str, str]) -> None:
        self.service = service
        self.log = logs / f"{service.name}.log"
        self.restarts = -1
        self.state = State.WAITING
        self._environment = environment
        self._pause_s = FIRST_PAUSE_S
        self._start_at = 0.0
        self._started_at = 0.0
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        if self.log.exists():
            self.log.replace(self._previous_log)

    @property
    def _previous_log(self) -> Path:
        return self.log.with_suffix(".previous.log")

    def start_if_due(self) -> int | None:
        """Start the process if its time has come; returns its number if it was started now."""
        if self.state is not State.WAITING or time.monotonic() < self._start_at:
            return None
        command = [str(_script(self.service.script)), *self.service.arguments]
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            # A session of its own: Ctrl-C in the terminal reaches the supervisor only, which stops all in order.
            self._process = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(self._environment),
                start_new_session=True,
            )
        self.state, self._started_at = State.RUNNING, time.monotonic()
        self.restarts += 1
        return self._process.pid

    def reap(self) -> int | None:
        """The exit code, once, of a process that ended by itself; it is done, or due to be started again."""
        code = None if self._process is None or self.state is not State.RUNNING else self._process.poll()
        if code is None:
            return None
        if code == 0 and self.service.may_end:
            self.state = State.DONE
            return code
        if time.monotonic() - self._started_at > SETTLED_S:
            self._pause_s = FIRST_PAUSE_S
        self.state, self._start_at = State.WAITING, time.monotonic() + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        return code

    def trim_log(self) -> None:
        """Move a log that has grown too large aside; the process goes on writing to the emptied file."""
        if self.log.stat().st_size > LARGEST_LOG_BYTES:
            shutil.copyfile(self.log, self._previous_log)
            os.truncate(self.log, 0)
            self._log_start = 0

    def terminate(self) -> None:
        """Ask the process to stop, and start it no more."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        if self.state is not State.DONE:
            self.state = State.STOPPED

    def is_alive(self) -> bool:
        """Whether the process exists."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End the process and its children at once; does nothing if it does not run."""
        if self._process is not None and self.is_alive():
            kill_tree(psutil.Process(self._process.pid))
            self._process.wait()

    def status(self) -> Status:
        """The service as the view shows it."""
        running = self._process is not None and self.state is State.RUNNING
        return Status(
            self.service.name,
            self.state,
            self._process.pid if self._process is not None and running else None,
            time.monotonic() - self._started_at if running else None,
            max(0, self.restarts),
        )

    def last_lines(self) -> str:
        """The end of what the newest process wrote to the log, introduced by the log's path."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n  ".join([f"The log {self.log} ends with:", *lines])


def _script(name: str) -> Path:
    """A console script of the environment that this program runs in.

    Raises:
        EnergyError: It is not installed.
    """
    script = Path(sys.executable).parent / name
    if not script.exists():
        raise EnergyError(f"{script} does not exist: install the project with pip install -e '.[predictor,embedded]'")
    return script
