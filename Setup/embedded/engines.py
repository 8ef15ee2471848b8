"""Real Kafka, PostgreSQL and Valkey for a machine that has only Python, as child processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from Sensor_core.errors import EnergyError
from Setup.embedded import guard
from Setup.embedded.engine import Engine
from Setup.embedded.kafka_engine import KafkaEngine
from Setup.embedded.postgres_engine import PostgresEngine, binary
from Setup.embedded.state_folder import HOST, StateFolder, one_start_at_a_time
from Setup.embedded.valkey_engine import ValkeyEngine
from Setup.redis_client import RedisUser

PREFERRED_PORTS = MappingProxyType({"kafka": 9092, "kafka_controller": 9093, "postgres": 5432, "redis": 6379})
"""Where a user expects the engines; another free port is taken where one of these is in use."""


@dataclass(frozen=True)
class Endpoints:
    """Where the engines of a run are reached, from this machine only."""

    kafka_bootstrap: str
    postgres_host: str
    postgres_port: int
    redis_host: str
    redis_port: int
    psql: Path
    """The psql program that belongs to the server."""


class Engines:
    """The three engines of one run; a context manager that stops them at its end.

    They do not outlive this process: a guard stops them should it be killed.

    Args:
        state: The folder with their data, configuration and logs; made if missing, kept for the next run.
        postgres_password: Of the superuser ``postgres``; fixed by the folder's first start.
        database: The PostgreSQL database to have.
        redis_password: Of Valkey's user ``default``.
        redis_users: Passwords of the services' users, or nothing: there is ``default`` only.
        preferred_ports: Ports to try first, by the names in ``PREFERRED_PORTS``; 0 for any.
    """

    def __init__(
        self,
        state: Path,
        *,
        postgres_password: str,
        database: str,
        redis_password: str,
        redis_users: Mapping[RedisUser, str] = MappingProxyType({}),
        preferred_ports: Mapping[str, int] = PREFERRED_PORTS,
    ) -> None:
        self._folder = StateFolder(state)
        self._preferred_ports = preferred_ports
        self._postgres_password = postgres_password
        self._database = database
        self._redis_password = redis_password
        self._redis_users = redis_users
        self._engines: dict[str, Engine] = {}
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, on_progress: Callable[[str], None]) -> Endpoints:
        """Start all three side by side and wait until each serves clients.

        Args:
            on_progress: Told in one line what happens, from one thread at a time.

        Returns:
            Where to reach them.

        Raises:
            EnergyError: The folder is in use, or an engine cannot start; none is left running.
        """
        self._folder.claim()
        try:
            with one_start_at_a_time():
                self._engines = self._make_engines(self._folder.choose_ports(self._preferred_ports))
                self._guard = _start_guard(self._folder.path)
                self._start_all(on_progress)
        except BaseException:  # Ctrl-C too
            self.stop()
            raise
        return self.endpoints

    @property
    def endpoints(self) -> Endpoints:
        """Where to reach the engines, once started."""
        return Endpoints(
            kafka_bootstrap=f"{HOST}:{self._engine('kafka').port}",
            postgres_host=HOST,
            postgres_port=self._engine("postgres").port,
            redis_host=HOST,
            redis_port=self._engine("redis").port,
            psql=binary("psql"),
        )

    def stop(self) -> None:
        """Stop the engines in order and let the next run have the folder; may be called at any time."""
        self._stop_all()
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._folder.release()

    def kill(self, name: str) -> None:
        """End one engine as a crash would: ``kafka``, ``postgres`` or ``redis``."""
        self._engine(name).kill()

    def restart(self, name: str) -> None:
        """Stop one engine in order if it runs, and start it again where it was."""
        engine = self._engine(name)
        engine.stop()
        engine.start(lambda _: None)

    def pid(self, name: str) -> int:
        """The process number of one engine."""
        return self._engine(name).pid

    def fallen(self) -> list[str]:
        """Names of the engines that have ended without being asked to."""
        return [name for name, engine in self._engines.items() if not engine.is_running()]

    def last_lines(self, name: str) -> str:
        """The end of one engine's log, introduced by its path."""
        return self._engine(name).last_lines()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _make_engines(self, ports: Mapping[str, int]) -> dict[str, Engine]:
        state = self._folder.path
        engines = (
            KafkaEngine(state, ports["kafka"], controller_port=ports["kafka_controller"]),
            PostgresEngine(state, ports["postgres"], password=self._postgres_password, database=self._database),
            ValkeyEngine(state, ports["redis"], password=self._redis_password, users=self._redis_users),
        )
        return {engine.name: engine for engine in engines}

    def _start_all(self, on_progress: Callable[[str], None]) -> None:
        progress = _Progress(on_progress)
        with ThreadPoolExecutor(len(self._engines)) as pool:
            starts = [pool.submit(engine.start, progress) for engine in self._engines.values()]
            try:
                for start in as_completed(starts):
                    start.result()
            except BaseException:  # Ctrl-C too: the others must not keep the pool waiting
                progress.give_up()
                self._stop_all()
                raise

    def _stop_all(self) -> None:
        if self._engines:
            with ThreadPoolExecutor(len(self._engines)) as pool:
                for stop in [pool.submit(engine.stop) for engine in self._engines.values()]:
                    stop.result()

    def _engine(self, name: str) -> Engine:
        try:
            return self._engines[name]
        except KeyError:
            known = ", ".join(self._engines) or "none, before start()"
            raise EnergyError(f"there is no engine {name!r}: {known}") from None


class _Progress:
    """Passes lines on, one thread at a time, until the start is given up; then it raises."""

    def __init__(self, on_progress: Callable[[str], None]) -> None:
        self._on_progress = on_progress
        self._lock = threading.Lock()
        self._given_up = False

    def __call__(self, line: str) -> None:
        with self._lock:
            if self._given_up:
                raise EnergyError("the start was given up")
            self._on_progress(line)

    def give_up(self) -> None:
        with self._lock:
            self._given_up = True


def _start_guard(state: Path) -> subprocess.Popen[bytes]:
    search_path = [str(Path(guard.__file__).parents[2]), *sys.path]
    with (state / "logs" / "guard.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", guard.__name__, str(state)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(search_path)},
            start_new_session=True,
        )
