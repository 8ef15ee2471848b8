"""Publishes smart-meter readings: a replay of CSV in event time, or live JSON lines.

Without options it replays Sensors/new_consumptions.csv of DATA_DIR at REPLAY_SECONDS_PER_HOUR, from the hour
after the newest one that the topics hold, and exits when the file is done.
"""

import argparse
import logging
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from Energy_consumption_sensor.feed import Feed, newest_tick
from Energy_consumption_sensor.live import LiveFeed
from Energy_consumption_sensor.replay import Plan, Replay, Update
from Sensor_core.errors import DataFolderError, RetriableError
from Sensor_core.interval import Interval
from Sensor_core.sensor_object import Sensor
from Setup.data_folder import DataFolder
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Backoff, Heartbeat, Stop, run_service
from Setup.metrics import HEALTH, PUBLISHED, WATERMARK
from Setup.options import positive, seconds
from Setup.publisher import Publisher
from Setup.settings import Settings

logger = logging.getLogger(__name__)
LOG_EVERY_S = 10.0


class ReplayPublisher:
    """Publishes updates one after the other, each until it is acknowledged."""

    def __init__(self, feed: Feed, settings: Settings, heartbeat: Heartbeat, stop: Stop) -> None:
        self._feed = feed
        self._heartbeat = heartbeat
        self._interval = settings.interval
        self._pause_s = settings.replay_seconds_per_hour / self._interval.steps_per_hour
        self._stop = stop
        self._sensors: dict[tuple[int, int], Sensor] = {}
        self._last: Update | None = None

    def publish(self, update: Update) -> None:
        """Publish one update and its ticks, again from its start where an acknowledgement is missing.

        Its own ticks are waited for with the next update's readings: to do so at once would cost a full-speed replay a
        quarter of its speed. Until then the update is kept, to be published again before the next one.
        """
        updates, backoff = [update], Backoff()
        while not self._stop.is_set():
            try:
                for each in updates:
                    self._send(each)
                    self._feed.tick(self._interval.start_of(each.step), self._interval.end_of(each.step))
            except RetriableError as error:
                updates = [update] if self._last is None else [self._last, update]
                HEALTH.ready(is_ready=False)
                pause_s = backoff.next_s()
                logger.warning("publish again in %.1f s: %s", pause_s, error, extra={"event": "publish_retried"})
                self._heartbeat.wait(pause_s, self._stop)
            else:
                HEALTH.ready(is_ready=True)
                PUBLISHED.inc(len(update.kwh))
                WATERMARK.set(self._interval.start_of(update.step).timestamp())
                self._last = update
                self._heartbeat.wait(self._pause_s, self._stop)
                return

    def finish(self) -> None:
        """Wait until the last update's ticks are acknowledged, too."""
        while self._last is not None and not self._stop.is_set():
            try:
                self._feed.flush()
            except RetriableError as error:
                logger.warning("publish again: %s", error, extra={"event": "publish_retried"})
                self.publish(self._last)
            else:
                self._last = None

    def _send(self, update: Update) -> None:
        times: dict[float, datetime] = {}

        def utc(seconds: float) -> datetime:
            if seconds not in times:
                times[seconds] = datetime.fromtimestamp(seconds, tz=UTC)
            return times[seconds]

        rows = zip(
            update.building_id.tolist(), update.meter.tolist(), update.timestamp_s.tolist(),
            update.kwh.tolist(), update.known_at_s.tolist(), strict=True,
        )  # fmt: skip
        for building_id, meter, timestamp_s, kwh, known_at_s in rows:
            sensor = self._sensors.get((building_id, meter))
            if sensor is None:
                sensor = self._sensors[building_id, meter] = Sensor(building_id, meter, self._feed)
            sensor.measure(utc(timestamp_s), kwh, utc(known_at_s))


@dataclass(frozen=True)
class Part:
    """What part of the file is replayed.

    Attributes:
        hours: Hours of event time, None for all that is left.
        from_start: Begin at the file's first hour, whatever the topics hold.
        end_file: Keeps the end that ``hours`` led to, for a process that is started again.
    """

    hours: int | None = None
    from_start: bool = False
    end_file: Path | None = None


def replay(settings: Settings, stop: Stop, part: Part) -> None:
    """Replay a part of the data folder until its end or a signal."""
    source = Replay(DataFolder(settings.data_dir, settings.interval))
    heartbeat, progress = Heartbeat(), _progress()
    with progress:
        plan = _check(source, heartbeat, progress)
        publisher = Publisher(settings, "sensor_publisher", stop, user=KafkaUser.SENSOR, beat=heartbeat.beat)
        try:
            newest = None if part.from_start else newest_tick(settings, stop)
            start = _start(plan, newest, settings)
            end = _end(plan, start, part, settings.interval)
            _announce(plan, (start, end), settings.interval)
            feed = Feed(publisher, settings.consumption_topics)
            updates = ReplayPublisher(feed, settings, heartbeat, stop)
            _publish_all(source, plan, (start, end), updates, settings, stop, progress)
            updates.finish()
        finally:
            publisher.close()


def _check(source: Replay, heartbeat: Heartbeat, progress: Progress) -> Plan:
    task = progress.add_task("checking the file", total=None)

    def advance(rows: int) -> None:
        progress.update(task, completed=rows)
        heartbeat.beat()

    plan = source.validate(advance)
    progress.remove_task(task)
    return plan


def _start(plan: Plan, newest: int | None, settings: Settings) -> int:
    """The step to begin with: the first that the topics do not hold.

    Raises:
        DataFolderError: They hold later ones than the file does: what it has is not what went into them.
    """
    if newest is None:
        return plan.first
    if newest > plan.last:
        end, reached = map(settings.interval.start_of, (plan.last, newest))
        raise DataFolderError(
            f"{settings.data_dir} has readings until {end}, and the topics already hold {reached}: nothing would be "
            "published. Start with empty volumes (docker-compose down --volumes, or make run ARGS=--fresh), or name "
            "other topics (TOPIC_POSTGRE, TOPIC_REDIS)"
        )
    return max(plan.first, newest + 1)


def _announce(plan: Plan, span: tuple[int, int], interval: Interval) -> None:
    start, end = map(interval.start_of, span)
    if start < end:
        logger.info("replaying %s to %s", start, end, extra={"event": "replay_started", "readings": plan.rows})
    else:
        logger.info("everything until %s is published already", start, extra={"event": "nothing_to_replay"})


def _end(plan: Plan, start: int, part: Part, interval: Interval) -> int:
    """The step after the last one to publish."""
    whole = plan.last + 1
    if part.hours is None:
        return whole
    if part.end_file is not None and part.end_file.exists():
        return min(whole, interval.step_of(datetime.fromisoformat(part.end_file.read_text())))
    end = min(whole, start + part.hours * interval.steps_per_hour)
    if part.end_file is not None:
        unfinished = part.end_file.with_suffix(".unfinished")
        unfinished.write_text(interval.start_of(end).isoformat())
        unfinished.replace(part.end_file)
    return end


def _publish_all(  # noqa: PLR0917 - the parts of one loop
    source: Replay,
    plan: Plan,
    span: tuple[int, int],
    publisher: ReplayPublisher,
    settings: Settings,
    stop: Stop,
    progress: Progress,
) -> None:
    start, end = span
    task = progress.add_task("publishing hours", total=max(0, end - start))
    readings, logged_at = 0, time.monotonic()
    for update in source.updates(plan, start) if start < end else ():
        if update.step >= end or stop.is_set():
            break
        publisher.publish(update)
        readings += len(update.kwh)
        progress.advance(task)
        if time.monotonic() - logged_at >= LOG_EVERY_S or update.step == end - 1:
            logged_at = time.monotonic()
            logger.info(
                "published until %s", settings.interval.start_of(update.step),
                extra={"event": "published", "readings": readings},
            )  # fmt: skip


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    )  # fmt: skip


def live(settings: Settings, stop: Stop) -> None:
    """Publish JSON lines from standard input until it ends.

    Raises:
        RetriableError: The process was told to stop while Kafka takes nothing.
    """
    heartbeat = Heartbeat()
    publisher = Publisher(settings, "sensor_publisher", stop, user=KafkaUser.SENSOR, beat=heartbeat.beat)
    try:
        lines = LiveFeed(
            Feed(publisher, settings.consumption_topics), settings.interval,
            grace=timedelta(seconds=settings.live_grace_s), longest_gap=settings.ring_steps,
            heartbeat=heartbeat, stop=stop,
        )  # fmt: skip
        lines.run(sys.stdin.buffer, newest_tick(settings, stop))
    finally:
        publisher.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: DATA_DIR)")
    parser.add_argument("--hours", type=positive, metavar="N", help="stop after N hours of event time")
    parser.add_argument("--end-file", type=Path, metavar="FILE", help="keep the end of --hours here over restarts")
    parser.add_argument("--pace", type=seconds, metavar="S", help="seconds per hour of event time, 0: at full speed")
    parser.add_argument("--from-start", action="store_true", help="publish the file from its first hour again")
    parser.add_argument("--live", action="store_true", help="read JSON lines from standard input, tick by the clock")
    options = parser.parse_args(arguments)
    changes = {"data_dir": options.data, "replay_seconds_per_hour": options.pace}
    given = {name: value for name, value in changes.items() if value is not None}

    def run(settings: Settings, stop: Stop) -> None:
        chosen = settings.model_copy(update=given)
        if options.live:
            live(chosen, stop)
        else:
            replay(chosen, stop, Part(options.hours, options.from_start, options.end_file))

    return run_service("sensor_publisher", run)
