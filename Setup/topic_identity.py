"""Topics that were made anew under the same name: what the stores know of offsets in them means nothing any more.

That is so when Kafka's disk was lost, and when Postgres is restored beside a new Kafka. Read on from there, what lies
before the stored offset would never be stored.
"""

import logging
from collections.abc import Collection
from contextlib import closing
from typing import Final

from kafka import KafkaAdminClient
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Sensor_core.errors import RetriableError
from Setup import postgres, redis_client
from Setup.kafka_initialization import topics_of
from Setup.kafka_login import KafkaUser, connection_options, explained_errors, wait_for_kafka
from Setup.lifecycle import Stop
from Setup.redis_client import STATE_KEY, Client
from Setup.settings import Settings

logger = logging.getLogger(__name__)

# Of topics that are no longer named as well: the slowest clock of all says how far the warehouse has come.
_FORGET_OFFSETS: Final = "DELETE FROM consumer_offsets WHERE topic <> ALL(%(same)s) RETURNING topic"
_FORGET_TOPICS: Final = "DELETE FROM topics WHERE topic <> ALL(%(named)s)"
# Their origins become free for the new topic's, and each keeps one of its own, to be shown and replayed by.
_SET_DEAD_LETTERS_APART: Final = """
UPDATE dead_letters AS d
SET "partition" = least(0, (SELECT min("partition") FROM dead_letters WHERE topic = d.topic)) - 1 - "partition"
WHERE topic = ANY(%(topics)s) AND "partition" >= 0"""
_REMEMBER: Final = """
INSERT INTO topics (topic, topic_id) VALUES %s ON CONFLICT (topic) DO UPDATE SET topic_id = excluded.topic_id"""


def topic_ids(settings: Settings) -> dict[str, str]:
    """The id that Kafka gave to each of the system's topics when it was made.

    Raises:
        RetriableError: The brokers did not answer, or have not heard of a topic yet.
        SettingsError: The brokers refuse the administrator.
    """
    names = [topic.name for topic in topics_of(settings)]
    options = connection_options(settings, "energy-setup", KafkaUser.ADMIN)
    with explained_errors(settings, KafkaUser.ADMIN), closing(KafkaAdminClient(**options)) as admin:
        ids = {topic["name"]: topic["topic_id"] for topic in admin.describe_topics(names)}
    if unknown := [topic for topic, topic_id in ids.items() if topic_id is None]:
        raise RetriableError(f"there is no topic {', '.join(unknown)} yet")
    return ids


def forget_earlier_topics(
    settings: Settings, client: Client, created: Collection[str], stop: Stop | None = None
) -> list[str]:
    """Have topics read from their beginning that are not those which the stored offsets are of.

    Consumers may run meanwhile; what they store again changes nothing. Topics that the settings no longer name are
    forgotten, too.

    Args:
        settings: All settings.
        client: Redis, which may be empty.
        created: Topics that were made just now.
        stop: Ends the wait for Kafka.

    Returns:
        The topics that offsets were forgotten of.

    Raises:
        UnreachableError: Kafka did not answer within START_DEADLINE_S.
        RetriableError: Postgres or Redis does not answer.
    """
    ids = wait_for_kafka(settings, lambda: topic_ids(settings), stop)
    with (
        redis_client.curable_errors(),
        postgres.curable_errors(),
        closing(postgres.connect(settings, postgres.Role.ADMIN)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        same, anew = _compared(cursor, ids, created)
        cursor.execute(_FORGET_OFFSETS, {"same": same})
        forgotten = {topic for (topic,) in cursor.fetchall()} & ids.keys()
        if settings.topic_redis not in same and _forget_offsets(client):
            forgotten.add(settings.topic_redis)
        cursor.execute(_SET_DEAD_LETTERS_APART, {"topics": anew})
        cursor.execute(_FORGET_TOPICS, {"named": list(ids)})
        execute_values(cursor, _REMEMBER, list(ids.items()))
    for topic in sorted(forgotten):
        logger.warning(
            "topic %s is another one than before: it is read from its beginning", topic,
            extra={"event": "topic_made_anew", "topic": topic},
        )  # fmt: skip
    return sorted(forgotten)


def _compared(cursor: Cursor, ids: dict[str, str], created: Collection[str]) -> tuple[list[str], list[str]]:
    """Topics that are those of before, and others of the same name; one that was not named before is neither."""
    cursor.execute("SELECT topic, topic_id::text FROM topics")
    before: dict[str, str] = dict(cursor.fetchall()) or ids
    anew = [topic for topic, topic_id in ids.items() if topic in created or before.get(topic, topic_id) != topic_id]
    return [topic for topic in ids if topic in before and topic not in anew], anew


def _forget_offsets(client: Client) -> bool:
    """Let the cache stand nowhere in its topic, and keep what it holds; returns whether it stood anywhere."""
    fields = [field for field in client.hkeys(STATE_KEY) if field.startswith((b"offset:", b"clock:"))]
    return bool(fields) and bool(client.hdel(STATE_KEY, *fields))
