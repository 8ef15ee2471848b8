"""Live readings: JSON lines from a stream, ticks by the clock."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from queue import Empty, Queue
from typing import BinaryIO, Final

import msgspec

from Energy_consumption_sensor.feed import Feed
from Sensor_core.errors import InvalidRecordError, RetriableError
from Sensor_core.interval import Interval
from Sensor_core.reading import (
    MAX_MESSAGE_BYTES,
    UNDECODABLE,
    BuildingId,
    EnergyKwh,
    MeterCode,
    Reading,
    UtcTime,
    check_event_time,
)
from Sensor_core.sensor_object import Sensor
from Setup.lifecycle import Backoff, Heartbeat, Stop
from Setup.metrics import HEALTH

logger = logging.getLogger(__name__)

MAX_LINES: Final = 1_000
"""Most lines that wait to be published, and most that wait for Kafka's acknowledgement; then the stream waits."""


class _Line(msgspec.Struct):
    building_id: BuildingId
    timestamp: UtcTime
    meter_reading: EnergyKwh
    meter: MeterCode = 0
    known_at: UtcTime | None = None


_decode = msgspec.json.Decoder(_Line).decode


def _now() -> datetime:
    return datetime.now(tz=UTC)


class LiveFeed:
    """Publishes lines as they come, and closes each interval a grace period after its end.

    Nobody can read the lines again: those that Kafka has not acknowledged are kept, and published again.

    Args:
        feed: Takes readings and ticks.
        interval: The metering interval.
        grace: How long after its end an interval is closed.
        longest_gap: Steps of a pause that are closed afterwards; after a longer one nobody remembers its beginning.
        heartbeat: Says that the loop turns.
        stop: Ends it.
        clock: What time it is, UTC.
    """

    def __init__(
        self,
        feed: Feed,
        interval: Interval,
        *,
        grace: timedelta,
        longest_gap: int,
        heartbeat: Heartbeat,
        stop: Stop,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._feed = feed
        self._heartbeat = heartbeat
        self._interval = interval
        self._grace = grace
        self._longest_gap = longest_gap
        self._stop = stop
        self._clock = clock
        self._sensors: dict[tuple[int, int], Sensor] = {}
        self._lines: Queue[bytes | None] = Queue(MAX_LINES)
        self._unacknowledged: list[Callable[[], None]] = []

    def run(self, stream: BinaryIO, newest_tick: int | None) -> None:
        """Publish until the stream ends or the process is told to stop; what was read by then is published, too.

        Args:
            stream: The lines.
            newest_tick: The newest step that was closed before, None: there is none.

        Raises:
            RetriableError: The process was told to stop while Kafka takes nothing; it says how many lines that costs.
        """
        threading.Thread(target=_read, args=(stream, self._lines), daemon=True).start()
        next_step = self._first_step(newest_tick)
        while not self._stop.is_set():
            self._heartbeat.beat()
            next_step = self._tick_until_now(next_step)
            try:
                line = self._lines.get(timeout=0.2)
            except Empty:
                self._flush()
                continue
            if line is None:
                break
            self._take(line)
        for _ in range(self._lines.qsize()):
            self._take(self._lines.get() or b"")
        self._flush()

    def _first_step(self, newest_tick: int | None) -> int:
        current = self._interval.step_of(self._clock() - self._grace)
        if newest_tick is None:
            return current
        if current - newest_tick <= self._longest_gap:
            return newest_tick + 1
        logger.warning(
            "no interval was closed since %s, longer than the history lasts: those until now stay open",
            self._interval.start_of(newest_tick), extra={"event": "gap_skipped"},
        )  # fmt: skip
        return current - 1  # is over: its tick brings the consumers' clock to now

    def _tick_until_now(self, step: int) -> int:
        while not self._stop.is_set() and self._interval.end_of(step) + self._grace <= self._clock():
            self._heartbeat.beat()
            self._flush()
            self._publish(partial(self._feed.tick, self._interval.start_of(step), self._clock()))
            step += 1
        return step

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            reading = self._parse(line)
        except InvalidRecordError as error:
            logger.warning("not a reading: %s", error.reason, extra={"event": "invalid_line"})
            # Kafka takes no message of a megabyte, and the decoder none of more than the limit.
            self._publish(partial(self._feed.publish_raw, line.strip()[: MAX_MESSAGE_BYTES + 1]))
            return
        meter = (reading.building_id, reading.meter)
        sensor = self._sensors.setdefault(meter, Sensor(*meter, self._feed))
        self._publish(partial(sensor.measure, reading.timestamp, reading.meter_reading, reading.known_at))

    def _publish(self, send: Callable[[], None]) -> None:
        self._unacknowledged.append(send)
        try:
            send()
        except RetriableError as error:
            self._publish_again(error)
        if len(self._unacknowledged) >= MAX_LINES:
            self._flush()

    def _flush(self) -> None:
        try:
            self._feed.flush()
        except RetriableError as error:
            self._publish_again(error)
        self._unacknowledged.clear()

    def _publish_again(self, error: RetriableError) -> None:
        """Publish what is not acknowledged until it is; what comes twice is stored once."""
        HEALTH.ready(is_ready=False)
        backoff = Backoff()
        while self._unacknowledged:
            pause_s = backoff.next_s()
            logger.warning("publish again in %.1f s: %s", pause_s, error, extra={"event": "publish_retried"})
            if self._heartbeat.wait(pause_s, self._stop):
                lost = len(self._unacknowledged) + self._lines.qsize()
                raise RetriableError(f"Kafka has not acknowledged the last {lost} lines, send them again: {error}")
            try:
                for send in self._unacknowledged:
                    send()
                self._feed.flush()
            except RetriableError as another:
                error = another
            else:
                self._unacknowledged.clear()
        HEALTH.ready(is_ready=True)

    def _parse(self, line: bytes) -> Reading:
        try:
            given = _decode(line)
        except UNDECODABLE as error:
            raise InvalidRecordError(str(error)) from None
        check_event_time(given.timestamp, self._interval)
        known_at = given.known_at or self._clock()
        return Reading(given.building_id, given.meter, given.timestamp, given.meter_reading, known_at)


def _read(stream: BinaryIO, lines: "Queue[bytes | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
