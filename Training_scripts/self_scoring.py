"""Holds stored forecasts against the truth that came: in Postgres, a set at a time, each forecast once."""

from contextlib import closing
from datetime import timedelta

from Setup.lifecycle import Heartbeat, Stop
from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings


def score_forecasts(settings: Settings, heartbeat: Heartbeat, stop: Stop) -> int:
    """Score what came since the last call, a day of event time after the other.

    Late and corrected readings, and late forecasts, are scored anew; see 0007_scores.sql.

    Args:
        settings: All settings.
        heartbeat: Beats as the work advances.
        stop: Ends the work after the transaction that runs.

    Returns:
        How many transactions there was something to score in.

    Raises:
        RetriableError: Postgres does not answer, or was busy; nothing is lost and nothing counted twice.
    """
    step = timedelta(seconds=settings.meter_interval_s)
    grace = timedelta(seconds=settings.live_grace_s)
    rounds = 0
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            heartbeat.beat()
            cursor.execute("SELECT close_scoring()")
            connection.commit()
            cursor.execute("SELECT score_forecasts(%s, %s)", (step, grace))
            (is_more,) = cursor.fetchone() or (False,)
            connection.commit()
            if not is_more:
                break
            rounds += 1
    return rounds
