"""The trainer service: scores forecasts as truth comes, and keeps the model good.

On a schedule, or when the scores have drifted from what validation promised, it fits a challenger to what lies before
the newest weeks and lets it forecast them beside the model in use. Only a challenger that wins is fitted anew to
everything and written to MODEL_DIR as the version in use, where the predictor takes it over between two hours. What
became of each is in the table of models. Once a day it drops forecasts that are older than FORECAST_RETENTION_DAYS.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import closing
from datetime import datetime
from typing import Final

from Predictor.forecasting.model_store import Model, current_version, load, prune, read_card, save, write
from Sensor_core.errors import EnergyError, ModelError, RetriableError
from Sensor_core.interval import SECONDS_PER_HOUR
from Setup.lifecycle import Backoff, Heartbeat, Stop, run_service, service_arguments
from Setup.postgres import Role, connect, curable_errors, wait_for_postgres
from Setup.settings import Settings
from Training_scripts.challenge import Comparison, compare
from Training_scripts.dataset import EnergyHistory
from Training_scripts.drift import find_drift
from Training_scripts.registry import follow, refuse
from Training_scripts.retention import drop_old_forecasts
from Training_scripts.self_scoring import score_forecasts
from Training_scripts.sources import history_of_warehouse
from Training_scripts.train import Stages, train, validation_begin
from Training_scripts.validation import MODEL, Scores

logger = logging.getLogger(__name__)

RIVALS: Final[Mapping[str, str]] = {"1": "last hour", "24": "previous day"}
"""By lead time [h]: what a model has to beat to be used."""
_TEST_SHARE: Final = 0.25
_DROP_EVERY_S: Final = 24 * SECONDS_PER_HOUR


def beats_persistence(scores: Scores) -> bool:
    """Whether a model is better than what anybody has for nothing."""
    return all(scores[MODEL][lead].cvrmse < scores[rival][lead].cvrmse for lead, rival in RIVALS.items())


def train_once(settings: Settings, heartbeat: Heartbeat, why: str = "on schedule") -> str | None:
    """Train on what the warehouse has, and hand the model over if it is a gain.

    Args:
        settings: All settings.
        heartbeat: Beats as the work advances.
        why: What it is trained for.

    Returns:
        The version written, or None where it is no gain over the one in use, or over persistence.

    Raises:
        RetriableError: Postgres does not answer.
        ModelError: There is too little history yet, or too little that the model in use has not seen.
    """
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection:
        history = history_of_warehouse(connection, settings.interval, settings.training_max_readings)
    hours = (history.stop - history.first) // settings.interval.steps_per_hour
    if hours < settings.training_min_history_h:
        raise ModelError(f"{hours} h of history are too little to train on: {settings.training_min_history_h} h")
    champion, stages, comparison = _champion(settings), _beating(heartbeat), None
    if champion is not None:
        first = test_begin(history, champion, settings)
        challenger, scores = _fit(history.until(first), stages)
        comparison = compare(history, challenger, champion, first, stages("comparing"))
        if not (comparison.is_won and beats_persistence(scores)):
            reason = "no gain over persistence" if comparison.is_won else comparison.summary
            _refuse(settings, challenger, f"trained {why}: {reason}", comparison)
            return None
    model, scores = _fit(history, stages)
    if not beats_persistence(scores):
        _refuse(settings, model, f"trained {why}: no gain over persistence", comparison)
        return None
    return _promote(settings, model, f"trained {why}: {comparison.summary if comparison else 'the first'}", comparison)


def test_begin(history: EnergyHistory, champion: Model, settings: Settings) -> int:
    """The step with which the comparison begins: nothing after it may be known to either model.

    Raises:
        ModelError: The model in use has seen too much of the newest weeks.
    """
    interval = history.interval
    wanted = min(
        settings.training_test_h * interval.steps_per_hour, round((history.stop - history.first) * _TEST_SHARE)
    )
    seen = interval.step_of(champion.card.trained_until)
    # A model that claims to know more than the warehouse holds was trained on something else.
    first = history.stop - wanted if seen > history.stop else max(history.stop - wanted, seen)
    if history.stop - first < wanted // 2:
        raise ModelError(
            f"{champion.name} has seen all but the last {(history.stop - first) // interval.steps_per_hour} h: "
            f"a comparison needs {wanted // 2 // interval.steps_per_hour} h"
        )
    return first


def _fit(history: EnergyHistory, stages: Stages) -> tuple[Model, Scores]:
    return train(history, validation_begin(history, None), num_threads=1, seed=0, stages=stages)


def _champion(settings: Settings) -> Model | None:
    try:
        return load(settings.model_dir, settings.interval)
    except ModelError as error:
        logger.info("trained without a rival: %s", error, extra={"event": "no_champion"})
        return None


def _beating(heartbeat: Heartbeat) -> Stages:
    """Progress that nobody watches but a health check."""

    def advance(_share: float) -> None:
        heartbeat.beat()

    return lambda _stage: advance


def _refuse(settings: Settings, model: Model, reason: str, comparison: Comparison | None) -> None:
    version = write(settings.model_dir, model.card, model.boosters)
    prune(settings.model_dir, settings.training_keep_versions)
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection:
        refuse(connection, version, model.card, reason, comparison)
    logger.info("refused %s, %s", version, reason, extra={"event": "challenger_refused"})


def _promote(settings: Settings, model: Model, reason: str, comparison: Comparison | None) -> str:
    version = save(settings.model_dir, model.card, model.boosters)
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection:
        follow(connection, settings.model_dir, reason, comparison)
    prune(settings.model_dir, settings.training_keep_versions)
    logger.info("promoted %s, %s", version, reason, extra={"event": "challenger_promoted"})
    return version


class Watch:
    """Scores what came, drops forecasts of long ago, keeps the table of models, and finds drift."""

    def __init__(self, settings: Settings, heartbeat: Heartbeat, stop: Stop) -> None:
        self._settings = settings
        self._heartbeat = heartbeat
        self._stop = stop
        self._judged_until: datetime | None = None
        self._drop_due = 0.0

    def look(self) -> str | None:
        """Score, and say why a model is to be trained at once, if it is; a failure is tried again at the next look."""
        try:
            score_forecasts(self._settings, self._heartbeat, self._stop)
            self._drop_if_due()  # what is not scored yet would never be
            with curable_errors(), closing(connect(self._settings, Role.TRAINER)) as connection:
                follow(connection, self._settings.model_dir)
                version = current_version(self._settings.model_dir)
                card = read_card(self._settings.model_dir / version)
                drift = find_drift(self._settings, connection, version, card, self._judged_until)
        except RetriableError as error:
            logger.warning("scores again soon: %s", error, extra={"event": "scoring_retried"})
            return None
        except ModelError:  # no model yet: nothing can drift
            return None
        if drift is None:
            return None
        self._judged_until = drift.until
        return f"after drift ({drift.reason})"

    def _drop_if_due(self) -> None:
        if time.monotonic() < self._drop_due:
            return
        try:
            drop_old_forecasts(self._settings, self._heartbeat, self._stop)
        except RetriableError as error:  # a long query: no reason to put off the rest
            logger.warning("old forecasts stay a little longer: %s", error, extra={"event": "retention_retried"})
            return
        self._drop_due = time.monotonic() + _DROP_EVERY_S


def run(settings: Settings, stop: Stop) -> None:
    """Score every SCORING_EVERY_S seconds, train every TRAINING_EVERY_H hours and after drift, until told to stop."""
    wait_for_postgres(settings, Role.TRAINER, stop).close()
    heartbeat = Heartbeat()
    watch = Watch(settings, heartbeat, stop)
    due = time.monotonic() + settings.training_every_h * SECONDS_PER_HOUR
    while not heartbeat.wait(settings.scoring_every_s, stop):
        why = watch.look()
        if why is None and time.monotonic() >= due:
            why = "on schedule"
        if why is not None:
            _attempt(settings, heartbeat, stop, why)
            due = time.monotonic() + settings.training_every_h * SECONDS_PER_HOUR


def _attempt(settings: Settings, heartbeat: Heartbeat, stop: Stop, why: str) -> None:
    backoff = Backoff()
    while not stop.is_set():
        try:
            train_once(settings, heartbeat, why)
        except RetriableError as error:
            logger.warning("train again soon: %s", error, extra={"event": "training_retried"})
            heartbeat.wait(backoff.next_s(), stop)
            continue
        except EnergyError as error:
            logger.warning("not trained: %s", error, extra={"event": "training_skipped"})
        return


def main(arguments: list[str] | None = None) -> int:
    """Run the service."""
    service_arguments(__doc__ or "", arguments)
    return run_service("trainer", run)
