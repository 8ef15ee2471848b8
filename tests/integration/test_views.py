"""What the views say at metering intervals below an hour: forecasts of 48 hours have more elements there."""

from datetime import timedelta

import pytest

from Sensor_core.testing import FIRST_HOUR
from Setup.postgres import migrate

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

# One meter that counts k kWh in the k-th interval after the origin. The forecasts say half a kWh less.
CONTENT = """
SELECT ensure_partitions(%(origin)s, %(origin)s + interval '2 days');
INSERT INTO sites VALUES (0, 'UTC', 0, 0, 'GB');
INSERT INTO buildings VALUES (1, 0);
INSERT INTO readings SELECT 1, 0, %(origin)s + k * %(step)s, k, %(origin)s FROM generate_series(1, %(steps)s) AS k;
SELECT rebuild_hourly_totals();
INSERT INTO forecasts SELECT 1, 0, %(origin)s, %(origin)s, 'm', 'full', a, a, a
FROM (SELECT array_agg(k - 0.5 ORDER BY k)::real[] AS a FROM generate_series(1, %(steps)s) AS k) AS course;
INSERT INTO aggregate_forecasts SELECT NULL, 0, %(origin)s, %(origin)s, 'm', 1, a, a, a, a, a, a, a, a, a
FROM (SELECT array_agg(k - 0.5 ORDER BY k)::real[] AS a FROM generate_series(1, %(steps)s) AS k) AS course;
INSERT INTO decisions
SELECT NULL, 0, %(origin)s, %(origin)s, 'm', 24, %(origin)s + interval '24 hours', 0.5, 0, 0, 0, NULL, NULL, reserve_kw
FROM (SELECT 0.5 * %(steps)s / 48 AS reserve_kw) AS half_a_kwh_in_each_interval;
"""

# Three meters count k kWh in hour k. Of site 1, the one retires at hour 30, the other says nothing of hour 60.
TOTALS = """
SELECT ensure_partitions(%(origin)s, %(origin)s + interval '4 days');
INSERT INTO sites VALUES (0, 'UTC', 0, 0, 'GB'), (1, 'UTC', 0, 0, 'GB');
INSERT INTO buildings VALUES (1, 0), (2, 1), (3, 1);
INSERT INTO meters VALUES (3, 0, NULL, 'kWh', 1, NULL, %(origin)s + interval '30 hours');
INSERT INTO readings SELECT building_id, 0, %(origin)s + k * interval '1 hour', k, %(origin)s
FROM buildings, generate_series(1, 72) AS k WHERE NOT (building_id = 3 AND k >= 30 OR building_id = 2 AND k = 60);
SELECT rebuild_hourly_totals();
INSERT INTO aggregate_forecasts
SELECT site_id, 0, %(origin)s + k * interval '1 hour', %(origin)s, 'm', 1, a, a, a, a, a, a, a, a, a
FROM (VALUES (0), (1), (NULL)) AS total (site_id), (VALUES (0), (20), (40)) AS issue (k),
     array_fill(0::real, '{48}') AS a;
INSERT INTO decisions
SELECT site_id, 0, issued_at, issued_at, 'm', 24, issued_at, 0.5, 0, 0, 0, nullif(site_id, 0), NULL, 0
FROM aggregate_forecasts;
"""


def rows(cursor, query):
    cursor.execute(query)
    return cursor.fetchall()


@pytest.mark.parametrize("steps_per_hour", [1, 4, 60])
def test_forecasts_and_decisions_meet_their_truth_at_every_metering_interval(postgres, steps_per_hour):
    migrate(postgres)
    steps, step = 48 * steps_per_hour, timedelta(hours=1) / steps_per_hour
    expected = [(1 + (k - 1) // steps_per_hour, FIRST_HOUR + k * step, k - 0.5) for k in range(1, steps + 1)]
    with postgres.cursor() as cursor:
        cursor.execute(CONTENT, {"origin": FIRST_HOUR, "step": step, "steps": steps})
        assert rows(cursor, 'SELECT lead_h, "timestamp", q50_kwh FROM forecast_values ORDER BY 2') == expected
        assert rows(cursor, 'SELECT lead_h, "timestamp", q50_kwh FROM aggregate_forecast_values ORDER BY 2') == expected
        ((met,),) = rows(cursor, "SELECT count(*) FROM forecast_vs_actual WHERE meter_reading_kwh = q50_kwh + 0.5")
        assert met == steps
        outcome = "true_peak_kw, true_peak_at, peak_hour_hit, reserve_sufficed"
        peak_kw = 24 * steps_per_hour * steps_per_hour
        assert rows(cursor, f"SELECT {outcome} FROM decision_outcomes") == [
            (peak_kw, FIRST_HOUR + timedelta(hours=24), True, True)
        ]
        assert rows(cursor, "SELECT peak_hour_hit, reserve_sufficed FROM decision_scores") == [(1, 1)]


def test_decisions_meet_complete_totals_only_whether_one_asks_for_few_or_for_all(postgres):
    migrate(postgres)
    with postgres.cursor() as cursor:
        cursor.execute(TOTALS, {"origin": FIRST_HOUR})
        peaks = rows(
            cursor, "SELECT site_id, issued_at, true_peak_kw, limit_passed FROM decision_outcomes ORDER BY 1, 2"
        )
        assert [(site, (issued_at - FIRST_HOUR) / timedelta(hours=1), *peak) for site, issued_at, *peak in peaks] == [
            (0, 0, 24, None),
            (0, 20, 44, None),
            (0, 40, 64, None),
            (1, 0, 48, True),
            (1, 20, 2 * 29, True),
            (None, 0, 24 * 3, None),
            (None, 20, 44 * 2, None),
        ]
        outcomes = "ORDER BY site_id, issued_at"
        assert rows(cursor, f"SELECT * FROM outcomes_of_decisions('-infinity', 'infinity') {outcomes}") == rows(
            cursor, f"SELECT * FROM decision_outcomes {outcomes}"
        )
        assert rows(cursor, "SELECT site_id, decisions FROM decision_scores") == [(None, 2), (0, 3), (1, 2)]
        assert rows(cursor, "SELECT event, decisions FROM decision_reliability") == [("peak hour", 7)]


def test_the_forecasts_of_totals_show_all_nine_quantiles(postgres):
    migrate(postgres)
    names = ("q02", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q98")
    with postgres.cursor() as cursor:
        cursor.execute("SELECT ensure_partitions(%s, %s)", (FIRST_HOUR, FIRST_HOUR))
        values = ", ".join(f"array_fill({place}::real, '{{48}}')" for place in range(len(names)))
        cursor.execute(f"INSERT INTO aggregate_forecasts SELECT NULL, 0, %s, %s, 'm', 1, {values}", [FIRST_HOUR] * 2)
        shown = rows(
            cursor, f"SELECT DISTINCT {', '.join(f'{name}_kwh' for name in names)} FROM aggregate_forecast_values"
        )
    assert shown == [tuple(range(len(names)))]
