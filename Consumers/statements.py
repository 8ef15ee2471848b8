"""The SQL files beside this module, and how each record type is copied to its staging table."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from Consumers.dead_letters import to_text
from Consumers.decoding import DeadLetter
from Sensor_core.anomaly import Anomaly
from Sensor_core.decision import Decision
from Sensor_core.forecast import AGGREGATE_QUANTILES, AggregateForecast, MeterForecast
from Sensor_core.reading import Reading
from Sensor_core.weather import QUANTITY_NAMES, WeatherForecast, WeatherObservation

_FOLDER: Final = Path(__file__).parent / "sql"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


@cache
def statement(name: str) -> str:
    """The text of ``sql/<name>.sql``."""
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class Target:
    """Where records of one type go.

    Attributes:
        staging: Staging table that COPY fills.
        rows: Records as COPY reads them, in ``format``.
        store: Name of the statement that moves the staging table on.
        event_time: The time that decides a record's monthly partition, or None where there is none.
        format: COPY's format.
    """

    staging: str
    rows: Callable[[Sequence[Any]], io.BytesIO]
    store: str
    event_time: Callable[[Any], datetime] | None
    format: str = "text"


def _text(value: str) -> str:
    return value.translate(_ESCAPES)


def _field(value: object) -> str:
    return "\\N" if value is None else str(value)


def _array(values: Sequence[float | None]) -> str:
    return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"


def _bytes(value: bytes | None) -> str:
    return "\\N" if value is None else "\\\\x" + value.hex()


_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_BINARY_READING: Final = np.dtype(
    [
        ("fields", ">i2"),
        ("building_id_bytes", ">i4"),
        ("building_id", ">i4"),
        ("meter_bytes", ">i4"),
        ("meter", ">i2"),
        ("timestamp_bytes", ">i4"),
        ("timestamp", ">i8"),
        ("meter_reading_bytes", ">i4"),
        ("meter_reading", ">f8"),
        ("known_at_bytes", ">i4"),
        ("known_at", ">i8"),
    ]
)
_EMPTY_READING: Final = np.array((5, 4, 0, 2, 0, 8, 0, 8, 0, 8, 0), _BINARY_READING)
_BINARY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_BINARY_END: Final = b"\xff\xff"


@lru_cache(4096)  # a batch has few different ones
def _microseconds(moment: datetime) -> int:
    return (moment - _POSTGRES_EPOCH) // timedelta(microseconds=1)


def _readings(readings: Sequence[Reading]) -> io.BytesIO:
    """COPY's binary format: readings are what most batches are made of, and this halves its cost at both ends."""
    rows = np.full(len(readings), _EMPTY_READING)
    rows["building_id"] = [r.building_id for r in readings]
    rows["meter"] = [r.meter for r in readings]
    rows["timestamp"] = [_microseconds(r.timestamp) for r in readings]
    rows["meter_reading"] = [r.meter_reading for r in readings]
    rows["known_at"] = [_microseconds(r.known_at) for r in readings]
    return io.BytesIO(_BINARY_HEAD + rows.tobytes() + _BINARY_END)


def _lines(line: Callable[[Any], str]) -> Callable[[Sequence[Any]], io.BytesIO]:
    """COPY's text format; a StringIO would take four bytes a character, and dead letters may be large."""
    return lambda records: io.BytesIO(b"".join([line(record).encode() for record in records]))


def _forecast(f: MeterForecast) -> str:
    head = f"{f.building_id}\t{f.meter}\t{f.issued_at}\t{f.made_at}\t{_text(f.model)}\t{f.quality}"
    return f"{head}\t{_array(f.q10)}\t{_array(f.q50)}\t{_array(f.q90)}\n"


def _aggregate(f: AggregateForecast) -> str:
    head = f"{_field(f.site_id)}\t{f.meter}\t{f.issued_at}\t{f.made_at}\t{_text(f.model)}\t{f.meters}"
    return "\t".join([head, *(_array(getattr(f, quantile)) for quantile in AGGREGATE_QUANTILES)]) + "\n"


def _decision(d: Decision) -> str:
    head = f"{_field(d.site_id)}\t{d.meter}\t{d.issued_at}\t{d.made_at}\t{_text(d.model)}\t{d.window_h}\t{d.peak_at}"
    numbers = (
        d.peak_probability, d.peak_q10_kw, d.peak_q50_kw, d.peak_q90_kw, d.limit_kw, d.limit_probability, d.reserve_kw,
    )  # fmt: skip
    return "\t".join([head, *map(_field, numbers)]) + "\n"


def _observation(w: WeatherObservation) -> str:
    head = f"{w.site_id}\t{w.timestamp}\t{w.known_at}\t{_text(w.source)}"
    return "\t".join([head, *(_field(getattr(w, quantity)) for quantity in QUANTITY_NAMES)]) + "\n"


def _weather_forecast(w: WeatherForecast) -> str:
    head = f"{w.site_id}\t{w.issued_at}\t{_text(w.source)}"
    return "\t".join([head, *(_array(getattr(w, quantity)) for quantity in QUANTITY_NAMES)]) + "\n"


def _anomaly(a: Anomaly) -> str:
    key = f"{a.building_id}\t{a.meter}\t{a.timestamp}\t{a.kind}\t{a.detected_at}"
    return f"{key}\t{a.meter_reading!r}\t{_field(a.expected)}\t{a.score!r}\n"


def _dead_letter(d: DeadLetter) -> str:
    origin = f"{_text(d.topic)}\t{d.partition}\t{d.offset}\t{_text(d.consumer)}\t{_text(d.reason)}"
    headers = msgspec.json.encode([(name, to_text(value)) for name, value in d.headers]).decode()
    return f"{origin}\t{_bytes(d.key)}\t{_bytes(d.payload)}\t{d.noticed_at}\t{_text(headers)}\t\\N\n"


TARGETS: Final[dict[type, Target]] = {
    Reading: Target("staged_readings", _readings, "store_readings", attrgetter("timestamp"), "binary"),
    MeterForecast: Target("staged_forecasts", _lines(_forecast), "store_forecasts", attrgetter("issued_at")),
    AggregateForecast: Target(
        "staged_aggregate_forecasts", _lines(_aggregate), "store_aggregate_forecasts", attrgetter("issued_at")
    ),
    Decision: Target("staged_decisions", _lines(_decision), "store_decisions", attrgetter("issued_at")),
    WeatherObservation: Target("staged_weather", _lines(_observation), "store_weather", attrgetter("timestamp")),
    WeatherForecast: Target(
        "staged_weather_forecasts", _lines(_weather_forecast), "store_weather_forecasts", attrgetter("issued_at")
    ),
    Anomaly: Target("staged_anomalies", _lines(_anomaly), "store_anomalies", attrgetter("timestamp")),
    DeadLetter: Target("staged_dead_letters", _lines(_dead_letter), "store_dead_letters", None),
}
