"""Meter readings and ticks, and their wire format.

A message's ``schema`` header names record type and version (``reading.v1``). Fields that a reader does not
know are ignored, so a minor addition needs no new version; an unknown type or major version is refused.
"""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec

from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import Interval

ELECTRICITY, CHILLED_WATER, STEAM, HOT_WATER = range(4)
METER_NAMES: Final = ("electricity", "chilled water", "steam", "hot water")
"""ASHRAE's meter codes, in their order."""

READING_SCHEMA: Final = b"reading.v1"
TICK_SCHEMA: Final = b"tick.v1"
MAX_MESSAGE_BYTES: Final = 64 * 1024
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)
"""Event times outside of this range are mistakes of a clock or a parser."""

MAX_BUILDING_ID: Final = 2**31 - 1
MAX_KWH: Final = 1e9
"""More in one interval is a mistake of a unit or a parser. [kWh]"""
UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that it cannot decode; the last one for JSON that is nested too deeply."""

BuildingId = Annotated[int, msgspec.Meta(ge=0, le=MAX_BUILDING_ID)]
MeterCode = Annotated[int, msgspec.Meta(ge=0, le=len(METER_NAMES) - 1)]
EnergyKwh = Annotated[float, msgspec.Meta(ge=0.0, le=MAX_KWH)]
UtcTime = Annotated[datetime, msgspec.Meta(tz=True)]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """The energy that one meter counted in one interval.

    Attributes:
        building_id: ASHRAE building id.
        meter: Meter code, an index of ``METER_NAMES``.
        timestamp: Start of the interval, UTC.
        meter_reading: Energy in the interval. [kWh]
        known_at: When this value became known, UTC: the greater (known_at, value) wins.
    """

    building_id: BuildingId
    meter: MeterCode
    timestamp: UtcTime
    meter_reading: EnergyKwh
    known_at: UtcTime

    @property
    def key(self) -> bytes:
        """Partition key: a meter's readings stay in order."""
        return meter_key(self.building_id, self.meter)


class Tick(msgspec.Struct, frozen=True, gc=False):
    """Says that all readings of an update were published before it, in this partition.

    Attributes:
        timestamp: Start of the interval that the update covers, UTC.
        known_at: What the publisher's clock said: forecasts issued now may use what was known then, UTC.
    """

    timestamp: UtcTime
    known_at: UtcTime


_Stamp = Annotated[str, msgspec.Meta(max_length=40)]
_REMEMBERED_STAMPS: Final = 4096


class _WireReading(msgspec.Struct, gc=False):
    """A reading whose stamps are still text: a feed repeats them thousands of times, and text is quick to look up."""

    building_id: BuildingId
    meter: MeterCode
    timestamp: _Stamp
    meter_reading: EnergyKwh
    known_at: _Stamp


_decode_reading = msgspec.json.Decoder(_WireReading).decode
_decode_tick = msgspec.json.Decoder(Tick).decode


def meter_key(building_id: int, meter: int) -> bytes:
    """The message key of one meter."""
    return b"%d:%d" % (building_id, meter)


def decode(schema: bytes | None, payload: bytes | None, interval: Interval) -> Reading | Tick:
    """Decode and validate one message of a consumption topic.

    Args:
        schema: Value of the ``schema`` header; readings without one are taken as version 1.
        payload: The message's value.
        interval: The metering interval whose grid stamps must lie on.

    Raises:
        InvalidRecordError: The message can never be stored.
    """
    check_size(payload)
    try:
        if schema is None or schema == READING_SCHEMA:
            wire = _decode_reading(payload or b"")
            timestamp, known_at = _event_time(wire.timestamp, interval.seconds), _known_at(wire.known_at)
            return Reading(wire.building_id, wire.meter, timestamp, wire.meter_reading, known_at)
        if schema == TICK_SCHEMA:
            tick = _decode_tick(payload or b"")
            check_event_time(tick.timestamp, interval)
            _check_known_at(tick.known_at)
            return tick
    except UNDECODABLE as error:
        raise InvalidRecordError(str(error)) from None
    raise unknown_schema(schema)


def check_size(payload: bytes | None, limit: int = MAX_MESSAGE_BYTES) -> None:
    """Refuse an empty or oversized message before it is parsed."""
    if not payload:
        raise InvalidRecordError("the message has no value")
    if len(payload) > limit:
        raise InvalidRecordError(f"the message has {len(payload)} bytes, more than {limit}")


def unknown_schema(schema: bytes | None) -> InvalidRecordError:
    """The error for a record type or major version that this program does not know."""
    return InvalidRecordError(f"unknown schema {(schema or b'').decode(errors='replace')[:40]!r}")


def check_event_time(timestamp: datetime, interval: Interval) -> None:
    """Refuse an event time that is out of range or off the interval's grid."""
    if not EARLIEST <= timestamp < LATEST:
        raise InvalidRecordError(f"timestamp {timestamp.isoformat()} is out of range")
    if not interval.is_on_grid(timestamp):
        raise InvalidRecordError(f"timestamp {timestamp.isoformat()} is off the {interval.seconds} s grid")


def _check_known_at(known_at: datetime) -> None:
    if not EARLIEST <= known_at < LATEST:
        raise InvalidRecordError(f"known_at {known_at.isoformat()} is out of range")


@lru_cache(_REMEMBERED_STAMPS)
def _event_time(text: str, interval_s: int) -> datetime:
    timestamp = _moment(text, "timestamp")
    check_event_time(timestamp, Interval(interval_s))
    return timestamp


@lru_cache(_REMEMBERED_STAMPS)
def _known_at(text: str) -> datetime:
    known_at = _moment(text, "known_at")
    _check_known_at(known_at)
    return known_at


def _moment(text: str, field: str) -> datetime:
    try:
        return msgspec.convert(text, UtcTime)
    except msgspec.ValidationError as error:
        raise InvalidRecordError(f"{error} - at `$.{field}`") from None
