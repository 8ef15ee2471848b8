"""Stores what all topics hold in Postgres: the warehouse's only writer of stream data."""

from Consumers.batching import Policy
from Consumers.dead_letters import DeadLetters, read_dead_letter
from Consumers.decoding import Decoder
from Consumers.loop import ConsumerLoop
from Consumers.warehouse import Warehouse
from Setup.kafka_initialization import Publisher, wait_for_consumer
from Setup.lifecycle import Heartbeat, Stop, run_service, service_arguments
from Setup.postgres import Role, wait_for_postgres
from Setup.settings import Settings

GROUP = "postgre_consumer"


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
    publisher = Publisher(settings, GROUP, stop)
    try:
        ConsumerLoop(
            consumer=wait_for_consumer(settings, GROUP, topics, stop),
            topics=topics,
            store=Warehouse(settings),
            decoder=Decoder(settings, read_dead_letter),
            dead_letters=DeadLetters(publisher, settings.topic_dead_letters, GROUP),
            policy=Policy(settings.batch_updates, settings.batch_max_age_s, settings.batch_max_messages),
            interval=settings.interval,
            stop=stop,
            heartbeat=Heartbeat(settings.heartbeat_file),
        ).run()
    finally:
        publisher.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("postgre_consumer", run)
