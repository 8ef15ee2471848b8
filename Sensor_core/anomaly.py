"""Anomalies found in readings, and their wire format."""

from typing import Final, Literal

import msgspec

from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import Interval
from Sensor_core.reading import (
    UNDECODABLE,
    BuildingId,
    MeterCode,
    UtcTime,
    check_event_time,
    check_size,
    unknown_schema,
)

ANOMALY_SCHEMA: Final = b"anomaly.v1"

Kind = Literal["outside_interval", "flat_line"]


class Anomaly(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A reading that its meter's forecast or past does not explain.

    Attributes:
        building_id: ASHRAE building id.
        meter: Meter code.
        timestamp: Start of the interval, UTC.
        detected_at: When it was found, UTC.
        kind: ``outside_interval`` (far from the forecast) or ``flat_line`` (unchanged for too long).
        meter_reading: What was counted. [kWh]
        expected: What had been forecast one step before, or None. [kWh]
        score: Distance from the forecast in widths of its 80 % interval, or hours without a change.
    """

    building_id: BuildingId
    meter: MeterCode
    timestamp: UtcTime
    detected_at: UtcTime
    kind: Kind
    meter_reading: float
    expected: float | None
    score: float


_decode = msgspec.json.Decoder(Anomaly).decode


def decode(schema: bytes | None, payload: bytes | None, interval: Interval) -> Anomaly:
    """Decode and validate one message of the anomalies topic.

    Raises:
        InvalidRecordError: The message can never be stored.
    """
    check_size(payload)
    if schema != ANOMALY_SCHEMA:
        raise unknown_schema(schema)
    try:
        anomaly = _decode(payload or b"")
    except UNDECODABLE as error:
        raise InvalidRecordError(str(error)) from None
    check_event_time(anomaly.timestamp, interval)
    return anomaly
