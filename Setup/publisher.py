"""Publishing to Kafka: an idempotent producer that bounds what is in flight and gives no message up in silence.

The producer of kafka-python has no memory bound of its own. ``enable_idempotence`` is said explicitly: some other
settings switch it off with a warning only.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError

from Sensor_core.errors import RetriableError
from Setup.kafka_initialization import SCHEMA_HEADER
from Setup.kafka_login import KafkaUser, connection_options, curable_errors, explained_errors, wait_for_kafka
from Setup.lifecycle import Stop
from Setup.settings import Settings

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 10_000
ONE_IN_FLIGHT_BYTES: Final = 4096
"""A message of more bytes counts as several: dead letters may be large."""
STOP_GRACE_S: Final = 2.0
"""How long a process that is to stop waits for acknowledgements. [s]"""
_METADATA_WITHIN_MS: Final = 2000
"""How long the first message of a topic waits for what the brokers know of it. [ms]"""


class Publisher:
    """An idempotent producer with a bound on what is in flight, and no message given up in silence.

    Args:
        settings: All settings.
        client_id: What the brokers know this client by.
        stop: Ends every wait.
        user: Who publishes, where Kafka wants to know.
        beat: Called every few seconds of a wait for acknowledgements.
    """

    def __init__(
        self, settings: Settings, client_id: str, stop: Stop | None = None, *,
        user: KafkaUser = KafkaUser.ADMIN, beat: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._room = threading.Semaphore(MAX_IN_FLIGHT)
        self._stop = stop or Stop()
        self._beat = beat
        self._failure: BaseException | None = None
        self._make = partial(_make_producer, settings, client_id, user)
        self._settings = settings
        self._producer = wait_for_kafka(settings, self._make, self._stop)

    def send(
        self, topic: str, value: bytes | None, *, key: bytes | None, schema: bytes,
        partition: int | None = None, headers: Sequence[tuple[str, bytes]] = (),
    ) -> None:  # fmt: skip
        """Hand over one message; blocks while too many are unacknowledged.

        Raises:
            RetriableError: An earlier message was not acknowledged in time, or the process is to stop meanwhile.
        """
        self._raise_failure()
        size = len(key or b"") + len(value or b"") + sum(len(text) for _, text in headers)
        count = 1 + size // ONE_IN_FLIGHT_BYTES
        self._take_room(count)
        try:
            future = self._producer.send(
                topic, value, key=key, partition=partition, headers=[(SCHEMA_HEADER, schema), *headers]
            )
        except KafkaError as error:
            self._room.release(count)
            raise RetriableError(f"Kafka: {type(error).__name__}: {error}") from error
        future.add_both(partial(self._settled, count))

    def _take_room(self, count: int) -> None:
        for taken in range(count):
            while not self._room.acquire(timeout=STOP_GRACE_S):
                if self._stop.is_set():
                    if taken:
                        self._room.release(taken)
                    raise RetriableError("Kafka: too much is not acknowledged, and the process is to stop")
                self._beat()

    def _settled(self, count: int, outcome: object) -> None:
        if isinstance(outcome, BaseException):
            self._failure = outcome
        self._room.release(count)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise RetriableError(f"Kafka: {type(failure).__name__}: {failure}")

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything sent so far is acknowledged; for a moment only once the process is to stop.

        Raises:
            RetriableError: Something was not; send it again.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._producer.flush(timeout=min(STOP_GRACE_S, timeout_s))
                break
            except KafkaTimeoutError as error:
                if time.monotonic() < deadline and not self._stop.is_set():
                    self._beat()
                    continue
                if not self._stop.is_set():
                    self._renew()
                raise RetriableError(f"Kafka: {type(error).__name__}: {error}") from error
            except KafkaError as error:
                raise RetriableError(f"Kafka: {type(error).__name__}: {error}") from error
        self._raise_failure()

    def _renew(self) -> None:
        """Go on with another client, if Kafka answers it: one may stay mute after what expired in flight."""
        with suppress(RetriableError):
            old, self._producer = self._producer, self._make()
            logger.warning("publishing with a new client: the old one got no answer", extra={"event": "client_renewed"})
            _close(old)

    def partitions_of(self, topic: str) -> list[int]:
        """Partition numbers of a topic, in order.

        Raises:
            UnreachableError: Kafka did not tell within START_DEADLINE_S.
            StoppedError: The process was told to stop.
        """

        def attempt() -> list[int]:
            with curable_errors():
                return sorted(self._producer.partitions_for(topic) or ())

        return wait_for_kafka(self._settings, attempt, self._stop)

    def close(self) -> None:
        """Give outstanding messages a last short time and let go."""
        _close(self._producer)


def _close(producer: Any) -> None:
    try:
        producer.close(timeout=STOP_GRACE_S)
    except KafkaTimeoutError as error:
        logger.warning("unacknowledged messages are given up: %s", error, extra={"event": "messages_given_up"})
        producer._sender.force_close()  # noqa: SLF001 - close() raises before it comes to this
        producer.close(timeout=STOP_GRACE_S)


def _make_producer(settings: Settings, client_id: str, user: KafkaUser) -> Any:
    options = connection_options(settings, client_id, user)
    with explained_errors(settings, user):
        return KafkaProducer(
            **options,
            enable_idempotence=True,
            acks="all",
            compression_type="lz4",
            linger_ms=5,
            batch_size=64 * 1024,
            delivery_timeout_ms=120_000,
            allow_auto_create_topics=False,
            max_block_ms=_METADATA_WITHIN_MS,
        )
