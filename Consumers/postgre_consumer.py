"""Stores what all topics hold in Postgres: the warehouse's only writer of stream data."""

from Consumers.batching import Policy
from Consumers.service import consume
from Consumers.warehouse import Warehouse
from Setup.kafka_access import POSTGRES_GROUP
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Stop, run_service, service_arguments
from Setup.postgres import Role, wait_for_postgres
from Setup.settings import Settings


def run(settings: Settings, stop: Stop) -> None:
    """Consume until told to stop."""
    wait_for_postgres(settings, Role.POSTGRES_CONSUMER, stop).close()
    topics = [
        settings.topic_postgre,
        settings.topic_predictions,
        settings.topic_weather,
        settings.topic_anomalies,
        settings.topic_dead_letters,
    ]
    policy = Policy(
        settings.batch_updates, settings.batch_max_age_s, settings.batch_max_messages, [settings.topic_postgre]
    )
    consume(
        settings, stop, user=KafkaUser.POSTGRES_CONSUMER, group=POSTGRES_GROUP, topics=topics,
        make_store=lambda _: Warehouse(settings), policy=policy,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("postgre_consumer", run)
