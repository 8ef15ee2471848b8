"""Kafka: the topics, and consumers with the defaults that must not be left alone.

Why each override stands here (measured on kafka-python 3.0.12):
- no deserializer ever: one that raises makes ``poll`` loop for ever;
- ``auto_offset_reset`` only decides where an unpositioned partition idles: every partition is paused on
  assignment and read from the offset that the store has;
- a rebalance whose SyncGroup outlasts one ``poll`` is forgotten: see ``_finish_what_was_begun``;
- a partition that was paused amid what was fetched of it may never be read on: see ``_bring_back_what_was_paused``.
"""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient, KafkaConsumer
from kafka.errors import TopicAlreadyExistsError

from Sensor_core.errors import RetriableError
from Setup.kafka_login import KafkaUser, connection_options, explained_errors, wait_for_kafka
from Setup.lifecycle import Stop
from Setup.settings import Settings

logger = logging.getLogger(__name__)

SCHEMA_HEADER: Final = "schema"
ANSWER_WITHIN_MS: Final = 2000
"""How long questions to the brokers wait, other than a poll. [ms]"""
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True)
class Topic:
    """A topic as the settings want it."""

    name: str
    partitions: int
    retention_h: int


def topics_of(settings: Settings) -> list[Topic]:
    """All topics of the system."""
    many, hours = settings.kafka_partitions, settings.kafka_retention_h
    return [
        Topic(settings.topic_postgre, many, hours),
        Topic(settings.topic_redis, many, hours),
        Topic(settings.topic_predictions, many, hours),
        Topic(settings.topic_weather, 1, hours),
        Topic(settings.topic_anomalies, 1, hours),
        Topic(settings.topic_dead_letters, 1, 4 * hours),
    ]


def _topic_configuration(topic: Topic, settings: Settings) -> dict[str, str]:
    return {
        # Event times of a replayed year would be deleted by retention at once: the broker stamps arrivals.
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": str(topic.retention_h * _HOUR_MS),
        "min.insync.replicas": str(settings.kafka_min_insync_replicas),
    }


def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing; topics that exist are left as they are.

    Returns:
        Names of the topics created now.

    Raises:
        RetriableError: The brokers did not answer, or are too few yet for the replication factor.
        SettingsError: The brokers refuse the administrator.
    """
    wanted = topics_of(settings)
    options = connection_options(settings, "energy-setup", KafkaUser.ADMIN)
    with explained_errors(settings, KafkaUser.ADMIN), closing(KafkaAdminClient(**options)) as admin:
        existing = set(admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in existing]
        if missing:
            specification = {
                topic.name: {
                    "num_partitions": topic.partitions,
                    "replication_factor": settings.kafka_replication_factor,
                    "configs": _topic_configuration(topic, settings),
                }
                for topic in missing
            }
            try:
                admin.create_topics(specification, wait_for_metadata=True)
            except TopicAlreadyExistsError as error:
                raise RetriableError(f"another process is creating the topics: {error}") from error
    return [topic.name for topic in missing]


def wait_for_topics(settings: Settings, stop: Stop | None = None) -> list[str]:
    """Create what is missing, trying until the deadline.

    Raises:
        UnreachableError: Kafka did not answer within START_DEADLINE_S.
    """
    return wait_for_kafka(settings, lambda: create_topics(settings), stop)


def make_consumer(settings: Settings, group: str | None, *, user: KafkaUser = KafkaUser.ADMIN) -> Any:
    """Make a consumer that commits nothing by itself.

    Raises:
        RetriableError: The brokers did not answer.
        SettingsError: The brokers refuse the user.
    """
    options = connection_options(settings, group or "energy-reader", user)
    with explained_errors(settings, user):
        consumer = KafkaConsumer(
            **options,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            allow_auto_create_topics=False,
            max_poll_records=500,  # messages may be large, and the bound on what waits is looked at between polls
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=100,
            session_timeout_ms=15_000,
            max_poll_interval_ms=60_000,
        )
    _finish_what_was_begun(consumer)
    _bring_back_what_was_paused(consumer)
    return consumer


def _finish_what_was_begun(consumer: Any) -> None:
    """Make the client come back to a rebalance that a ``poll`` has begun and not finished.

    When new metadata was the reason to rejoin, the reason is gone as soon as the leader has assigned the partitions; if
    ``poll`` times out between that and the answer to SyncGroup, kafka-python 3.0.12 never looks for the answer: the
    assignment is never told, heartbeats stay off, and polling goes on in vain.
    """
    coordinator = consumer._coordinator  # noqa: SLF001 - there is no public way
    need_rejoin = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: coordinator.rejoining or need_rejoin()


def _bring_back_what_was_paused(consumer: Any) -> None:
    """Make the client deliver the rest of what it had fetched of a partition, once that is resumed.

    kafka-python 3.0.12 puts the rest aside, and takes it back only while it holds nothing of another partition; what
    it has delivered of one to the end counts as held, though. Until then it fetches nothing of the resumed one.
    """
    fetcher = consumer._fetcher  # noqa: SLF001 - there is no public way
    fetched_records = fetcher.fetched_records

    def bring_back(*arguments: Any, **named: Any) -> Any:
        if not fetcher._next_partition_records:  # noqa: SLF001
            fetcher._next_partition_records = None  # noqa: SLF001
        return fetched_records(*arguments, **named)

    fetcher.fetched_records = bring_back


def wait_for_consumer(
    settings: Settings,
    group: str | None,
    topics: Sequence[str],
    stop: Stop | None = None,
    *,
    user: KafkaUser = KafkaUser.ADMIN,
) -> Any:
    """Make a consumer that knows these topics, trying until the deadline.

    A broker may hear of a new topic a moment after the one that made it, and a topic that nobody made would be polled
    in vain for ever.

    Raises:
        UnreachableError: Kafka did not answer, or a topic did not show, within START_DEADLINE_S.
        SettingsError: The brokers refuse the user.
    """

    def attempt() -> Any:
        consumer = make_consumer(settings, group, user=user)
        unknown = [topic for topic in topics if not consumer.partitions_for_topic(topic)]
        if unknown:
            consumer.close()
            raise RetriableError(f"there is no topic {', '.join(unknown)} for this service; energy-setup makes them")
        return consumer

    return wait_for_kafka(settings, attempt, stop)
