"""What both consumers are made of; they differ in their topics, their store, and when they write."""

import gc
from collections.abc import Callable
from contextlib import closing
from typing import Any

from Consumers.batching import Policy
from Consumers.dead_letter_limit import DeadLetterLimit
from Consumers.dead_letters import DeadLetters, read_dead_letter
from Consumers.decoding import Decoder
from Consumers.loop import ConsumerLoop
from Consumers.store import Store
from Setup.kafka_initialization import wait_for_consumer
from Setup.kafka_login import KafkaUser, explained_refusal
from Setup.lifecycle import Heartbeat, Stop
from Setup.publisher import Publisher
from Setup.settings import Settings

GC_THRESHOLD = 50_000
"""Messages that wait for their batch are many and no garbage: Python's default, 700, walks them again and again."""


def consume(
    settings: Settings,
    stop: Stop,
    *,
    user: KafkaUser,
    group: str,
    topics: list[str],
    make_store: Callable[[Any], Store],
    policy: Policy,
) -> None:
    """Move messages into a store until told to stop.

    Args:
        settings: All settings.
        stop: Ends it.
        user: Who consumes, where Kafka wants to know.
        group: Name of the consumer group, and of this consumer in its dead letters.
        topics: What to read.
        make_store: Makes the store; it is given the Kafka consumer, which knows the topics.
        policy: When to write.

    Raises:
        SettingsError: Kafka refuses the user, or lets it do less than it has to.
    """
    gc.set_threshold(GC_THRESHOLD)
    with closing(Publisher(settings, group, stop, user=user)) as publisher, explained_refusal(user):
        consumer = wait_for_consumer(settings, group, topics, stop, user=user)
        ConsumerLoop(
            consumer=consumer,
            topics=topics,
            store=make_store(consumer),
            decoder=Decoder(settings, read_dead_letter),
            dead_letters=DeadLetters(publisher, settings.topic_dead_letters, group),
            dead_letter_limit=DeadLetterLimit(settings.dead_letter_limit, settings.dead_letter_window),
            policy=policy,
            interval=settings.interval,
            stop=stop,
            heartbeat=Heartbeat(),
        ).run()
