"""Trains on a schedule, from the warehouse: the trainer service.

A model that beats repeating the last hour at +1 h and the previous day at +24 h on held-out time is written to
MODEL_DIR, where the predictor takes it over between two hours; any other is dropped, and the log says so.
"""

import logging
from collections.abc import Mapping
from contextlib import closing
from typing import Final

import msgspec
from psycopg2.extras import Json

from Predictor.forecasting.model_store import Card, save
from Sensor_core.errors import ModelError, RetriableError
from Sensor_core.interval import SECONDS_PER_HOUR
from Setup.lifecycle import Backoff, Heartbeat, Stop, run_service, service_arguments
from Setup.postgres import Role, connect, curable_errors, wait_for_postgres
from Setup.settings import Settings
from Training_scripts.sources import history_of_warehouse
from Training_scripts.train import Stages, train, validation_begin
from Training_scripts.validation import MODEL, Scores

logger = logging.getLogger(__name__)

RIVALS: Final[Mapping[str, str]] = {"1": "last hour", "24": "previous day"}
"""By lead time [h]: what a model has to beat to be used."""


def beats_persistence(scores: Scores) -> bool:
    """Whether a model is better than what anybody has for nothing."""
    return all(scores[MODEL][lead].cvrmse < scores[rival][lead].cvrmse for lead, rival in RIVALS.items())


def train_once(settings: Settings, heartbeat: Heartbeat) -> str | None:
    """Train on all that the warehouse has.

    Args:
        settings: All settings.
        heartbeat: Beats as the work advances.

    Returns:
        The version written, or None where it is no gain over persistence.

    Raises:
        RetriableError: Postgres does not answer.
        ModelError: There is too little history yet.
    """
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection:
        history = history_of_warehouse(connection, settings.interval)
    hours = (history.stop - history.first) // settings.interval.steps_per_hour
    if hours < settings.training_min_history_h:
        raise ModelError(f"{hours} h of history are too little to train on: {settings.training_min_history_h} h")
    begin = validation_begin(history, None)
    model, scores = train(history, begin, num_threads=1, seed=0, stages=_beating(heartbeat))
    if not beats_persistence(scores):
        return None
    version = save(settings.model_dir, model.card, model.boosters)
    _register(settings, version, model.card)
    return version


def _beating(heartbeat: Heartbeat) -> Stages:
    """Progress that nobody watches but a health check."""

    def advance(_share: float) -> None:
        heartbeat.beat()

    return lambda _stage: advance


def _register(settings: Settings, version: str, card: Card) -> None:
    row = (
        version, card.created_at, card.trained_from, card.trained_until, card.meters,
        Json(card.scores), Json(msgspec.to_builtins(card)),
    )  # fmt: skip
    with (
        curable_errors(),
        closing(connect(settings, Role.TRAINER)) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO models (model, trained_at, training_from, training_to, meters, scores, card, promoted_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, now()) ON CONFLICT (model) DO NOTHING",
            row,
        )


def run(settings: Settings, stop: Stop) -> None:
    """Train every TRAINING_EVERY_H hours until told to stop."""
    wait_for_postgres(settings, Role.TRAINER, stop).close()
    heartbeat = Heartbeat(settings.heartbeat_file)
    while not stop.is_set():
        if not heartbeat.wait(settings.training_every_h * SECONDS_PER_HOUR, stop):
            _attempt(settings, heartbeat, stop)


def _attempt(settings: Settings, heartbeat: Heartbeat, stop: Stop) -> None:
    backoff = Backoff()
    while not stop.is_set():
        try:
            version = train_once(settings, heartbeat)
        except RetriableError as error:
            logger.warning("train again soon: %s", error, extra={"event": "training_retried"})
            heartbeat.wait(backoff.next_s(), stop)
            continue
        except ModelError as error:
            logger.warning("not trained: %s", error, extra={"event": "training_skipped"})
            return
        logger.info("trained %s", version or "a model that is no gain: not used", extra={"event": "trained"})
        return


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("trainer", run)
