"""Prepares the backing services: migrations, role passwords, metadata, history, topics, Kafka's users and the cache.

Safe to run again at any time: each part does only what is missing.
"""

import argparse
import logging
import signal
from contextlib import closing

from Setup.buildings_info import upload_metadata
from Setup.cache_filling import LOCK_S, fill_cache, is_filled, renew_metadata
from Setup.data_folder import DataFolder
from Setup.history_loading import load_demonstration, load_history
from Setup.kafka_access import wait_for_access
from Setup.kafka_initialization import wait_for_topics
from Setup.lifecycle import Stop, run_service, wait_for
from Setup.postgres import Role, address, connect, curable_errors, migrate, set_passwords
from Setup.redis_client import RedisUser, wait_for_redis
from Setup.settings import Settings
from Setup.topic_identity import forget_earlier_topics

logger = logging.getLogger(__name__)


def prepare(settings: Settings, stop: Stop, *, demonstration: bool) -> None:
    """Prepare everything, in the order in which one part needs another.

    Raises:
        UnreachableError: A server did not answer, or did not let this process do its part, in time.
        StoppedError: The process was told to stop meanwhile.
    """
    folder = DataFolder(settings.data_dir, settings.interval)
    if settings.weather_source == "replay":
        folder.weather()  # if nobody can read it, that is told once and here, not by the predictor again and again
    is_loaded = wait_for(
        "Postgres",
        address(settings),
        lambda: _prepare_postgres(settings, folder, demonstration=demonstration),
        deadline_s=settings.start_deadline_s,
        stop=stop,
    )
    created = wait_for_topics(settings, stop)
    for topic in created:
        logger.info("created topic %s", topic, extra={"event": "topic_created", "topic": topic})
    if settings.kafka_authentication == "scram":
        wait_for_access(settings, stop)
    client = wait_for_redis(settings, RedisUser.ADMIN, stop)

    def fill() -> None:
        forget_earlier_topics(settings, client, created, stop)
        if is_loaded or not is_filled(client):
            fill_cache(settings, client)
        else:
            renew_metadata(settings, client)

    # Whoever was killed while filling the cache leaves the lock for LOCK_S.
    deadline_s = settings.start_deadline_s + LOCK_S
    wait_for("Redis", f"{settings.redis_host}:{settings.redis_port}", fill, deadline_s=deadline_s, stop=stop)


def _prepare_postgres(settings: Settings, folder: DataFolder, *, demonstration: bool) -> bool:
    """Bring schema, roles, metadata and history up to date, wherever an earlier attempt has left them.

    Returns:
        Whether history was loaded.

    Raises:
        RetriableError: Postgres does not answer, or another process holds what is to be changed.
    """
    with curable_errors(), closing(connect(settings, Role.ADMIN)) as connection:
        migrate(connection)
        if demonstration:
            load_demonstration(connection)
        connection.autocommit = False
        set_passwords(connection, settings)
        upload_metadata(connection, folder)
        return load_history(connection, folder)


def main(arguments: list[str] | None = None) -> int:
    """Run the preparation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demonstration", action="store_true", help="load the shipped history that goes with New_data")
    options = parser.parse_args(arguments)
    return run_service(
        "setup",
        lambda settings, stop: prepare(settings, stop, demonstration=options.demonstration),
        stopped_waiting=128 + signal.SIGTERM,  # what starts after a success of Setup has to know that this was none
    )
