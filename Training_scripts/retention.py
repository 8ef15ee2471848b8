"""Lets the forecasts of long ago go: in Postgres, a month's partition at a time; their scores stay."""

import logging
from contextlib import closing
from datetime import timedelta

from Setup.lifecycle import Heartbeat, Stop
from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings

logger = logging.getLogger(__name__)


def drop_old_forecasts(settings: Settings, heartbeat: Heartbeat, stop: Stop) -> list[str]:
    """Drop what ends FORECAST_RETENTION_DAYS before the newest issue; see 0020_forecast_retention.sql.

    Args:
        settings: All settings.
        heartbeat: Beats as the work advances.
        stop: Ends the work after the partition that is being dropped.

    Returns:
        The partitions dropped.

    Raises:
        RetriableError: Postgres does not answer, or a table was busy for longer than anybody should wait behind this.
    """
    retention = timedelta(days=settings.forecast_retention_days)
    dropped: list[str] = []
    with curable_errors(), closing(connect(settings, Role.TRAINER)) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            heartbeat.beat()
            cursor.execute("SELECT drop_old_forecasts(%s)", (retention,))
            (partition,) = cursor.fetchone() or (None,)
            connection.commit()
            if partition is None:
                break
            logger.info("dropped %s", partition, extra={"event": "forecasts_dropped", "partition": partition})
            dropped.append(partition)
    return dropped
