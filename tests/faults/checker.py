"""What the tables and Redis must hold by what lies in the topics, and what they do hold: two answers, compared."""

import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.faults.expected import Expected
from tests.faults.stack import Stack
from tests.faults.stream import SITE_OF
from tests.faults.tables import Before, Found
from tests.faults.topics import read_topics

SLOT = struct.Struct("<ddd")


@dataclass
class Findings:
    """What differs, by table.

    Attributes:
        lost: Keys that the topics call for and the store lacks.
        doubled: Keys that the store has and nothing calls for: stored twice under another key, or out of nothing.
        wrong: Keys that both have, with different values.
    """

    lost: dict[str, list] = field(default_factory=dict)
    doubled: dict[str, list] = field(default_factory=dict)
    wrong: dict[str, list] = field(default_factory=dict)

    def compare(self, name: str, expected: Mapping, found: Mapping) -> None:
        differing = [key for key in expected.keys() & found.keys() if expected[key] != found[key]]
        for kind, keys in (
            (self.lost, expected.keys() - found.keys()),
            (self.doubled, found.keys() - expected.keys()),
            (self.wrong, differing),
        ):
            if keys:
                kind[name] = sorted(keys, key=repr)

    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong)

    def __str__(self) -> str:
        lines = [
            f"{kind} in {table}: {len(keys)}, such as {keys[:3]}"
            for kind in ("lost", "doubled", "wrong")
            for table, keys in getattr(self, kind).items()
        ]
        return "\n".join(lines) or "nothing lost, nothing doubled, nothing wrong"


def check(stack: Stack, before: Before) -> tuple[Findings, Expected, Found]:
    """Hold every table and Redis against the topics."""
    records = read_topics(stack.settings.kafka_bootstrap_servers, stack.topic_partitions())
    expected = Expected(records, stack, before)
    found, findings = Found(stack), Findings()
    for name in ("readings", "revisions", "first_seen", "site_totals", "dead_letters", "forecasts", "aggregates",
                 "decisions", "weather_forecasts", "weather", "anomalies"):  # fmt: skip
        findings.compare(name, getattr(expected, name), getattr(found, name))
    findings.compare("gaps", {}, found.gaps)
    stored = {p: end for p, end in expected.offsets.items() if p[0] != stack.settings.topic_redis}
    findings.compare("offsets", stored, found.offsets)
    then = expected.ticks[len(expected.ticks) // 2]
    findings.compare("known then", expected.known_at(then), found.known_at(then))
    _check_issues(findings, expected, found)
    _check_redis(findings, expected, stack)
    return findings, expected, found


def _check_issues(findings: Findings, expected: Expected, found: Found) -> None:
    """Every meter, site and the grid has one issue for every hour that a tick closed."""
    wanted: set[tuple] = set()
    totals: set[tuple] = set()
    for hour in expected.ticks:
        meters = expected.meters_of(hour)
        wanted |= {(*meter, hour) for meter in meters}
        known = [(SITE_OF[building], meter) for building, meter in meters if building in SITE_OF]
        totals |= {(site, meter, hour) for site, meter in known} | {(None, meter, hour) for _, meter in known}
    findings.compare("meter-hours", dict.fromkeys(wanted), dict.fromkeys(found.forecasts))
    findings.compare("total-hours", dict.fromkeys(totals), dict.fromkeys(found.aggregates))


def _check_redis(findings: Findings, expected: Expected, stack: Stack) -> None:
    state = stack.redis.hgetall("energy:state")
    ends = {p[1]: end for p, end in expected.offsets.items() if p[0] == stack.settings.topic_redis}
    findings.compare("Redis offsets", ends, {number: int(state.get(b"offset:%d" % number, -1)) for number in ends})
    closed = _step_of(expected.ticks[-1])
    findings.compare("closed hour", {"closed": closed}, {"closed": int(state.get(b"closed", -1))})
    findings.compare("rings", expected.rings(), _rings(stack))


def _rings(stack: Stack) -> dict[tuple[int, int, int], tuple]:
    """What each slot of each ring holds, empty ones left out."""
    found = {}
    for key in stack.redis.scan_iter(b"energy:ring:*"):
        building, meter = map(int, key.split(b":")[-2:])
        for place, (step, known_at, kwh) in enumerate(SLOT.iter_unpack(stack.redis.get(key))):
            if step:
                stamps = (datetime.fromtimestamp(seconds, tz=UTC) for seconds in (step * 3600, known_at))
                found[building, meter, place] = (*stamps, kwh)
    return found


def _step_of(timestamp: datetime) -> int:
    return int(timestamp.timestamp()) // 3600


def published_again(stack: Stack, expected: Expected) -> int:
    """Forecast messages beyond the first of their meter and hour: allowed after a crash, and not stored."""
    keys = Counter()
    for record in expected._of(stack.settings.topic_predictions, b"meter_forecast.v1"):
        f = json.loads(record.value)
        keys[f["building_id"], f["meter"], f["issued_at"]] += 1
    return sum(keys.values()) - len(keys)
