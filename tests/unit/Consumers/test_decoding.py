"""Decoding: one decoder a topic, and readings held against their partition's clock."""

from datetime import timedelta

import msgspec
import pytest

from Consumers.dead_letters import read_dead_letter
from Consumers.decoding import DeadLetter, Decoder, header
from Consumers.testing import StubMessage, make_message
from Sensor_core.errors import InvalidRecordError
from Sensor_core.reading import READING_SCHEMA, Tick
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.settings import Settings


@pytest.fixture
def settings():
    return Settings(_env_file=None, max_ahead_h=48)


@pytest.fixture
def decoder(settings):
    return Decoder(settings, read_dead_letter)


def reading_at(settings, hour, partition=0):
    return make_message(make_reading(hour=hour), topic=settings.topic_postgre, partition=partition)


def tick_at(settings, hour, partition=0):
    timestamp = FIRST_HOUR + timedelta(hours=hour)
    return make_message(Tick(timestamp, timestamp), topic=settings.topic_postgre, partition=partition)


def test_readings_and_ticks_of_both_consumption_topics_are_decoded(settings, decoder):
    for topic in settings.consumption_topics:
        assert decoder.decode(make_message(make_reading(kwh=1.5), topic=topic)) == make_reading(kwh=1.5)
        tick = Tick(FIRST_HOUR, FIRST_HOUR + timedelta(hours=1))
        assert decoder.decode(make_message(tick, topic=topic)) == tick


def test_readings_may_be_so_far_ahead_of_the_newest_tick_and_no_further(settings, decoder):
    decoder.decode(tick_at(settings, 10))
    decoder.decode(tick_at(settings, 4))  # published again: the clock stays
    assert decoder.decode(reading_at(settings, 58)) == make_reading(hour=58)
    with pytest.raises(InvalidRecordError, match="is 49 h ahead of the clock"):
        decoder.decode(reading_at(settings, 59))


def test_each_partition_has_a_clock_of_its_own(settings, decoder):
    decoder.decode(tick_at(settings, 0, partition=1))
    assert decoder.decode(reading_at(settings, 500, partition=2))
    with pytest.raises(InvalidRecordError):
        decoder.decode(reading_at(settings, 500, partition=1))


def test_a_partition_goes_on_at_the_clock_that_its_store_has(settings, decoder):
    partition = (settings.topic_postgre, 0)
    decoder.set_clock(partition, FIRST_HOUR)
    with pytest.raises(InvalidRecordError):
        decoder.decode(reading_at(settings, 49))
    decoder.set_clock(partition, None)
    assert decoder.decode(reading_at(settings, 49))


def test_late_readings_are_never_refused(settings, decoder):
    decoder.decode(tick_at(settings, 5000))
    assert decoder.decode(reading_at(settings, 0)) == make_reading()


@pytest.mark.parametrize(
    ("value", "schema", "complaint"),
    [
        (None, READING_SCHEMA, "no value"),
        (b"", READING_SCHEMA, "no value"),
        (b"{", READING_SCHEMA, "truncated"),
        (b"[]", READING_SCHEMA, "Expected `object`"),
        (msgspec.json.encode(make_reading()), b"reading.v2", "unknown schema 'reading.v2'"),
        (msgspec.json.encode(make_reading()).replace(b"10.0", b"NaN"), READING_SCHEMA, "malformed"),
        (msgspec.json.encode(make_reading()).replace(b"T00:00", b"T00:10", 1), READING_SCHEMA, "off the 3600 s grid"),
    ],
)
def test_what_can_never_be_stored_is_refused_with_its_reason(settings, decoder, value, schema, complaint):
    message = StubMessage(settings.topic_postgre, 0, 0, value, headers=[("schema", schema)])
    with pytest.raises(InvalidRecordError, match=complaint):
        decoder.decode(message)


@pytest.mark.parametrize("topic", ["topic_predictions", "topic_weather", "topic_anomalies"])
def test_a_reading_in_another_topic_is_refused(settings, decoder, topic):
    with pytest.raises(InvalidRecordError):
        decoder.decode(make_message(make_reading(), topic=getattr(settings, topic)))


def test_whatever_the_dead_letter_topic_holds_is_a_dead_letter(settings, decoder):
    headers = [("dead_letter.topic", b"readings"), ("dead_letter.partition", b"2"), ("dead_letter.offset", b"41")]
    headers += [("dead_letter.reason", b"no\0 number"), ("dead_letter.noticed_at", b"2016-09-01T01:00:00+00:00")]
    message = StubMessage(settings.topic_dead_letters, 0, 5, b"\xff", key=b"1:0", headers=headers)
    noticed_at = FIRST_HOUR + timedelta(hours=1)
    assert decoder.decode(message) == DeadLetter("readings", 2, 41, "unknown", "no number", noticed_at, b"1:0", b"\xff")
    bare = decoder.decode(StubMessage(settings.topic_dead_letters, 0, 5, None))
    assert (bare.topic, bare.partition, bare.offset) == (settings.topic_dead_letters, 0, 5)
    assert bare.noticed_at.tzinfo is not None


def test_the_first_of_several_headers_of_one_name_counts():
    assert header([("a", b"1"), ("schema", b"2"), ("schema", b"3")], "schema") == b"2"
    assert header([("a", b"1")], "schema") is None
