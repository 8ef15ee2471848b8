"""Keeps the history rings in Redis, and tells the predictor which hours are closed."""

from typing import Any

from Consumers.batching import Policy
from Consumers.history import History
from Consumers.service import consume
from Setup.kafka_access import REDIS_GROUP
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Stop, run_service, service_arguments
from Setup.redis_client import RedisUser, wait_for_redis
from Setup.settings import Settings

AT_ONCE_S = 0.02


def run(settings: Settings, stop: Stop) -> None:
    """Consume until told to stop."""

    def make_store(consumer: Any) -> History:
        partitions = len(consumer.partitions_for_topic(settings.topic_redis))
        return History(settings, wait_for_redis(settings, RedisUser.REDIS_CONSUMER, stop), partitions, stop)

    policy = Policy(
        updates=1, max_age_s=AT_ONCE_S, max_messages=settings.batch_max_messages, ticked=[settings.topic_redis]
    )
    consume(
        settings, stop, user=KafkaUser.REDIS_CONSUMER, group=REDIS_GROUP, topics=[settings.topic_redis],
        make_store=make_store, policy=policy,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("redis_consumer", run)
