"""The pipeline at full replay speed while its parts are killed at random, for minutes to half an hour.

    python -m benchmarks.soak [--minutes 30] [--every 20] [--seed 1] [--services-only]

Every EVERY seconds one of the services or engines, chosen by the seed, ends by SIGKILL. The stream is that of the fault
suite: duplicates, disorder, late readings, corrections and malformed messages; it is published as fast as the
predictor follows. At the end the lag has to fall to zero, and the fault suite's checker holds every table and Redis
against the topics. Prints each part's memory at start and end, the times to recover, and what was lost or doubled.
"""

import argparse
import random
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import psutil

from Setup.embedded.engines import PREFERRED_PORTS, Engines
from Setup.redis_client import SERVICE_USERS
from tests.faults.checker import Findings, check, published_again
from tests.faults.faults import kill, kill_engine, restart_postgres_immediately
from tests.faults.publishing import PublishingThread
from tests.faults.running import recovery_s, started
from tests.faults.stack import STEADY, Stack, wait_until
from tests.faults.stream import HOUR, Stream
from tests.faults.tables import Before

ENGINES = {
    "kafka": kill_engine("kafka"),
    "postgres": restart_postgres_immediately,
    "redis": kill_engine("redis"),
}
AHEAD_H = 100
"""How many hours may be published and not forecast yet."""
HOURS_A_MINUTE = 900
"""More than are forecast."""
MIB = 2**20


class Soak:
    """Kills at random and keeps the figures."""

    def __init__(self, stack: Stack, stream: Stream, options: argparse.Namespace) -> None:
        self._stack, self._stream = stack, stream
        self._random = random.Random(options.seed)
        self._every_s, self._duration_s = options.every, 60 * options.minutes
        self._harms = {name: kill(name) for name in STEADY} | ({} if options.services_only else ENGINES)
        self._may_publish_until = stream.start_of(0)
        self._looked_at = 0.0
        self.kills: Counter[str] = Counter()
        self.recoveries_s: dict[str, list[float]] = defaultdict(list)
        self.memory_bytes: dict[str, list[int]] = defaultdict(list)

    def may_go_on(self, hour: int) -> bool:
        """Whether the forecasts have come close enough to this hour of the stream."""
        if time.monotonic() - self._looked_at > 0.5:
            self._looked_at = time.monotonic()
            newest = self._stack.forecast_until() or self._stream.start_of(0)
            self._may_publish_until = max(self._may_publish_until, newest + AHEAD_H * HOUR)
        return self._stream.start_of(hour) < self._may_publish_until

    def kill_until_the_end(self, publishing: PublishingThread) -> None:
        """Harm one part after the other, no earlier than the one before has recovered."""
        until = time.monotonic() + self._duration_s
        while time.monotonic() < until:
            begun = time.monotonic()
            self.measure()
            part = self._random.choice(sorted(self._harms))
            self.kills[part] += 1
            self.recoveries_s[part].append(
                recovery_s(self._stack, self._harms[part](self._stack, self._random), publishing)
            )
            self._tell(part)
            time.sleep(max(0.0, self._every_s - (time.monotonic() - begun)))

    def measure(self) -> None:
        """Note the memory of every part."""
        processes = {name: self._stack.process(name) for name in STEADY}
        processes |= {name: psutil.Process(self._stack.engines.pid(name)) for name in ENGINES}
        for name, process in processes.items():
            family = [process, *process.children(recursive=True)]
            self.memory_bytes[name].append(sum(map(_own_bytes, family)))

    def _tell(self, part: str) -> None:
        took_s, forecast = self.recoveries_s[part][-1], self._stack.forecast_until()
        print(f"{sum(self.kills.values())}: {part} killed, recovered after {took_s:.1f} s; forecast until {forecast}")


def _own_bytes(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:  # one of Postgres' may end meanwhile
        return 0


def soak(options: argparse.Namespace, folder: Path) -> Findings:
    """Run and print the tables."""
    password = secrets.token_hex()
    ports = dict.fromkeys(PREFERRED_PORTS, 0)
    engines = Engines(folder / "engines", postgres_password=password, database="energy", redis_password=password,
                      redis_users=dict.fromkeys(SERVICE_USERS, password), preferred_ports=ports)  # fmt: skip
    with engines:
        engines.start(lambda _line: None)
        with Stack(engines, password, folder / "run") as stack:
            stream = Stream(options.seed, int(HOURS_A_MINUTE * options.minutes))
            before, kills = started(stack, stream), Soak(stack, stream, options)
            publishing = PublishingThread(stream, stack.settings, 0.0, kills.may_go_on)
            try:
                wait_until(lambda: stack.has_forecast(stream.start_of(24)), stack, "the first day")
                kills.kill_until_the_end(publishing)
            finally:
                publishing.give_up()
            return _conclude(stack, before, kills)


def _conclude(stack: Stack, before: Before, kills: Soak) -> Findings:
    stopped_at = time.monotonic()
    wait_until(stack.is_quiet, stack, "quiet", within_s=600)
    print(f"\nlag 0 after {time.monotonic() - stopped_at:.1f} s")
    kills.measure()
    findings, expected, found = check(stack, before)
    print(f"{len(expected.ticks)} hours, {len(found.readings)} readings, {len(found.revisions)} revisions, "
          f"{len(found.dead_letters)} dead letters, {len(found.forecasts)} forecasts "
          f"({published_again(stack, expected)} published again)")  # fmt: skip
    for part, recoveries in sorted(kills.recoveries_s.items()):
        recovered = f"recovered after {statistics.median(recoveries):.1f} s (median), {max(recoveries):.1f} s (worst)"
        print(f"{part:17} killed {kills.kills[part]:3} x, {recovered}")
    for part, used in kills.memory_bytes.items():
        start, end, most = (round(number / MIB) for number in (used[0], used[-1], max(used)))
        print(f"{part:17} memory {start} MiB at start, {end} MiB at end, {most} MiB at most")
    print(findings)
    return findings


def main() -> int:
    """Run from the command line; 1 where something was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to kill (default: 30)")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between two kills (default: 20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--services-only", action="store_true", help="leave the engines alone")
    options = parser.parse_args()
    print(f"seed {options.seed}: {options.minutes:g} minutes, a kill every {options.every:g} s")
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return 0 if soak(options, Path(folder)).is_clean() else 1


if __name__ == "__main__":
    sys.exit(main())
