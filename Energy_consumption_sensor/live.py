"""Live readings: JSON lines from a stream, ticks by the clock."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import BinaryIO

import msgspec

from Energy_consumption_sensor.feed import Feed
from Sensor_core.errors import InvalidRecordError
from Sensor_core.interval import Interval
from Sensor_core.reading import UNDECODABLE, BuildingId, EnergyKwh, MeterCode, Reading, UtcTime, check_event_time
from Sensor_core.sensor_object import Sensor
from Setup.lifecycle import Heartbeat, Stop

logger = logging.getLogger(__name__)


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
    """Publishes lines as they come, and closes each interval a grace period after its end."""

    def __init__(
        self,
        feed: Feed,
        interval: Interval,
        grace: timedelta,
        heartbeat: Heartbeat,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._feed = feed
        self._heartbeat = heartbeat
        self._interval = interval
        self._grace = grace
        self._clock = clock
        self._sensors: dict[tuple[int, int], Sensor] = {}

    def run(self, stream: BinaryIO, newest_tick: int | None, stop: Stop) -> None:
        """Publish until the stream ends or the process is told to stop."""
        lines: SimpleQueue[bytes | None] = SimpleQueue()
        threading.Thread(target=_read, args=(stream, lines), daemon=True).start()
        current = self._interval.step_of(self._clock() - self._grace)
        next_step = current if newest_tick is None else newest_tick + 1
        while not stop.is_set():
            self._heartbeat.beat()
            next_step = self._tick_until_now(next_step)
            try:
                line = lines.get(timeout=0.2)
            except Empty:
                self._feed.flush()
                continue
            if line is None:
                break
            self._take(line)
        self._feed.flush()

    def _tick_until_now(self, step: int) -> int:
        while self._interval.end_of(step) + self._grace <= self._clock():
            self._feed.tick(self._interval.start_of(step), self._clock())
            step += 1
        return step

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            reading = self._parse(line)
        except InvalidRecordError as error:
            logger.warning("not a reading: %s", error.reason, extra={"event": "invalid_line"})
            self._feed.publish_raw(line.strip())
            return
        meter = (reading.building_id, reading.meter)
        sensor = self._sensors.setdefault(meter, Sensor(*meter, self._feed))
        sensor.measure(reading.timestamp, reading.meter_reading, reading.known_at)

    def _parse(self, line: bytes) -> Reading:
        try:
            given = _decode(line)
        except UNDECODABLE as error:
            raise InvalidRecordError(str(error)) from None
        check_event_time(given.timestamp, self._interval)
        known_at = given.known_at or self._clock()
        return Reading(given.building_id, given.meter, given.timestamp, given.meter_reading, known_at)


def _read(stream: BinaryIO, lines: "SimpleQueue[bytes | None]") -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)
