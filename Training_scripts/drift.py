"""Whether the model in use has become worse than its validation promised."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Predictor.forecasting.model_store import Card
from Setup.settings import Settings
from Training_scripts.scoring import ALL_LEADS
from Training_scripts.validation import MODEL

_END: Final = "SELECT max(day) FROM scores"
_RECENT: Final = """
WITH meters AS (
    SELECT sum(forecasts) AS n, sum(energy_kwh::double precision) AS energy,
           sum(squared_error_kwh2::double precision) AS squared, sum(pinball_kwh::double precision) AS pinball
    FROM score_values
    WHERE day >= %(first)s AND day < %(end)s AND quality IN ('full', 'no_weather')
    GROUP BY building_id, meter
)
SELECT avg(pinball / energy),
       percentile_cont(0.5) WITHIN GROUP (ORDER BY sqrt(squared / n) / (energy / n))
FROM meters WHERE energy > 0
"""
_ITS_OWN: Final = """
SELECT bool_and(model = %(model)s) FROM aggregate_forecasts
WHERE site_id IS NULL AND issued_at >= %(first)s - interval '48 hours' AND issued_at < %(end)s
"""


class Drift(msgspec.Struct, frozen=True):
    """Recent scores that are too bad.

    Attributes:
        until: End of the days that were looked at, UTC.
        reason: What was found, in one line.
    """

    until: datetime
    reason: str


def find_drift(
    settings: Settings, connection: Connection, version: str, card: Card, judged_until: datetime | None
) -> Drift | None:
    """Hold the scores of the last complete days against the card's validation.

    Args:
        settings: DRIFT_WINDOW_H and DRIFT_FACTOR.
        connection: As the trainer.
        version: The model in use; only days that it alone forecast count.
        card: Its card.
        judged_until: Days before this have led to a training already.
    """
    window = timedelta(hours=settings.drift_window_h)
    with connection, connection.cursor() as cursor:
        cursor.execute(_END)
        (end,) = cursor.fetchone() or (None,)
        if end is None or (judged_until is not None and end - window < judged_until):
            return None
        span = {"model": version, "first": end - window, "end": end}
        cursor.execute(_ITS_OWN, span)
        if cursor.fetchone() != (True,):
            return None
        cursor.execute(_RECENT, span)
        recent = dict(zip(("pinball", "cvrmse"), cursor.fetchone() or (), strict=True))
    promised = card.scores.get(MODEL, {}).get(ALL_LEADS, {})
    for metric, value in recent.items():
        limit = promised.get(metric)
        if value is not None and limit is not None and value > settings.drift_factor * limit:
            return Drift(
                end, f"{metric} {value:.4f} of the last {settings.drift_window_h} h, {limit:.4f} when validated"
            )
    return None
