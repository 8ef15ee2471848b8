"""Publishes a stream hour by hour, at a pace, in a thread of its own; sends again what was not acknowledged."""

import threading
import time
from collections.abc import Callable
from datetime import datetime

from kafka.errors import KafkaError

from Sensor_core.errors import RetriableError
from Setup.publisher import Publisher
from Setup.settings import Settings
from tests.faults.stream import DEAD, EXPECT, TICK, Stream, tick_value


class PublishingThread:
    """Starts to publish at once.

    Args:
        stream: What to publish.
        settings: Where.
        pace_s: Pause after each hour. [s]
        may_go_on: Whether this hour of the stream may be published already; asked again and again.

    Attributes:
        newest_hour: The newest hour whose ticks are acknowledged; None before the first.
    """

    def __init__(
        self, stream: Stream, settings: Settings, pace_s: float, may_go_on: Callable[[int], bool] = lambda _hour: True
    ) -> None:
        self.newest_hour: datetime | None = None
        self._stream, self._settings, self._pace_s = stream, settings, pace_s
        self._may_go_on = may_go_on
        self._partitions = range(settings.kafka_partitions)
        self._given_up = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> None:
        """Wait until all is published."""
        self._thread.join(timeout=240)
        assert not self._thread.is_alive(), "the stream was not published in time"
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        self._given_up.set()
        self._thread.join()

    def _run(self) -> None:
        publisher = Publisher(self._settings, "faults")
        try:
            for hour in range(self._stream.hours):
                while not self._may_go_on(hour) and not self._given_up.wait(0.1):
                    pass
                self._publish(publisher, hour)
                if self._given_up.wait(self._pace_s):
                    return
        except BaseException as error:  # noqa: BLE001 - raised by finish()
            self._error = error
        finally:
            publisher.close()

    def _publish(self, publisher: Publisher, hour: int) -> None:
        while not self._given_up.is_set():
            try:
                self._send(publisher, hour)
                publisher.flush()
            except (RetriableError, KafkaError):
                time.sleep(0.5)
            else:
                self.newest_hour = self._stream.start_of(hour)
                return

    def _send(self, publisher: Publisher, hour: int) -> None:
        for message in self._stream.updates[hour]:
            headers = [(EXPECT, DEAD)] if message.is_dead else []
            for topic in self._settings.consumption_topics:
                publisher.send(
                    topic, message.value, key=message.key, schema=message.schema, partition=message.partition,
                    headers=headers,
                )  # fmt: skip
        publisher.flush()
        for topic in self._settings.consumption_topics:
            for partition in self._partitions:
                publisher.send(topic, tick_value(hour), key=None, schema=TICK, partition=partition)
