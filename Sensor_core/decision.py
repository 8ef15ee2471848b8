"""What an operator decides by: peaks, limits and reserves of a site or the grid, and their wire format."""

from typing import Annotated, Final, Literal

import msgspec

from Sensor_core.errors import InvalidRecordError
from Sensor_core.forecast import ModelName
from Sensor_core.interval import Interval
from Sensor_core.reading import UNDECODABLE, MeterCode, UtcTime, check_event_time, check_size
from Sensor_core.weather import SiteId

DECISION_SCHEMA: Final = b"decision.v1"
WINDOWS_H: Final = (24, 48)
"""How far decisions look ahead. [h]"""

Power = Annotated[float, msgspec.Meta(ge=0.0)]
Probability = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Decision(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The next hours of a total in the few numbers that one acts on.

    Attributes:
        site_id: The site, None for the grid.
        meter: Meter code.
        issued_at: Start of the newest interval that was known, UTC.
        made_at: When it was computed, UTC.
        model: Name of the model version.
        window_h: How many hours after ``issued_at`` it is about. [h]
        peak_at: Start of the interval in which the peak is likeliest, UTC.
        peak_probability: How likely it is that the peak lies in that interval.
        peak_q10_kw: 10 % quantile of the peak's height, whichever interval it lies in; likewise the other two.
            Mean power over the interval. [kW]
        peak_q50_kw: Median. [kW]
        peak_q90_kw: 90 % quantile. [kW]
        limit_kw: The site's limit, if it has one. [kW]
        limit_probability: How likely it is that the load passes the limit at least once, or None without a limit.
        reserve_kw: What to hold ready above the median so that with 95 % probability it suffices in every interval
            of the window. [kW]
    """

    site_id: SiteId | None
    meter: MeterCode
    issued_at: UtcTime
    made_at: UtcTime
    model: ModelName
    window_h: Literal[24, 48]
    peak_at: UtcTime
    peak_probability: Probability
    peak_q10_kw: Power
    peak_q50_kw: Power
    peak_q90_kw: Power
    limit_kw: Power | None
    limit_probability: Probability | None
    reserve_kw: Power


_decode = msgspec.json.Decoder(Decision).decode


def decode(payload: bytes | None, interval: Interval) -> Decision:
    """Decode and validate one message of ``DECISION_SCHEMA``.

    Raises:
        InvalidRecordError: The message can never be stored.
    """
    check_size(payload)
    try:
        decision = _decode(payload or b"")
    except UNDECODABLE as error:
        raise InvalidRecordError(str(error)) from None
    check_event_time(decision.issued_at, interval)
    check_event_time(decision.peak_at, interval)
    return decision
