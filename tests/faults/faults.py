"""The faults: each does its harm to a running stack and returns when the harm was over, on the monotonic clock.

Recovery is counted from there: until all that had been published then is stored and forecast.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from Setup.embedded.service import Service
from tests.faults.stack import STEADY, Stack, service_of, wait_until

VARIANTS = Path(__file__).parent / "variants.py"
SMALL_DISK_BYTES = 96 * 1024 * 1024
TAKEN_OVER_WITHIN_S = 60


@dataclass(frozen=True)
class Fault:
    """One way to break the pipeline.

    Attributes:
        harm: Does it.
        services: What runs, None for one of each.
        around: Surrounds the whole run, for what has to be there before Setup.
        forgets: Whether it takes with it what the predictor's second pass has learned: forecasts then are other ones.
    """

    harm: Callable[[Stack, random.Random], float]
    services: list[Service] | None = None
    around: Callable[[Stack], AbstractContextManager[None]] | None = None
    forgets: bool = False


def kill(*names: str) -> Callable[[Stack, random.Random], float]:
    """SIGKILL to each of the services, in a random order and at random moments."""

    def harm(stack: Stack, rng: random.Random) -> float:
        for name in rng.sample(names, len(names)):
            time.sleep(rng.uniform(0, 1))
            stack.process(name).kill()
        return time.monotonic()

    return harm


def kill_engine(name: str) -> Callable[[Stack, random.Random], float]:
    """SIGKILL to one of the engines, which comes back after a moment."""

    def harm(stack: Stack, rng: random.Random) -> float:
        stack.engines.kill(name)
        time.sleep(rng.uniform(0, 3))
        stack.engines.restart(name)
        return time.monotonic()

    return harm


def restart_postgres_immediately(stack: Stack, rng: random.Random) -> float:
    """What ``pg_ctl -m immediate restart`` does: no checkpoint, no farewell to any client."""
    server = psutil.Process(stack.engines.pid("postgres"))
    server.send_signal(signal.SIGQUIT)
    psutil.wait_procs([server, *server.children(recursive=True)] if server.is_running() else [], timeout=20)
    time.sleep(rng.uniform(0, 3))
    stack.engines.restart("postgres")
    return time.monotonic()


def cut_transactions(stack: Stack, rng: random.Random) -> float:
    """pg_terminate_backend to the warehouse's writer while its COPY runs, three times."""
    connection = stack.connect()
    try:
        with connection.cursor() as cursor:
            for _ in range(3):
                time.sleep(rng.uniform(0, 0.5))
                _cut_one(cursor)
    finally:
        connection.close()
    return time.monotonic()


def _cut_one(cursor: psycopg2.extensions.cursor) -> None:
    deadline = time.monotonic() + TAKEN_OVER_WITHIN_S
    cursor.execute("SET track_activities = on")
    while time.monotonic() < deadline:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postgres_consumer'"
            " AND query LIKE 'COPY %' AND backend_xid IS NOT NULL"
        )
        if cursor.rowcount:
            return
        time.sleep(0.001)
    raise AssertionError("no COPY was seen")


def fill_disk(stack: Stack, rng: random.Random) -> float:
    """Fill what the tables lie on until the consumer has been refused, and for a while more."""
    filler = stack.folder / "disk" / "filler"
    log = stack.logs / "postgre_consumer.log"
    size = len(log.read_bytes())
    with filler.open("wb") as file, _until_full():
        while True:
            file.write(bytes(64 * 1024))
            file.flush()
    refused = b"No space left on device"
    wait_until(lambda: refused in log.read_bytes()[size:], stack, "the refusal of a full disk", TAKEN_OVER_WITHIN_S)
    time.sleep(rng.uniform(0, 3))
    filler.unlink()
    return time.monotonic()


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != 28:
            raise


@contextmanager
def small_disk(stack: Stack) -> Iterator[None]:
    """Let the database's tables lie on a small file system of their own."""
    disk, name = stack.folder / "disk", f"small_{stack.number}"
    disk.mkdir()
    size = f"size={SMALL_DISK_BYTES}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", disk], check=True)
    try:
        tables = disk / "tables"
        tables.mkdir()
        owner = psutil.Process(stack.engines.pid("postgres")).uids().real
        os.chown(tables, owner, -1)
        stack.run_as_admin(f"CREATE TABLESPACE {name} LOCATION '{tables}'")
        stack.run_as_admin(f"GRANT CREATE ON TABLESPACE {name} TO PUBLIC")
        stack.run_as_admin(f"ALTER DATABASE {stack.settings.postgres_db} SET default_tablespace = '{name}'")
        yield
    finally:
        stack.stop_services()
        stack.drop_database()
        stack.run_as_admin(f"DROP TABLESPACE IF EXISTS {name}")
        subprocess.run(["umount", "--lazy", disk], check=True)


def can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


def flush_redis(stack: Stack, rng: random.Random) -> float:
    time.sleep(rng.uniform(0, 1))
    stack.redis.flushall()
    return time.monotonic()


def freeze_until_taken_over(stack: Stack, rng: random.Random) -> float:
    """SIGSTOP to one of two of each; SIGCONT once the others do all the work, which the frozen still believe theirs."""
    frozen = [stack.process(rng.choice([name, f"{name}_2"])) for name in STEADY]
    for process in frozen:
        process.suspend()
    try:
        _wait_for_takeover(stack)
    finally:
        for process in frozen:
            process.resume()
    return time.monotonic()


def _wait_for_takeover(stack: Stack) -> None:
    """Until all that is published now is stored and forecast by whoever is left."""
    ends = {p: end for p, end in stack.end_offsets().items() if p[0] in stack.settings.consumption_topics}
    wait_until(lambda: stack.has_stored(ends), stack, "somebody who takes over", TAKEN_OVER_WITHIN_S)


def take_one_of_two_away(stack: Stack, rng: random.Random) -> float:
    """SIGTERM to one of two of each, one after the other; it does not come back."""
    for name in rng.sample(STEADY, len(STEADY)):
        time.sleep(rng.uniform(0, 1))
        stack.child(rng.choice([name, f"{name}_2"])).terminate()
    return time.monotonic()


def outlast_the_poll_interval(stack: Stack, rng: random.Random) -> float:
    """The variant stalls by itself while its heart goes on beating; wait until the group has given it up."""
    del rng
    logs = [stack.logs / f"{name}.log" for name in ("postgre_consumer", "redis_consumer")]
    stalled = "a consumer of each kind that stalled"
    wait_until(lambda: all(b"polls again" in log.read_bytes() for log in logs), stack, stalled, TAKEN_OVER_WITHIN_S)
    return time.monotonic()


def variant(kind: str, name: str, number: int = 1) -> Service:
    """A consumer changed by ``variants.py``."""
    service = service_of(name, number)
    return Service(service.name, "python", service.stop_turn, (str(VARIANTS), kind, name))


def two_of_each() -> list[Service]:
    return [service_of(name, number) for number in (1, 2) for name in STEADY]


STALLING = [service_of("predictor"), variant("stalling", "postgre_consumer"), variant("stalling", "redis_consumer")]

FAULTS: dict[str, Fault] = {
    "services_killed": Fault(kill(*STEADY)),
    "broker_killed": Fault(kill_engine("kafka")),
    "postgres_restarted": Fault(restart_postgres_immediately),
    "transactions_cut": Fault(cut_transactions),
    "disk_full": Fault(fill_disk, around=small_disk),
    "redis_killed": Fault(kill_engine("redis")),
    "redis_flushed": Fault(flush_redis, forgets=True),
    "poll_interval_outlasted": Fault(outlast_the_poll_interval, STALLING),
    "frozen_until_taken_over": Fault(freeze_until_taken_over, two_of_each()),
    "one_of_two_taken_away": Fault(take_one_of_two_away, two_of_each()),
}
