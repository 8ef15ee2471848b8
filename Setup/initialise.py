"""Prepares the backing services: migrations, role passwords, metadata, history, topics, Kafka's users and the cache.

Safe to run again at any time: each part does only what is missing.
"""

import argparse
import logging

from Setup.buildings_info import upload_metadata
from Setup.cache_filling import fill_cache, is_filled
from Setup.data_folder import DataFolder
from Setup.history_loading import load_demonstration, load_history
from Setup.kafka_access import wait_for_access
from Setup.kafka_initialization import wait_for_topics
from Setup.lifecycle import Stop, run_service
from Setup.postgres import Role, migrate, set_passwords, wait_for_postgres
from Setup.redis_client import RedisUser, wait_for_redis
from Setup.settings import Settings

logger = logging.getLogger(__name__)


def prepare(settings: Settings, stop: Stop, *, demonstration: bool) -> None:
    """Prepare everything, in the order in which one part needs another."""
    folder = DataFolder(settings.data_dir, settings.interval)
    connection = wait_for_postgres(settings, Role.ADMIN, stop)
    try:
        migrate(connection)
        if demonstration:
            load_demonstration(connection)
        connection.autocommit = False
        set_passwords(connection, settings)
        upload_metadata(connection, folder)
        load_history(connection, folder)
    finally:
        connection.close()
    for topic in wait_for_topics(settings, stop):
        logger.info("created topic %s", topic, extra={"event": "topic_created", "topic": topic})
    if settings.kafka_authentication == "scram":
        wait_for_access(settings, stop)
    client = wait_for_redis(settings, RedisUser.ADMIN, stop)
    if not is_filled(client):
        fill_cache(settings, client)


def main(arguments: list[str] | None = None) -> int:
    """Run the preparation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demonstration", action="store_true", help="load the shipped history that goes with New_data")
    options = parser.parse_args(arguments)
    return run_service("setup", lambda settings, stop: prepare(settings, stop, demonstration=options.demonstration))
