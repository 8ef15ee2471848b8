"""Settings for a test of its own: a migrated database, an emptied Redis, topics that no other test has."""

import itertools

import pytest

from Setup.kafka_initialization import create_topics
from Setup.postgres import migrate, set_passwords
from Setup.settings import Settings

_NUMBERS = itertools.count(1)
_TOPICS = ("postgre", "redis", "predictions", "weather", "anomalies", "dead_letters")
_PASSWORDS = [name for name in Settings.model_fields if name.endswith("password")]


@pytest.fixture
def settings(engines, endpoints, postgres, redis_client, engine_password):
    number = next(_NUMBERS)
    chosen = Settings(
        _env_file=None,
        kafka_bootstrap_servers=endpoints.kafka_bootstrap,
        postgres_host=endpoints.postgres_host,
        postgres_port=endpoints.postgres_port,
        postgres_db=postgres.info.dbname,
        redis_host=endpoints.redis_host,
        redis_port=endpoints.redis_port,
        batch_max_age_s=0.2,
        **{f"topic_{name}": f"test_{number}_{name}" for name in _TOPICS},
        **dict.fromkeys(_PASSWORDS, engine_password),
    )
    migrate(postgres)
    postgres.autocommit = False
    set_passwords(postgres, chosen)
    postgres.autocommit = True
    create_topics(chosen)
    return chosen
