"""What the tables hold, by their keys."""

import math
import struct
from array import array
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Self

from tests.faults.stack import Stack

METER_QUANTILES = ("q10", "q50", "q90")
AGGREGATE_QUANTILES = ("q02", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q98")
WEATHER = ("air_temperature_c", "dew_temperature_c", "cloud_coverage_oktas", "precipitation_mm",
           "sea_level_pressure_hpa", "wind_direction_deg", "wind_speed_m_s")  # fmt: skip
DECISION = ("peak_probability", "peak_q10_kw", "peak_q50_kw", "peak_q90_kw", "limit_kw", "limit_probability",
            "reserve_kw")  # fmt: skip
Table = dict[Hashable, Any]


def f32(value: float | None) -> float | None:
    """A number as a column of type real keeps it; PostgreSQL shows it with the fewest digits."""
    return None if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


def courses(fields: Iterable[Iterable[float | None]]) -> bytes:
    """What tells lists of numbers from others, in the precision of type real."""
    numbers = [math.nan if value is None else value for course in fields for value in course]
    return blake2b(array("f", numbers).tobytes(), digest_size=16).digest()


class Found:
    """What the tables hold."""

    def __init__(self, stack: Stack) -> None:
        self._ask = stack.ask
        self.readings = self._table("readings", "building_id, meter, timestamp", "known_at, meter_reading_kwh")
        key = "building_id, meter, timestamp, known_at, meter_reading_kwh"
        self.revisions = dict.fromkeys(stack.ask(f"SELECT {key} FROM reading_revisions"), 1)
        self.first_seen = {
            (building, meter): seen
            for building, meter, seen in stack.ask("SELECT building_id, meter, first_seen FROM meters")
        }
        self.site_totals = self._table("site_totals", "site_id, meter, timestamp", "energy_kwh, meters_reported")
        letters = self._table("dead_letters", 'topic, "partition", "offset"', "consumer, key, payload, reason")
        self.dead_letters = {
            place: (consumer, key and bytes(key), payload and bytes(payload))
            for place, (consumer, key, payload, reason) in letters.items()
            if reason
        }
        self.offsets = {
            (topic, number): offset
            for topic, number, offset in stack.ask('SELECT topic, "partition", next_offset FROM consumer_offsets')
        }
        self.forecasts = self._courses("forecasts", "building_id, meter, issued_at", "quality", METER_QUANTILES)
        self.aggregates = self._courses(
            "aggregate_forecasts", "site_id, meter, issued_at", "meters", AGGREGATE_QUANTILES
        )
        key, values = "site_id, meter, issued_at, window_h", f"made_at, model, peak_at, {', '.join(DECISION)}"
        rows = self._table("decisions", key, values)
        self.decisions = {key: (*row[:3], *map(f32, row[3:])) for key, row in rows.items()}
        rows = self._table("weather_forecasts", "site_id, issued_at, source", ", ".join(WEATHER))
        self.weather_forecasts = {key: courses(row) for key, row in rows.items()}
        self.anomalies = self._table(
            "anomalies", "building_id, meter, timestamp, kind", "detected_at, meter_reading_kwh, expected_kwh, score"
        )
        rows = self._table("weather", "site_id, timestamp", f"known_at, source, {', '.join(WEATHER)}")
        self.weather = {key: (*row[:2], *map(f32, row[2:])) for key, row in rows.items()}
        self.gaps = dict.fromkeys(stack.ask('SELECT topic, "partition", from_offset, to_offset FROM data_gaps'), 1)

    def known_at(self, then: datetime) -> Table:
        """What the database says was known at this moment."""
        query = "SELECT building_id, meter, timestamp, known_at, meter_reading_kwh FROM readings_known_at(%s)"
        return {row[:3]: row[3:] for row in self._ask(query, (then,))}

    def _table(self, table: str, key: str, values: str) -> Table:
        width = len(key.split(","))
        rows = self._ask(f"SELECT {key}, {values} FROM {table}")
        return {row[:width]: row[width:] for row in rows}

    def _courses(self, table: str, key: str, extra: str, quantiles: tuple[str, ...]) -> Table:
        rows = self._table(table, key, f"made_at, model, {extra}, {', '.join(quantiles)}")
        return {k: (*v[:3], courses(v[3:])) for k, v in rows.items()}


@dataclass(frozen=True)
class Before:
    """What Setup loaded: asked before anything is published."""

    readings: Table
    weather: Table

    @classmethod
    def of(cls, stack: Stack) -> Self:
        found = Found(stack)
        return cls(found.readings, found.weather)
