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
from Setup.kafka_login import KafkaUser, connection_options, explained_errors
from Setup.lifecycle import Stop, wait_for
from Setup.redis_client import STATE_KEY, Client
from Setup.settings import Settings

logger = logging.getLogger(__name__)

_FORGET_OFFSETS: Final = "DELETE FROM consumer_offsets WHERE topic = ANY(%(topics)s) RETURNING topic"
# Their clocks stand still: the slowest of all says how far the warehouse has come.
_FORGET_UNUSED: Final = """
WITH unused AS (DELETE FROM topics WHERE topic <> ALL(%(topics)s))
DELETE FROM consumer_offsets WHERE topic <> ALL(%(topics)s)"""
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
    where, deadline_s = settings.kafka_bootstrap_servers, settings.start_deadline_s
    ids = wait_for("Kafka", where, lambda: topic_ids(settings), deadline_s=deadline_s, stop=stop)
    with (
        redis_client.curable_errors(),
        postgres.curable_errors(),
        closing(postgres.connect(settings, postgres.Role.ADMIN)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        anew, unheard_of = _made_anew(cursor, ids, created)
        cursor.execute(_FORGET_OFFSETS, {"topics": [*anew, *unheard_of]})
        forgotten = {topic for (topic,) in cursor.fetchall()}
        cursor.execute(_FORGET_UNUSED, {"topics": list(ids)})
        if settings.topic_redis in {*anew, *unheard_of} and _forget_offsets(client):
            forgotten.add(settings.topic_redis)
        cursor.execute(_SET_DEAD_LETTERS_APART, {"topics": anew})
        execute_values(cursor, _REMEMBER, list(ids.items()))
    for topic in sorted(forgotten):
        logger.warning(
            "topic %s is another one than before: it is read from its beginning", topic,
            extra={"event": "topic_made_anew", "topic": topic},
        )  # fmt: skip
    return sorted(forgotten)


def _made_anew(cursor: Cursor, ids: dict[str, str], created: Collection[str]) -> tuple[list[str], list[str]]:
    """Topics that are others than before, and those that the settings did not name before."""
    cursor.execute("SELECT topic, topic_id::text FROM topics")
    known: dict[str, str] = dict(cursor.fetchall())
    anew = [topic for topic, topic_id in ids.items() if topic in created or known.get(topic, topic_id) != topic_id]
    return anew, [topic for topic in ids if known and topic not in known and topic not in anew]


def _forget_offsets(client: Client) -> bool:
    """Let the cache stand nowhere in its topic, and keep what it holds; returns whether it stood anywhere."""
    fields = [field for field in client.hkeys(STATE_KEY) if field.startswith((b"offset:", b"clock:"))]
    return bool(fields) and bool(client.hdel(STATE_KEY, *fields))
