"""Every setting of every service: read once, at the door, from the environment, `.env.local` and `.env`.

The first of the three that has a variable decides. `.env` documents each variable in place.
"""

import difflib
import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from Sensor_core.errors import SettingsError
from Sensor_core.interval import SECONDS_PER_HOUR, Interval

ENV_FILES = (".env", ".env.local")
"""Files read from the working directory, later ones first."""
_NEAR: Final = 0.9
"""How alike two names are, of 1, for one to be taken for a slip of the other."""

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """All settings; each field is the lower-case name of one environment variable."""

    model_config = SettingsConfigDict(
        env_file=ENV_FILES,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    # Data
    data_dir: Path = Path("New_data")
    meter_interval_s: PositiveInt = SECONDS_PER_HOUR
    replay_seconds_per_hour: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    live_grace_s: float = Field(default=300.0, ge=0)

    # Kafka
    kafka_bootstrap_servers: str = "localhost:9092"
    kafka_authentication: Literal["none", "scram"] = "none"
    kafka_admin_password: SecretStr = SecretStr("")
    sensor_kafka_password: SecretStr = SecretStr("")
    postgres_consumer_kafka_password: SecretStr = SecretStr("")
    redis_consumer_kafka_password: SecretStr = SecretStr("")
    predictor_kafka_password: SecretStr = SecretStr("")
    kafka_partitions: PositiveInt = 3
    kafka_replication_factor: PositiveInt = 1
    kafka_min_insync_replicas: PositiveInt = 1
    kafka_retention_h: PositiveInt = 168
    kafka_cluster_id: str = "5L6g3nShT-eMCtK--X86sw"
    topic_postgre: str = "energy_consumption_postgre"
    topic_redis: str = "energy_consumption_redis"
    topic_predictions: str = "energy_consumption_predictions"
    topic_weather: str = "weather_measurements"
    topic_anomalies: str = "energy_anomalies"
    topic_dead_letters: str = "energy_dead_letters"

    # Postgres
    postgres_host: str = "localhost"
    postgres_port: Port = 5432
    postgres_db: str = "energy"
    postgres_user: str = "postgres"
    postgres_password: SecretStr = SecretStr("")
    postgres_consumer_password: SecretStr = SecretStr("")
    redis_consumer_postgres_password: SecretStr = SecretStr("")
    predictor_postgres_password: SecretStr = SecretStr("")
    trainer_postgres_password: SecretStr = SecretStr("")
    grafana_postgres_password: SecretStr = SecretStr("")

    # Redis
    redis_host: str = "localhost"
    redis_port: Port = 6379
    redis_password: SecretStr = SecretStr("")
    redis_consumer_redis_password: SecretStr = SecretStr("")
    predictor_redis_password: SecretStr = SecretStr("")

    # TLS to Kafka and Postgres
    tls: bool = False
    tls_ca_file: Path = Path("config/tls/ca/ca.crt")

    # Consumers
    batch_updates: PositiveInt = 3
    batch_max_age_s: PositiveFloat = 2.0
    batch_max_messages: PositiveInt = 50_000
    max_ahead_h: PositiveInt = 48
    dead_letter_limit: float = Field(default=0.2, ge=0, le=1)
    dead_letter_window: PositiveInt = 1000
    history_h: int = Field(default=840, ge=840)
    predictor_lag_h: PositiveInt = 168

    # Predictor and trainer
    weather_source: Literal["replay", "open-meteo", "none"] = "replay"
    open_meteo_url: str = "https://api.open-meteo.com/v1/forecast"
    model_dir: Path = Path("Predictor/model")
    predictor_threads: PositiveInt = 2
    training_every_h: PositiveFloat = 24.0
    training_min_history_h: PositiveInt = 672
    training_max_readings: PositiveInt = 2_500_000
    training_test_h: int = Field(default=336, ge=48)
    training_keep_versions: PositiveInt = 5
    scoring_every_s: PositiveFloat = 60.0
    drift_window_h: int = Field(default=168, ge=48)
    drift_factor: float = Field(default=1.25, gt=1)
    forecast_retention_days: int = Field(default=730, ge=60)

    # All services
    start_deadline_s: PositiveFloat = 60.0
    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "text"

    # Grafana (read by docker-compose.yml only)
    grafana_port: Port = 3000
    grafana_admin_user: str = "admin"
    grafana_admin_password: SecretStr = SecretStr("")

    @field_validator("meter_interval_s")
    @classmethod
    def _divides_the_hour(cls, seconds: int) -> int:
        if SECONDS_PER_HOUR % seconds:
            raise ValueError("has to divide the hour (3600, 1800, 900, ...)")
        return seconds

    @property
    def interval(self) -> Interval:
        """The metering interval."""
        return Interval(self.meter_interval_s)

    @property
    def consumption_topics(self) -> tuple[str, str]:
        """The two topics that every reading goes to."""
        return self.topic_postgre, self.topic_redis

    @property
    def history_steps(self) -> int:
        """How many steps of the past forecasts look at."""
        return self.history_h * self.interval.steps_per_hour

    @property
    def ring_steps(self) -> int:
        """Slots of a meter's ring: the features' past plus what the predictor may lag."""
        return (self.history_h + self.predictor_lag_h) * self.interval.steps_per_hour


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: A variable is unknown or wrong; the text names each one and shows no value.
    """
    problems = [_not_a_setting(variable) for variable in os.environ if _is_a_slip(variable)]
    try:
        settings = Settings(_env_file=[file for file in ENV_FILES if os.access(file, os.R_OK)])
    except ValidationError as error:
        problems += [_describe(problem) for problem in error.errors(include_input=False)]
    if problems:
        raise SettingsError(f"settings: {'; '.join(problems)} (see .env for what each variable means)")
    return settings


def _describe(problem: ErrorDetails) -> str:
    variable = str(problem["loc"][0]).upper()
    if problem["type"] == "extra_forbidden":
        return _not_a_setting(variable)
    return f"{variable}: {problem['msg']}"


def _not_a_setting(variable: str) -> str:
    meant = _nearest(variable)
    return f"{variable} is not a setting" + (f" (did you mean {meant}?)" if meant else "")


def _is_a_slip(variable: str) -> bool:
    """Whether a variable of the environment, which is full of other programs' own, was meant for this one."""
    return variable.lower() not in Settings.model_fields and _nearest(variable) is not None


def _nearest(variable: str) -> str | None:
    """The setting that is called nearly so and begins with the same word, if there is one."""
    word = variable.upper().partition("_")[0]
    names = [name.upper() for name in Settings.model_fields if name.upper().partition("_")[0] == word]
    return next(iter(difflib.get_close_matches(variable.upper(), names, n=1, cutoff=_NEAR)), None)
