"""What Kafka, PostgreSQL and Valkey have in common as child processes."""

import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import psutil

from Sensor_core.errors import EnergyError, UnreachableError
from Setup.embedded.state_folder import STOP_SIGNALS, kill_tree

Report = Callable[[str], None]
"""Takes one line of progress; it may raise to give the start up."""

_READY_WITHIN_S = 60.0
_STOPPED_WITHIN_S = 20.0
_POLL_S = 0.05
_LAST_LINES = 15


class Engine(ABC):
    """One engine: a program, its folder, its log and the process that runs it.

    Args:
        state: The run's state folder, absolute.
        port: Where clients reach the engine on 127.0.0.1.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    program: ClassVar[str]

    def __init__(self, state: Path, port: int) -> None:
        self.folder = state / self.name
        self.log = state / "logs" / f"{self.name}.log"
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self, report: Report) -> None:
        """Bring the folder to where the program can start: a first run's set-up and the configuration."""

    @abstractmethod
    def command(self) -> list[str]:
        """The program and its arguments; one of them lies in the folder, and none is a secret."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the engine does now what clients will ask of it; answers within seconds."""

    def start(self, report: Report) -> None:
        """Start the engine and wait until it serves clients.

        Raises:
            EnergyError: It ended while starting; the text has the last lines of its log.
            UnreachableError: It runs, but does not answer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        self.prepare(report)
        report(f"{self.label}: starting")
        self._launch()
        deadline = time.monotonic() + _READY_WITHIN_S
        while not (self._listens() and self.is_ready()):
            if not self.is_running():
                raise EnergyError(f"{self.label} ended while starting. {self.last_lines()}")
            if time.monotonic() > deadline:
                raise UnreachableError(
                    f"{self.label} did not answer on port {self.port} within {_READY_WITHIN_S:.0f} s. "
                    f"{self.last_lines()}"
                )
            time.sleep(_POLL_S)
        report(f"{self.label}: ready on port {self.port}")

    def stop(self) -> None:
        """Stop the engine in order; does nothing if it does not run."""
        if self._process is None or not self.is_running():
            return
        self._process.send_signal(STOP_SIGNALS[self.program])
        try:
            self._process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the engine as a crash would (SIGKILL)."""
        if self._process is not None and self.is_running():
            kill_tree(psutil.Process(self._process.pid))
            self._process.wait()

    def is_running(self) -> bool:
        """Whether the process exists, ready or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process number.

        Raises:
            EnergyError: The engine was never started.
        """
        if self._process is None:
            raise EnergyError(f"{self.label} was not started")
        return self._process.pid

    def last_lines(self) -> str:
        """The end of the log, introduced by its path."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
        return "\n  ".join([f"The log {self.log} ends with:", *lines])

    def run(self, command: list[str]) -> None:
        """Run one of the engine's tools to its end, its output in the log.

        Raises:
            EnergyError: The tool failed.
        """
        with self.log.open("ab") as log:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)  # noqa: S603
        if done.returncode:
            raise EnergyError(f"{self.label} could not be set up. {self.last_lines()}")

    def _listens(self) -> bool:
        """Whether the port is this engine's: any other program may have taken it since it was chosen."""
        try:
            connections = psutil.Process(self.pid).net_connections("tcp")
        except psutil.NoSuchProcess:
            return False
        return any(c.status == psutil.CONN_LISTEN and c.laddr.port == self.port for c in connections)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches the parent only, which stops all in order.
            self._process = subprocess.Popen(  # noqa: S603
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
