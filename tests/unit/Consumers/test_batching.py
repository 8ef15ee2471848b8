"""The buffer of unwritten messages: when a batch is due, what it takes, and which offsets it covers."""

from datetime import timedelta

import pytest

from Consumers.batching import Buffer, Policy, Span
from Consumers.testing import make_message
from Sensor_core.forecast import MeterForecast
from Sensor_core.interval import Interval
from Sensor_core.reading import Tick
from Sensor_core.testing import FIRST_HOUR, make_reading

LEFT, RIGHT = ("readings", 0), ("readings", 1)
HOURLY = Interval()
FIRST_STEP = HOURLY.step_of(FIRST_HOUR)


class Seconds:
    """A monotonic clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Seconds()


@pytest.fixture
def make_buffer(clock):
    def make(*, updates=2, max_age_s=5.0, max_messages=1000, max_bytes=10**6, partitions=(LEFT, RIGHT)):
        buffer = Buffer(Policy(updates, max_age_s, max_messages, ["readings"], max_bytes), HOURLY, clock)
        for partition in partitions:
            buffer.start(partition, 10)
        return buffer

    return make


def tick(hour):
    timestamp = FIRST_HOUR + timedelta(hours=hour)
    return Tick(timestamp, timestamp + timedelta(hours=1))


def make_forecast():
    course = [1.0] * HOURLY.horizon
    return MeterForecast(
        building_id=1, meter=0, issued_at=FIRST_HOUR, made_at=FIRST_HOUR + timedelta(hours=1),
        model="model", quality="full", q10=course, q50=course, q90=course,
    )  # fmt: skip


def entries(first_offset, *records):
    """Buffer entries at consecutive offsets; None for a message that became a dead letter."""
    return [
        (offset, make_message(record or make_reading(), offset), record)
        for offset, record in enumerate(records, start=first_offset)
    ]


def records_of(batch):
    return [record for _, record in batch.records]


def test_nothing_read_makes_no_batch(make_buffer):
    buffer = make_buffer()
    assert not buffer.is_due()
    assert not buffer.cut(None)


def test_a_batch_is_due_after_so_many_updates_of_every_partition(make_buffer):
    buffer = make_buffer(updates=2)
    buffer.add(LEFT, entries(10, make_reading(), tick(0), tick(1)))
    buffer.add(RIGHT, entries(10, tick(0)))
    assert not buffer.is_due()
    buffer.add(RIGHT, entries(11, tick(1)))
    assert buffer.is_due()


def test_only_partitions_that_get_ticks_are_waited_for(make_buffer):
    """The warehouse's consumer holds nine partitions; three of them carry ticks."""
    consumption = [("readings", number) for number in range(3)]
    others = [("predictions", 0), ("predictions", 1), ("predictions", 2), ("weather", 0), ("anomalies", 0), ("dead", 0)]
    buffer = make_buffer(updates=3, partitions=(*consumption, *others))
    for hour in range(3):
        assert not buffer.is_due()
        for partition in consumption:
            buffer.add(partition, entries(10 + hour, tick(hour)))
    assert buffer.is_due()


def test_a_batch_is_due_when_its_oldest_message_is_old_enough(make_buffer, clock):
    buffer = make_buffer(max_age_s=5)
    buffer.add(LEFT, entries(10, make_reading()))
    clock.now += 4.9
    buffer.add(LEFT, entries(11, make_reading(hour=1)))
    assert not buffer.is_due()
    clock.now += 0.1
    assert buffer.is_due()
    buffer.cut(None)
    assert not buffer.is_due()


def test_what_holds_no_part_of_an_update_is_due_once_nothing_more_comes(make_buffer, clock):
    buffer = make_buffer(max_age_s=5)
    buffer.add(LEFT, entries(10, make_forecast()))
    clock.now += 0.2
    buffer.add(RIGHT, entries(10, "no JSON"))
    clock.now += 0.2
    assert not buffer.is_due()
    clock.now += 0.1
    assert buffer.is_due()
    buffer.add(LEFT, entries(11, make_reading()))
    clock.now += 0.3
    assert not buffer.is_due()


def test_a_full_buffer_is_due_and_has_room_again_once_it_is_cut(make_buffer):
    buffer = make_buffer(max_messages=3)
    buffer.add(LEFT, entries(10, make_reading(), make_reading(hour=1)))
    assert not buffer.is_full()
    buffer.add(RIGHT, entries(10, "no JSON"))
    assert buffer.is_full()
    assert buffer.is_due()
    buffer.cut(None)
    assert not buffer.is_full()


def test_a_full_buffer_pauses_the_partitions_that_have_their_share_of_it(make_buffer):
    buffer = make_buffer(max_messages=4)
    buffer.add(LEFT, entries(10, *(make_reading(hour=hour) for hour in range(3))))
    assert buffer.full() == frozenset()
    buffer.add(RIGHT, entries(10, tick(0)))
    assert buffer.full() == {LEFT}
    buffer.add(RIGHT, entries(11, tick(1)))
    assert buffer.full() == {LEFT, RIGHT}
    buffer.cut(FIRST_STEP)
    assert buffer.full() == frozenset()


def test_a_buffer_is_full_of_few_messages_that_are_large_whatever_becomes_of_them(make_buffer):
    buffer = make_buffer(max_bytes=3000)
    large = make_message(make_reading(), 10)
    large.value, large.key, large.headers = b"x" * 1000, b"k" * 600, [("trace", b"t" * 600)]
    buffer.add(LEFT, [(10, large, None)])
    assert not buffer.is_full()
    buffer.add(RIGHT, [(10, large, make_reading())])
    assert buffer.full() == {LEFT, RIGHT}
    assert buffer.is_due()
    buffer.drop(LEFT)
    assert not buffer.is_full()
    buffer.add(RIGHT, [(11, large, make_reading(hour=5))])
    buffer.cut(FIRST_STEP)
    assert not buffer.is_full()


def test_a_batch_covers_each_partition_from_the_store_s_offset_to_after_its_last_message(make_buffer):
    buffer = make_buffer()
    readings = [make_reading(hour=hour) for hour in range(3)]
    buffer.add(LEFT, entries(10, *readings, tick(0)))
    buffer.note_deletion(RIGHT, 15)
    buffer.add(RIGHT, entries(15, tick(2), tick(1)))
    batch = buffer.cut(None)
    assert batch.spans == {LEFT: Span(10, 14, first_read=10), RIGHT: Span(10, 17, first_read=15)}
    assert records_of(batch) == [*readings, tick(0), tick(2), tick(1)]
    assert batch.clocks == {LEFT: tick(0).timestamp, RIGHT: tick(2).timestamp}
    buffer.add(LEFT, entries(14, make_reading(hour=9)))
    assert buffer.cut(None).spans == {LEFT: Span(14, 15, first_read=14)}


def test_a_batch_ends_before_a_gap_and_the_next_one_tells_of_it(make_buffer):
    buffer = make_buffer()
    buffer.add(LEFT, entries(10, make_reading(), make_reading(hour=1)))
    assert buffer.awaited(LEFT) == 12
    buffer.note_deletion(LEFT, 20)
    buffer.add(LEFT, entries(20, make_reading(hour=2)))
    assert buffer.cut(None).spans == {LEFT: Span(10, 12, first_read=10)}
    batch = buffer.cut(None)
    assert batch.spans == {LEFT: Span(12, 21, first_read=20)}
    assert batch.spans[LEFT].has_gap
    assert buffer.awaited(LEFT) == 21


def test_offsets_that_were_never_messages_are_no_gap(make_buffer):
    buffer = make_buffer()
    buffer.add(LEFT, entries(10, make_reading()))
    buffer.add(LEFT, entries(12, make_reading(hour=1)))
    buffer.add(RIGHT, entries(11, tick(0)))
    spans = buffer.cut(None).spans
    assert spans == {LEFT: Span(10, 13, first_read=10), RIGHT: Span(10, 12, first_read=10)}
    assert not spans[RIGHT].has_gap


def test_a_dead_letter_moves_the_offset_and_brings_its_reason_instead_of_a_record(make_buffer):
    buffer = make_buffer()
    buffer.add(LEFT, entries(10, "no JSON", "negative"))
    batch = buffer.cut(None)
    assert batch
    assert batch.spans == {LEFT: Span(10, 12, first_read=10)}
    assert batch.records == []
    assert [reason for _, reason in batch.refused] == ["no JSON", "negative"]
    assert batch.clocks == {}


def test_a_partition_that_the_store_has_nothing_of_starts_without_an_offset(make_buffer):
    buffer = make_buffer(partitions=())
    buffer.start(LEFT, None)
    buffer.add(LEFT, entries(0, make_reading()))
    assert buffer.cut(None).spans == {LEFT: Span(None, 1, first_read=0)}


def test_a_limit_takes_what_comes_before_the_first_later_step_and_leaves_the_rest_in_order(make_buffer):
    buffer = make_buffer()
    late = make_reading(building_id=3, hour=0)
    left = [make_reading(hour=0), "no JSON", tick(0), make_reading(hour=2), late, tick(2)]
    buffer.add(LEFT, entries(10, *left))
    buffer.add(RIGHT, entries(10, make_reading(building_id=2, hour=3)))
    assert buffer.first_steps() == {LEFT: FIRST_STEP, RIGHT: FIRST_STEP + 3}
    batch = buffer.cut(FIRST_STEP + 1)
    assert batch.spans == {LEFT: Span(10, 13, first_read=10)}
    assert records_of(batch) == [left[0], tick(0)]
    assert buffer.first_steps() == {LEFT: FIRST_STEP + 2, RIGHT: FIRST_STEP + 3}
    assert not buffer.cut(FIRST_STEP + 1)
    rest = buffer.cut(FIRST_STEP + 3)
    assert rest.spans == {LEFT: Span(13, 16, first_read=13), RIGHT: Span(10, 11, first_read=10)}
    assert records_of(rest)[:3] == left[3:]


def test_a_dropped_partition_leaves_nothing_behind(make_buffer):
    buffer = make_buffer(updates=1, max_messages=4)
    buffer.add(LEFT, entries(10, tick(0), tick(1), tick(2)))
    buffer.add(RIGHT, entries(10, make_reading()))
    assert buffer.is_full()
    buffer.drop(LEFT)
    assert buffer.partitions == {RIGHT}
    assert not buffer.is_full()
    assert not buffer.is_due()
    assert buffer.cut(None).spans == {RIGHT: Span(10, 11, first_read=10)}


def test_a_partition_that_is_started_again_forgets_what_it_had(make_buffer):
    buffer = make_buffer()
    buffer.add(LEFT, entries(10, make_reading(), tick(0)))
    buffer.start(LEFT, 30)
    assert not buffer.cut(None)
    buffer.add(LEFT, entries(30, tick(5)))
    assert buffer.cut(None).spans == {LEFT: Span(30, 31, first_read=30)}


def test_dropping_an_unknown_partition_does_nothing(make_buffer):
    buffer = make_buffer()
    buffer.drop(("elsewhere", 7))
    assert buffer.partitions == {LEFT, RIGHT}
