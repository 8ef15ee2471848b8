"""Readings and ticks: what is accepted, what is refused, and why."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import Interval
from Sensor_core.reading import READING_SCHEMA, TICK_SCHEMA, Reading, Tick, decode

HOURLY = Interval()
GOOD = {
    "building_id": 39,
    "meter": 0,
    "timestamp": "2016-09-02T00:00:00Z",
    "meter_reading": 123.4,
    "known_at": "2016-09-02T01:00:00Z",
}


def decode_json(message: object) -> Reading | Tick:
    return decode(READING_SCHEMA, json.dumps(message).encode(), HOURLY)


def test_a_reading_comes_back_as_it_was_sent():
    reading = decode_json(GOOD)
    assert reading == Reading(39, 0, datetime(2016, 9, 2, tzinfo=UTC), 123.4, datetime(2016, 9, 2, 1, tzinfo=UTC))
    assert decode(READING_SCHEMA, msgspec.json.encode(reading), HOURLY) == reading


def test_unknown_fields_and_a_missing_schema_header_are_tolerated():
    assert decode(None, json.dumps(GOOD | {"firmware": "7.1"}).encode(), HOURLY) == decode_json(GOOD)


def test_a_tick_is_told_from_a_reading_by_its_schema():
    message = {"timestamp": "2016-09-02T00:00:00Z", "known_at": "2016-09-02T01:00:00Z"}
    assert isinstance(decode(TICK_SCHEMA, json.dumps(message).encode(), HOURLY), Tick)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"meter_reading": -1.0}, "meter_reading"),
        ({"meter_reading": 1e12}, "meter_reading"),
        ({"meter_reading": "12"}, "meter_reading"),
        ({"meter_reading": None}, "meter_reading"),
        ({"meter": 4}, "meter"),
        ({"building_id": 2**31}, "building_id"),
        ({"building_id": 1.5}, "building_id"),
        ({"timestamp": "2016-09-02T00:00:00"}, "timestamp"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "9999-01-01T00:00:00Z"}, "out of range"),
        ({"timestamp": "2016-09-02T00:17:00Z"}, "off the 3600 s grid"),
        ({"known_at": "1970-01-01T00:00:00Z"}, "known_at"),
    ],
)
def test_a_wrong_field_is_refused_by_name(change, complaint):
    with pytest.raises(InvalidRecordError, match=complaint):
        decode_json(GOOD | change)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(number):
    payload = json.dumps(GOOD).replace("123.4", number).encode()
    with pytest.raises(InvalidRecordError):
        decode(READING_SCHEMA, payload, HOURLY)


@pytest.mark.parametrize(
    "payload",
    [None, b"", b"\xff\xfe", b"[]", b"null", b"{", b"[" * 10_000, json.dumps(GOOD).encode("utf-16"), b"x" * 70_000],
)
def test_what_is_no_reading_is_refused(payload):
    with pytest.raises(InvalidRecordError):
        decode(READING_SCHEMA, payload, HOURLY)


def test_an_unknown_major_version_is_refused():
    with pytest.raises(InvalidRecordError, match=r"reading\.v2"):
        decode(b"reading.v2", json.dumps(GOOD).encode(), HOURLY)


def test_a_quarter_hour_is_on_the_grid_of_a_quarter_hourly_meter():
    message = GOOD | {"timestamp": "2016-09-02T00:15:00Z"}
    assert decode(READING_SCHEMA, json.dumps(message).encode(), Interval(900))
    with pytest.raises(InvalidRecordError, match="grid"):
        decode_json(message)


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_else(payload):
    with pytest.raises(InvalidRecordError):
        decode(READING_SCHEMA, payload, HOURLY)
