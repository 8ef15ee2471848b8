"""Keeps the history rings in Redis, and tells the predictor which hours are closed."""

from Consumers.batching import Policy
from Consumers.dead_letters import DeadLetters
from Consumers.decoding import Decoder
from Consumers.history import History
from Consumers.loop import ConsumerLoop
from Setup.kafka_initialization import Publisher, wait_for_consumer
from Setup.lifecycle import Heartbeat, Stop, run_service, service_arguments
from Setup.redis_client import wait_for_redis
from Setup.settings import Settings

GROUP = "redis_consumer"
AT_ONCE_S = 0.02


def run(settings: Settings, stop: Stop) -> None:
    """Consume until told to stop."""
    publisher = Publisher(settings, GROUP, stop)
    try:
        topics = [settings.topic_redis]
        consumer = wait_for_consumer(settings, GROUP, topics, stop)
        partitions = len(consumer.partitions_for_topic(settings.topic_redis))
        ConsumerLoop(
            consumer=consumer,
            topics=topics,
            store=History(settings, wait_for_redis(settings, stop), partitions),
            decoder=Decoder(settings),
            dead_letters=DeadLetters(publisher, settings.topic_dead_letters, GROUP),
            policy=Policy(updates=1, max_age_s=AT_ONCE_S, max_messages=settings.batch_max_messages),
            interval=settings.interval,
            stop=stop,
            heartbeat=Heartbeat(settings.heartbeat_file),
        ).run()
    finally:
        publisher.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("redis_consumer", run)
