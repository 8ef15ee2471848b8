"""The pipeline's services as child processes: started, watched, restarted when they die, stopped in order."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from Sensor_core.errors import EnergyError
from Setup.embedded import service_guard
from Setup.embedded.service import Child, Service, State, Status
from Setup.lifecycle import DATA_ERROR, SETTINGS_ERROR, Stop

STOPPED_WITHIN_S: Final = 5.0
"""How long each turn of the stop may take before its services are killed. [s]"""
INCURABLE: Final = frozenset({SETTINGS_ERROR, DATA_ERROR})
_POLL_S: Final = 0.1


SETUP: Final = Service("setup", "energy-setup", may_end=True)
SENSOR: Final = Service("sensor_publisher", "energy-sensor", stop_turn=0, may_end=True)
SERVICES: Final = (
    SENSOR,
    Service("predictor", "energy-predictor", stop_turn=1),
    Service("trainer", "energy-trainer", stop_turn=1),
    Service("redis_consumer", "energy-redis-consumer", stop_turn=2),
    Service("postgre_consumer", "energy-postgres-consumer", stop_turn=2),
)
"""What runs side by side once Setup is done: producers stop before those who store what they produced."""


def with_hours(services: Sequence[Service], hours: int | None, end_file: Path) -> list[Service]:
    """The services with a sensor that ends after so many hours of event time, started again or not.

    Args:
        services: What to run.
        hours: The sensor's bound, None for none.
        end_file: Where the sensor keeps its end while the run lasts.
    """
    if hours is None:
        return list(services)
    bound = ("--hours", str(hours), "--end-file", str(end_file))
    return [s.with_arguments(*bound) if s.name == SENSOR.name else s for s in services]


class Supervisor:
    """Runs services until it is left; a context manager that stops them at its end.

    They do not outlive this process: a guard ends them should it be killed.

    Args:
        logs: Folder for one log a service.
        environment: Of the services; their settings in it.
        report: Told in a few lines what happens.
    """

    def __init__(self, logs: Path, environment: Mapping[str, str], report: Callable[[str], None]) -> None:
        self._logs = logs
        self._environment = dict(environment)
        self._added = 0
        self._report = report
        self._children: list[Child] = []
        self._guard: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._guard = _start_guard(self._logs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            for child in self._children:  # a second signal came while they were stopping
                child.kill()
            if self._guard is not None:
                self._guard.communicate()

    def run_to_end(self, service: Service, stop: Stop) -> bool:
        """Run one service and wait for its end; False if it was told to stop before that.

        Raises:
            EnergyError: It failed; the text has the last lines of its log.
        """
        child = self._add(service)
        while not stop.is_set():
            code = child.reap()
            if code == 0:
                self._children.remove(child)
                return True
            if code is not None:
                raise EnergyError(f"{service.name} failed. {child.last_lines()}")
            time.sleep(_POLL_S)
        return False

    def start(self, services: Sequence[Service]) -> None:
        """Start services side by side."""
        for service in services:
            self._add(service)

    def check(self) -> None:
        """Look after every service: report the dead, start them again when due, keep logs small.

        Raises:
            EnergyError: A service ended for a reason that a restart does not cure.
        """
        for child in self._children:
            code = child.reap()
            if code is not None:
                self._tell(child, code)
            self._start(child)
            child.trim_log()

    def statuses(self) -> list[Status]:
        """All services, in the order in which they were started."""
        return [child.status() for child in self._children]

    def is_done(self, name: str) -> bool:
        """Whether the service has done all that it had to do."""
        return any(child.state is State.DONE for child in self._children if child.service.name == name)

    def stop(self) -> None:
        """Stop all services, turn by turn; those that do not stop in time are killed."""
        for turn in sorted({child.service.stop_turn for child in self._children}):
            children = [child for child in self._children if child.service.stop_turn == turn]
            for child in children:
                child.terminate()
            self._wait_for_end(children)

    def _wait_for_end(self, children: list[Child]) -> None:
        deadline = time.monotonic() + STOPPED_WITHIN_S
        while any(child.is_alive() for child in children) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        for child in children:
            if child.is_alive():
                self._report(f"{child.service.name} did not stop within {STOPPED_WITHIN_S:.0f} s: killed")
                child.kill()

    def _add(self, service: Service) -> Child:
        child = Child(service, self._logs, self._environment | self._own_settings())
        self._children.append(child)
        self._start(child)
        return child

    def _own_settings(self) -> dict[str, str]:
        """A port of its own for each service's metrics."""
        port = self._environment.get("METRICS_PORT")
        self._added += 1
        return {"METRICS_PORT": str(int(port) + self._added - 1)} if port else {}

    def _start(self, child: Child) -> None:
        pid = child.start_if_due()
        if pid is not None and self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.write(f"{pid}\n")
            self._guard.stdin.flush()

    def _tell(self, child: Child, code: int) -> None:
        name = child.service.name
        if child.state is State.DONE:
            self._report(f"{name} is done")
        elif code in INCURABLE:
            raise EnergyError(f"{name} cannot go on. {child.last_lines()}")
        else:
            how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
            self._report(f"{name} {how} and is started again. {child.last_lines()}")


def _start_guard(logs: Path) -> subprocess.Popen[str]:
    root = str(Path(service_guard.__file__).parents[2])
    with (logs / "guard.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", service_guard.__name__],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": root},
            start_new_session=True,
            text=True,
        )
