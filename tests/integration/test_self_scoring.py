"""Scores on a real Postgres: whatever the order of arrival, they are what the final tables say, each forecast once."""

import random
from collections import defaultdict
from contextlib import closing
from datetime import timedelta
from itertools import chain

import psycopg2
import pytest
from psycopg2.extras import execute_values

from Consumers.statements import statement
from Sensor_core.errors import RetriableError
from Sensor_core.testing import FIRST_HOUR
from Setup.lifecycle import Heartbeat, Stop
from Setup.postgres import Role, connect
from Training_scripts.self_scoring import score_forecasts

pytestmark = pytest.mark.integration

METERS = [(1, 0), (2, 0), (3, 0), (3, 1), (9, 0)]
"""Building 9 is unknown: it is scored as a meter, and stands in no total."""
HOURS = 80
HOUR = timedelta(hours=1)
GRACE = timedelta(seconds=300)
NAMES = ("forecasts", "covered", "energy_kwh", "absolute_error_kwh", "squared_error_kwh2", "pinball_kwh",
         "last_reading_error_kwh", "previous_day_error_kwh")  # fmt: skip
SITES = """
INSERT INTO sites VALUES (0, 'UTC', 0, 0, 'GB'), (1, 'UTC', 0, 0, 'GB');
INSERT INTO buildings VALUES (1, 0), (2, 0), (3, 1);
SELECT ensure_partitions('2016-08-30', '2016-09-06');
"""
SILENT_METERS = """
INSERT INTO buildings VALUES (4, 0), (5, 1);
INSERT INTO meters (building_id, meter, first_seen)
VALUES (4, 0, '-infinity'), (5, 0, '-infinity'), (5, 1, '-infinity');
"""


class World:
    """Readings with corrections and gaps, forecasts of some hours, in the order of a well-behaved stream."""

    def __init__(self):
        self.random = random.Random(3)
        self.batches = [self.hour(hour) for hour in range(HOURS)]

    def hour(self, hour):
        at = FIRST_HOUR + hour * HOUR
        readings = [(*m, at, self.kwh(m, hour), at + HOUR) for m in METERS if self.random.random() > 0.05]
        for meter in METERS:
            if hour > 5 and self.random.random() < 0.05:
                old = at - self.random.randrange(1, 5) * HOUR
                readings.append((*meter, old, self.kwh(meter, hour) + 5, at + HOUR))
        return readings, self.forecasts(at, hour), self.totals(at, hour)

    def kwh(self, meter, hour):
        return round(10 * meter[0] + hour % 24 + self.random.random() * 5, 3)

    def forecasts(self, at, hour):
        if hour % 11 == 4:
            return []
        qualities = [self.random.choice(["full", "profile"]) for _ in METERS]
        return [
            (*meter, at, at, "m", quality, *self.quantiles(meter[0], hour, 3))
            for meter, quality in zip(METERS, qualities, strict=True)
        ]

    def totals(self, at, hour):
        totals = [(None, 0, 3), (0, 0, 2), (1, 0, 1), (1, 1, 1), (None, 1, 1)]
        return [(site, meter, at, at, "m", n, *self.quantiles(2 * n, hour, 9)) for site, meter, n in totals]

    def quantiles(self, level, hour, number):
        middle = [10 * level + (hour + k) % 24 + 2 for k in range(1, 49)]
        return [[round(value + 2 * (place - number // 2), 1) for value in middle] for place in range(number)]


@pytest.fixture
def warehouse(settings, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(SITES)
    with closing(connect(settings, Role.POSTGRES_CONSUMER)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement("create_staging"))
        yield connection


def store(connection, readings=(), forecasts=(), totals=(), clock=None):
    """What the warehouse does with a batch, as its role and by its statements; the caller commits."""
    with connection.cursor() as cursor:
        if clock is not None:
            row = ("readings", 0, 1, clock)
            cursor.execute(
                'INSERT INTO consumer_offsets (topic, "partition", next_offset, clock) VALUES (%s, %s, %s, %s)'
                ' ON CONFLICT (topic, "partition") DO UPDATE SET clock = excluded.clock', row)  # fmt: skip
        for table, rows in (("readings", readings), ("forecasts", forecasts), ("aggregate_forecasts", totals)):
            if rows:
                execute_values(cursor, f"INSERT INTO staged_{table} VALUES %s", rows)
                cursor.execute(statement(f"store_{table}"))
                if table == "readings":
                    cursor.execute(statement("replace_readings"))
        if readings:
            rows = [(b, m, t) for b, m, t, _, _ in readings]
            seen = {(b, m): min(t for bb, mm, t in rows if (bb, mm) == (b, m)) for b, m, _ in rows}
            execute_values(cursor, statement("store_meters"), [(*m, t) for m, t in seen.items()], page_size=99)


def score(settings):
    return score_forecasts(settings, Heartbeat(), Stop())


def rows(postgres, query):
    with postgres.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def stored_scores(postgres, table, keys):
    query = f"SELECT {keys}, {', '.join(NAMES)} FROM {table}"
    count = keys.count(",") + 1
    return {row[:count]: row[count:] for row in rows(postgres, query)}


def meter_scores(postgres):
    return stored_scores(postgres, "scores", "building_id, meter, day, quality")


def known(versions, key, at, when):
    for back in range(7 * 24):
        values = [(k, v) for k, v in versions.get((*key, at - back * HOUR), []) if k <= when]
        if values:
            return max(values)[1]
    return None


def losses(truth, quantiles, levels):
    errors = [(level, truth - value) for level, value in zip(levels, quantiles, strict=True)]
    return sum(max(level * error, (level - 1) * error) for level, error in errors) / len(levels)


def add(sums, k, *, truth, interval, median, pinball, newest, before):
    own = abs(truth - median)
    naive = [own if value is None else abs(truth - value) for value in (newest, before)]
    values = (1, interval[0] <= truth <= interval[1], truth, own, own**2, pinball, *naive)
    for place, value in enumerate(values):
        sums[place][k - 1] += value


def new_sums():
    return [[0.0] * 48 for _ in NAMES]


def expected_meter_scores(postgres, until):
    """Pair by pair, from the tables as they ended."""
    versions = defaultdict(list)
    for b, m, at, kwh, known_at in rows(
        postgres, 'SELECT building_id, meter, "timestamp", meter_reading_kwh, known_at FROM reading_versions'
    ):
        versions[b, m, at].append((known_at, kwh))
    sums = defaultdict(new_sums)
    for b, m, issued, quality, *quantiles in rows(
        postgres, "SELECT building_id, meter, issued_at, quality, q10, q50, q90 FROM forecasts"
    ):
        for k in range(1, 49):
            at, when = issued + k * HOUR, issued + HOUR + GRACE
            if at > until or (b, m, at) not in versions:
                continue
            truth, (low, middle, high) = max(versions[b, m, at])[1], [q[k - 1] for q in quantiles]
            same_hour = at - timedelta(days=1 if k <= 24 else 2)
            day = at.replace(hour=0)
            add(
                sums[b, m, day, quality], k, truth=truth, interval=(low, high), median=middle,
                pinball=losses(truth, (low, middle, high), (0.1, 0.5, 0.9)),
                newest=known(versions, (b, m), issued, when), before=known(versions, (b, m), same_hour, when),
            )  # fmt: skip
    return dict(sums)


def expected_total_scores(postgres, until):
    truths = {}
    for table, site in (("hourly_site_totals", "site_id"), ("hourly_grid_totals", "NULL::integer")):
        query = f'SELECT {site}, meter, "timestamp", energy_kwh, meters_reported FROM {table}'
        for s, m, at, kwh, meters in rows(postgres, f"{query} WHERE meters_reported = meters_expected"):
            truths[s, m, at] = (kwh, meters)
    sums = defaultdict(new_sums)
    levels = (0.02, 0.05, 0.10, 0.25, 0.50, 0.75, 0.90, 0.95, 0.98)
    columns = ", ".join(f"q{round(level * 100):02d}" for level in levels)
    for s, m, issued, meters, *quantiles in rows(
        postgres, f"SELECT site_id, meter, issued_at, meters, {columns} FROM aggregate_forecasts"
    ):
        for k in range(1, 49):
            at = issued + k * HOUR
            truth, reported = truths.get((s, m, at), (None, None))
            if at > until or reported != meters:
                continue
            values = [q[k - 1] for q in quantiles]
            same_hour = at - timedelta(days=1 if k <= 24 else 2)
            newest, before = (truths.get((s, m, when), (None,))[0] for when in (issued, same_hour))
            add(
                sums[s, m, at.replace(hour=0)], k, truth=truth, interval=(values[2], values[6]), median=values[4],
                pinball=losses(truth, values, levels), newest=newest, before=before,
            )  # fmt: skip
    return dict(sums)


def assert_scores_are_right(postgres, until):
    compare(meter_scores(postgres), expected_meter_scores(postgres, until))
    compare(stored_scores(postgres, "aggregate_scores", "site_id, meter, day"), expected_total_scores(postgres, until))


def compare(found, expected):
    assert found.keys() == expected.keys()
    for key, sums in expected.items():
        for name, values, wanted in zip(NAMES, found[key], sums, strict=True):
            assert values == pytest.approx(wanted, rel=2e-5, abs=1e-3), (key, name)


def last_hour():
    return FIRST_HOUR + (HOURS - 1) * HOUR


def test_an_orderly_stream_is_scored_hour_by_hour(settings, warehouse, postgres):
    for hour, (readings, forecasts, totals) in enumerate(World().batches):
        with warehouse:
            store(warehouse, readings, (), (), FIRST_HOUR + hour * HOUR)
        with warehouse:
            store(warehouse, (), forecasts, totals)
        if hour % 3 == 0:
            score(settings)
    score(settings)
    assert rows(postgres, "SELECT scored_until FROM scoring_state") == [(last_hour(),)]
    assert rows(postgres, "SELECT count(*) FROM rescoring") == [(0,)]
    assert len(meter_scores(postgres)) > 3 * len(METERS)
    assert_scores_are_right(postgres, last_hour())


@pytest.mark.parametrize("seed", [1, 2])
def test_late_shuffled_and_repeated_arrivals_end_in_the_same_scores(settings, warehouse, postgres, seed):
    """Readings of any hour in any order, clocks that run ahead of them, forecasts after their truth."""
    shuffle = random.Random(seed)
    world = World().batches
    readings = [reading for batch in world for reading in batch[0]]
    forecasts = [forecast for batch in world for forecast in batch[1]]
    shuffle.shuffle(readings)
    shuffle.shuffle(forecasts)
    with warehouse:
        store(warehouse, (), (), [total for batch in world for total in batch[2]])
    parts = 16
    for part in range(parts):
        with warehouse:
            chosen = readings[part::parts] + shuffle.sample(readings, 5)
            store(warehouse, chosen, (), (), FIRST_HOUR + HOURS * (part + 1) // parts * HOUR - HOUR)
        with warehouse:
            store(warehouse, (), forecasts[part::parts])
        score(settings)
    assert_scores_are_right(postgres, last_hour())


def test_scoring_again_changes_nothing(settings, warehouse, postgres):
    for hour, (readings, forecasts, totals) in enumerate(World().batches[:30]):
        with warehouse:
            store(warehouse, readings, forecasts, totals, FIRST_HOUR + hour * HOUR)
    assert score(settings) > 0
    before = meter_scores(postgres)
    assert score(settings) == 0
    assert meter_scores(postgres) == before


def test_a_run_that_broke_off_between_its_halves_is_made_up(settings, warehouse, postgres):
    readings, forecasts, totals = (list(chain(*part)) for part in zip(*World().batches[:20], strict=True))
    with warehouse:
        store(warehouse, readings, forecasts, totals, FIRST_HOUR + 19 * HOUR)
    rows(postgres, "SELECT close_scoring()")
    with warehouse:
        store(warehouse, [(1, 0, FIRST_HOUR + 7 * HOUR, 99.0, FIRST_HOUR + 30 * HOUR)])
    score(settings)
    assert_scores_are_right(postgres, FIRST_HOUR + 19 * HOUR)


def test_scoring_waits_for_a_batch_that_is_being_stored_and_the_batch_for_nothing(settings, warehouse, postgres):
    readings, forecasts, totals = (list(chain(*part)) for part in zip(*World().batches[:20], strict=True))
    with warehouse:
        store(warehouse, readings, forecasts, totals, FIRST_HOUR + 19 * HOUR)
    store(warehouse, [(1, 0, FIRST_HOUR + 7 * HOUR, 99.0, FIRST_HOUR + 30 * HOUR)])
    with pytest.raises(RetriableError, match="lock timeout"):
        score(settings)
    warehouse.commit()
    score(settings)
    assert_scores_are_right(postgres, FIRST_HOUR + 19 * HOUR)


def test_scores_stay_where_the_forecasts_were_dropped(settings, warehouse, postgres):
    for hour, (readings, forecasts, totals) in enumerate(World().batches[:30]):
        with warehouse:
            store(warehouse, readings, forecasts, totals, FIRST_HOUR + hour * HOUR)
    score(settings)
    before = meter_scores(postgres)
    with postgres.cursor() as cursor:
        cursor.execute("DELETE FROM forecasts")
    with warehouse:
        store(warehouse, [(1, 0, FIRST_HOUR + 7 * HOUR, 99.0, FIRST_HOUR + 30 * HOUR)])
    assert score(settings) == 0
    assert meter_scores(postgres) == before


def test_one_line_says_how_good_yesterday_was(settings, warehouse, postgres):
    for hour, (readings, forecasts, totals) in enumerate(World().batches):
        with warehouse:
            store(warehouse, readings, forecasts, totals, FIRST_HOUR + hour * HOUR)
    score(settings)
    yesterday = FIRST_HOUR + timedelta(days=2)
    query = "SELECT forecasts, coverage_80, skill_against_last_reading, cvrmse FROM accuracy_by_lead_time"
    where = "WHERE period = 'yesterday' AND level = '{}' AND meter = 0 AND lead_h = 24"
    ((count, coverage, skill, _),) = rows(postgres, f"{query} {where.format('meter')}")
    sums = [
        s for (_, m, day, _), s in expected_meter_scores(postgres, last_hour()).items() if (m, day) == (0, yesterday)
    ]
    forecasts, covered, _, own, _, _, last, _ = ([s[place][23] for s in sums] for place in range(8))
    assert count == sum(forecasts) > 50
    assert coverage == pytest.approx(sum(covered) / sum(forecasts))
    assert skill == pytest.approx(1 - sum(own) / sum(last), abs=1e-5)
    grid = expected_total_scores(postgres, last_hour())[None, 0, yesterday]
    ((_, _, _, cvrmse),) = rows(postgres, f"{query} {where.format('grid')}")
    count, energy, squared = grid[0][23], grid[2][23], grid[4][23]
    assert cvrmse == pytest.approx((squared / count) ** 0.5 / (energy / count), rel=1e-4)
    buildings = rows(
        postgres, "SELECT building_id, meter, modelled FROM accuracy_by_building WHERE period = 'yesterday'"
    )
    assert [(b, m) for b, m, _ in buildings] == METERS
    assert all(0.2 < modelled < 0.8 for *_, modelled in buildings)
    qualities = rows(postgres, "SELECT DISTINCT quality FROM accuracy_by_quality WHERE period = 'yesterday'")
    assert {q for (q,) in qualities} == {"full", "profile"}


def test_meters_are_accounted_for_where_no_total_is_complete(settings, warehouse, postgres):
    with postgres.cursor() as cursor:
        cursor.execute(SILENT_METERS)
    readings, forecasts, totals = (list(chain(*part)) for part in zip(*World().batches[:30], strict=True))
    with warehouse:
        store(warehouse, readings, forecasts, totals, FIRST_HOUR + 29 * HOUR)
    score(settings)
    assert rows(postgres, "SELECT count(*) FROM aggregate_scores") == [(0,)]
    query = "SELECT building_id, meter FROM accuracy_by_building WHERE period = 'yesterday'"
    assert rows(postgres, query) == METERS


def test_only_the_trainer_scores_and_grafana_reads(settings, warehouse):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), warehouse, warehouse.cursor() as cursor:
        cursor.execute("SELECT close_scoring()")
    with closing(connect(settings, Role.GRAFANA)) as grafana, grafana.cursor() as cursor:
        for view in (
            "accuracy_by_lead_time",
            "accuracy_by_building",
            "accuracy_by_quality",
            "score_values",
            "aggregate_scores",
        ):
            cursor.execute(f"SELECT * FROM {view}")
