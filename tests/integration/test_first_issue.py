"""What a predictor publishes again after a failure is stored as it was issued first, even where one batch has both."""

from datetime import timedelta

import pytest

from Consumers.testing import make_batch
from Consumers.warehouse import Warehouse
from Sensor_core.anomaly import Anomaly
from Sensor_core.decision import Decision
from Sensor_core.forecast import AGGREGATE_QUANTILES, AggregateForecast, MeterForecast
from Sensor_core.testing import FIRST_HOUR

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]
COUNT = 40
HORIZON = 48


def meter_forecast(meter, made_at, value):
    course = [value] * HORIZON
    return MeterForecast(
        building_id=meter, meter=0, issued_at=FIRST_HOUR, made_at=made_at, model="m", quality="full",
        q10=course, q50=course, q90=course,
    )  # fmt: skip


def total(site_id, made_at, value):
    courses = dict.fromkeys(AGGREGATE_QUANTILES, [value] * HORIZON)
    return AggregateForecast(
        site_id=site_id or None, meter=0, issued_at=FIRST_HOUR, made_at=made_at, model="m", meters=3, **courses
    )


def decision(site_id, made_at, value):
    return Decision(
        site_id=site_id or None, meter=0, issued_at=FIRST_HOUR, made_at=made_at, model="m", window_h=24,
        peak_at=FIRST_HOUR + timedelta(hours=5), peak_probability=0.5, peak_q10_kw=value, peak_q50_kw=value,
        peak_q90_kw=value, limit_kw=None, limit_probability=None, reserve_kw=1.0,
    )  # fmt: skip


def anomaly(meter, made_at, value):
    return Anomaly(
        building_id=meter, meter=0, timestamp=FIRST_HOUR, detected_at=made_at, kind="flat_line", meter_reading=value,
        expected=None, score=20.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "column"),
    [
        (meter_forecast, "forecasts.q50[1]"),
        (total, "aggregate_forecasts.q50[1]"),
        (decision, "decisions.peak_q50_kw"),
        (anomaly, "anomalies.meter_reading_kwh"),
    ],
)
def test_of_two_issues_in_one_batch_the_first_is_kept(settings, postgres, make, column):
    issues = [
        make(number, FIRST_HOUR + timedelta(hours=1, seconds=issue), value)
        for issue, value in enumerate((1.0, 2.0))
        for number in range(COUNT)
    ]
    batch = make_batch(issues, partition=(settings.topic_predictions, 0), start=None)
    Warehouse(settings).write(batch, lambda refused: pytest.fail(str(refused)))
    with postgres.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {column.split('.')[0]}")
        assert cursor.fetchall() == [(1.0,)] * COUNT
