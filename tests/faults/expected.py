"""What the tables and Redis must hold, by what lies in the topics.

Nothing here is the consumers' code: messages are read with ``json``, and what is no reading is known by the header that
the stream's generator set.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tests.faults.stack import Stack
from tests.faults.stream import DEAD, EXPECT, SITE_OF, TICK
from tests.faults.tables import (
    AGGREGATE_QUANTILES,
    DECISION,
    METER_QUANTILES,
    WEATHER,
    Before,
    Table,
    courses,
    f32,
)
from tests.faults.topics import Record


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class Expected:
    """The tables that the topics call for, on top of the history that Setup loaded."""

    def __init__(self, records: list[Record], stack: Stack, before: Before) -> None:
        self._stack = stack
        self._records = records
        settings = stack.settings
        self._before = before.readings
        versions = self._versions(settings.topic_postgre)
        self._all_versions = versions
        self.readings: Table = {key: max(own) for key, own in versions.items()}
        self.revisions = {(*key, *v): 1 for key, own in versions.items() for v in own - {max(own)}}
        self.first_seen = _first_seen(self.readings)
        self.site_totals = _site_totals(self.readings)
        self.dead_letters = self._dead_letters()
        self.offsets = self._offsets()
        self.forecasts = self._first("predictions", b"meter_forecast.v1", _meter_forecast)
        self.aggregates = self._first("predictions", b"aggregate_forecast.v1", _aggregate_forecast)
        self.decisions = self._first("predictions", b"decision.v1", _decision)
        self.weather_forecasts = self._first("weather", b"weather_forecast.v1", _weather_forecast)
        self.anomalies = self._first("anomalies", b"anomaly.v1", _anomaly)
        self.weather = self._weather(before.weather)
        self.ticks = sorted({moment(json.loads(r.value)["timestamp"]) for r in self._of(settings.topic_postgre, TICK)})

    def _of(self, topic: str, schema: bytes | None = None) -> Iterable[Record]:
        return (r for r in self._records if r.topic == topic and schema in {None, r.headers.get("schema")})

    def _versions(self, topic: str) -> dict[tuple, set[tuple]]:
        versions: dict[tuple, set[tuple]] = defaultdict(set)
        for record in self._of(topic, b"reading.v1"):
            if record.headers.get(EXPECT) != DEAD:
                r = json.loads(record.value)
                place = (r["building_id"], r["meter"], moment(r["timestamp"]))
                versions[place].add((moment(r["known_at"]), float(r["meter_reading"])))
        for place, version in self._before.items():
            versions[place].add(version)
        return versions

    def rings(self) -> Table:
        """Every slot of every ring: the newest version of the newest reading that belongs there."""
        newest: dict[tuple, tuple] = {}
        for (building, meter, timestamp), own in self._versions(self._stack.settings.topic_redis).items():
            slot = (building, meter, int(timestamp.timestamp()) // 3600 % self._stack.settings.ring_steps)
            newest[slot] = max(newest.get(slot, ()), (timestamp, *max(own)))
        return newest

    def known_at(self, then: datetime) -> Table:
        """What had become known by this moment of each reading."""
        known = {key: [v for v in own if v[0] <= then] for key, own in self._all_versions.items()}
        return {key: max(own) for key, own in known.items() if own}

    def meters_of(self, hour: datetime) -> set[tuple[int, int]]:
        """Meters that had shown themselves when this hour closed."""
        return {meter for meter, seen in self.first_seen.items() if seen <= hour}

    def _dead_letters(self) -> Table:
        settings = self._stack.settings
        consumers = {settings.topic_postgre: "postgre_consumer", settings.topic_redis: "redis_consumer"}
        return {
            (record.topic, record.partition, record.offset): (consumer, record.key, record.value)
            for topic, consumer in consumers.items()
            for record in self._of(topic)
            if record.headers.get(EXPECT) == DEAD
        }

    def _offsets(self) -> Table:
        ends: Table = {}
        for record in self._records:
            ends[record.topic, record.partition] = record.offset + 1
        return ends

    def _first(self, topic: str, schema: bytes, row: Any) -> Table:
        first: Table = {}
        for record in self._of(getattr(self._stack.settings, f"topic_{topic}"), schema):
            key, value = row(json.loads(record.value))
            first.setdefault(key, value)
        return first

    def _weather(self, before: Table) -> Table:
        newest = dict(before)
        for record in self._of(self._stack.settings.topic_weather, b"weather_observation.v1"):
            w = json.loads(record.value)
            key, rank = (w["site_id"], moment(w["timestamp"])), (moment(w["known_at"]), w["source"])
            if key not in newest or rank > newest[key][:2]:
                newest[key] = (*rank, *(f32(w[name]) for name in WEATHER))
        return newest


def _first_seen(readings: Table) -> Table:
    seen: Table = {}
    for building, meter, timestamp in readings:
        seen[building, meter] = min(timestamp, seen.get((building, meter), timestamp))
    return seen


def _site_totals(readings: Table) -> Table:
    totals: Table = {}
    for (building, meter, timestamp), (_, kwh) in readings.items():
        if building in SITE_OF:
            key = (SITE_OF[building], meter, timestamp)
            energy, meters = totals.get(key, (Decimal(0), 0))
            totals[key] = (energy + Decimal(repr(kwh)), meters + 1)
    return totals


def _courses_of(fields: Mapping, names: Iterable[str]) -> bytes:
    return courses(fields[name] for name in names)


def _meter_forecast(f: Mapping) -> tuple:
    key = (f["building_id"], f["meter"], moment(f["issued_at"]))
    return key, (moment(f["made_at"]), f["model"], f["quality"], _courses_of(f, METER_QUANTILES))


def _aggregate_forecast(f: Mapping) -> tuple:
    key = (f["site_id"], f["meter"], moment(f["issued_at"]))
    return key, (moment(f["made_at"]), f["model"], f["meters"], _courses_of(f, AGGREGATE_QUANTILES))


def _decision(d: Mapping) -> tuple:
    key = (d["site_id"], d["meter"], moment(d["issued_at"]), d["window_h"])
    return key, (moment(d["made_at"]), d["model"], moment(d["peak_at"]), *(f32(d[name]) for name in DECISION))


def _weather_forecast(f: Mapping) -> tuple:
    return (f["site_id"], moment(f["issued_at"]), f["source"]), _courses_of(f, WEATHER)


def _anomaly(a: Mapping) -> tuple:
    key = (a["building_id"], a["meter"], moment(a["timestamp"]), a["kind"])
    return key, (moment(a["detected_at"]), a["meter_reading"], a["expected"], a["score"])
