"""A stream of readings from a seed: with duplicates, disorder, late readings, corrections and malformed messages.

What a message is to become is said by a header that only the suite's checker reads: ``expect`` is ``dead`` where a
consumer has to refuse it. In the first ``CALM_HOURS`` all meters report in time, and nothing of them is corrected ever:
forecasts issued then depend on nothing that a fault may move.
"""

import csv
import json
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

FIRST_HOUR: Final = datetime(2016, 9, 2, tzinfo=UTC)
HISTORY_H: Final = 336
HOUR: Final = timedelta(hours=1)
EXPECT, DEAD = "expect", b"dead"
READING, TICK = b"reading.v1", b"tick.v1"
CALM_HOURS, UNKNOWN_BUILDING = 16, 900
SITE_OF: Final = {building: building // 10 for building in (0, 1, 2, 3, 4, 10, 11, 12, 13, 20, 21, 22, 23)}
METERS: Final = [(building, meter) for building in SITE_OF for meter in ((0, 1) if building % 2 else (0,))]


@dataclass(frozen=True)
class Message:
    """What is sent to both consumption topics."""

    value: bytes | None
    key: bytes | None
    schema: bytes = READING
    is_dead: bool = False
    partition: int | None = None


@dataclass(frozen=True)
class Reading:
    """One version of one reading."""

    building_id: int
    meter: int
    timestamp: datetime
    kwh: float
    known_at: datetime

    def message(self) -> Message:
        fields = {
            "building_id": self.building_id,
            "meter": self.meter,
            "timestamp": f"{self.timestamp:%Y-%m-%dT%H:%M:%SZ}",
            "meter_reading": self.kwh,
            "known_at": f"{self.known_at:%Y-%m-%dT%H:%M:%SZ}",
        }
        return Message(json.dumps(fields).encode(), b"%d:%d" % (self.building_id, self.meter))


def kwh_of(building: int, meter: int, hour: int) -> float:
    return round(20 + building + 7 * meter + 9 * math.sin(hour * math.tau / 24) + hour * 131 % 17 / 8, 3)


class Stream:
    """The updates of a seed, one a published hour."""

    def __init__(self, seed: int, hours: int) -> None:
        self.seed, self.hours = seed, hours
        self._random = random.Random(seed)
        self.updates: list[list[Message]] = [[] for _ in range(hours)]
        for hour in range(hours):
            self._add_hour(hour)
        for hour, update in enumerate(self.updates):
            self._random.shuffle(update)
            if hour > 1:  # the first ticks tell the consumers what is too far ahead
                update.insert(self._random.randrange(len(update) + 1), self._malformed(hour))

    def start_of(self, hour: int) -> datetime:
        return FIRST_HOUR + hour * HOUR

    def _add_hour(self, hour: int) -> None:
        meters = METERS + ([(UNKNOWN_BUILDING, 0)] if hour >= 3 else [])
        for building, meter in meters:
            end = self.start_of(hour + 1)
            reading = Reading(building, meter, self.start_of(hour), kwh_of(building, meter, hour), end)
            if hour < CALM_HOURS or building == UNKNOWN_BUILDING:
                self._add_calm(hour, reading)
            else:
                self._add_disturbed(hour, reading)

    def _add_calm(self, hour: int, reading: Reading) -> None:
        self.updates[hour].append(reading.message())
        if self._random.random() < 0.1:
            self.updates[self._random.randrange(hour, self.hours)].append(reading.message())

    def _add_disturbed(self, hour: int, reading: Reading) -> None:
        luck, later = self._random.random(), min(self.hours - 1, hour + self._random.randint(1, 12))
        if luck < 0.06:  # late: not known before that hour's end
            known = Reading(*_place(reading), reading.kwh, self.start_of(later + 1))
            self.updates[later].append(known.message())
            return
        if luck < 0.12:  # comes after its hour's tick, though known before
            self.updates[later].append(reading.message())
            return
        self.updates[hour].append(reading.message())
        if luck < 0.20:
            self.updates[later].append(reading.message())
        elif luck < 0.32:
            for _ in range(self._random.randint(1, 2)):
                self._add_correction(reading, later)

    def _add_correction(self, reading: Reading, later: int) -> None:
        known_at = self._random.choice([reading.known_at, self.start_of(later + 1)])
        kwh = round(reading.kwh * self._random.uniform(0.5, 1.5), 3)
        self.updates[later].append(Reading(*_place(reading), kwh, known_at).message())

    def _malformed(self, hour: int) -> Message:
        building, meter = self._random.choice(METERS)
        good = Reading(building, meter, self.start_of(hour), 5.0, self.start_of(hour + 1)).message()
        value, schema = self._random.choice(_spoiled(good.value or b"", self.start_of(hour + 1000)))
        return Message(value, good.key, schema, is_dead=True, partition=self._random.randrange(3))

    def write_data_folder(self, folder: Path) -> None:
        """Metadata, weather and history; beside them the readings that the sensor can replay."""
        sites = [(site, "UTC", 50.0 + site, 8.0, "DE", "utc") for site in sorted(set(SITE_OF.values()))]
        _write(folder / "sites.csv", "site_id,time_zone,latitude,longitude,country,stamps", sites)
        buildings = [(site, building, "Office", 10_000 + building, 1990, 2) for building, site in SITE_OF.items()]
        header = "site_id,building_id,primary_use,square_feet,year_built,floor_count"
        _write(folder / "building_metadata.csv", header, buildings)
        span = range(-HISTORY_H, self.hours)
        weather = [
            (site, _stamp(hour), 15 + hour % 24 / 3, 4, 9, 0, 1013, 90, 3) for hour in span for site, *_ in sites
        ]
        header = "site_id,timestamp,air_temperature,cloud_coverage,dew_temperature,precip_depth_1_hr"
        _write(folder / "weather.csv", f"{header},sea_level_pressure,wind_direction,wind_speed", weather)
        rows = [(*meter, _stamp(hour), kwh_of(*meter, hour)) for hour in span for meter in METERS]
        header = "building_id,meter,timestamp,meter_reading"
        _write(folder / "history.csv", header, rows[: HISTORY_H * len(METERS)])
        _write(folder / "Sensors" / "new_consumptions.csv", f"{header},known_at", self._replay_rows())

    def replayed_versions(self) -> Iterable[tuple]:
        """What the sensor's file says: building, meter, timestamp, known_at, kWh."""
        for building, meter, timestamp, kwh, known_at in self._replay_rows():
            yield building, meter, datetime.fromisoformat(timestamp), datetime.fromisoformat(known_at), kwh

    def _replay_rows(self) -> Iterable[tuple]:
        good = [json.loads(m.value) for update in self.updates for m in update if not m.is_dead and m.value]
        rows = [
            (r["building_id"], r["meter"], r["timestamp"], r["meter_reading"], r["known_at"])
            for r in good
            if r["building_id"] in SITE_OF
        ]
        return sorted(rows, key=lambda row: row[4])


def tick_value(hour: int) -> bytes:
    timestamp = FIRST_HOUR + hour * HOUR
    return b'{"timestamp":"%b","known_at":"%b"}' % (_iso(timestamp), _iso(timestamp + HOUR))


def _spoiled(value: bytes, far_ahead: datetime) -> list[tuple[bytes | None, bytes]]:
    """The same message in every way that makes it none."""
    fields = json.loads(value)
    return [
        (value[:-3], READING),
        (value.decode().encode("utf-16"), READING),
        (value.replace(b"5.0", b"NaN"), READING),
        (value.replace(b"5.0", b"-5.0"), READING),
        (value.replace(b"5.0", b"1e300"), READING),
        (value.replace(b":00:00Z", b":17:00Z", 1), READING),
        (value.replace(b"Z", b"", 1), READING),
        (json.dumps(fields | {"timestamp": _iso(far_ahead).decode()}).encode(), READING),
        (json.dumps(fields | {"timestamp": "9999-01-01T00:00:00Z"}).encode(), READING),
        (json.dumps(fields | {"building_id": "7"}).encode(), READING),
        (b"[" * 30_000, READING),
        (value + b" " * 70_000, READING),
        (None, READING),
        (value, b"reading.v2"),
    ]


def _place(reading: Reading) -> tuple[int, int, datetime]:
    return reading.building_id, reading.meter, reading.timestamp


def _iso(moment: datetime) -> bytes:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}".encode()


def _stamp(hour: int) -> str:
    return f"{FIRST_HOUR + hour * HOUR:%Y-%m-%d %H:%M:%S}"


def _write(file: Path, header: str, rows: Iterable[tuple]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header.split(","))
        writer.writerows(rows)
