"""Whether a warehouse holds what the files of a data folder say: shared by the acceptance runs.

Each reading of the files exactly once with an equal value, totals that are the sums of their readings, no dead letter,
no revision, and a forecast for every meter and hour.
"""

import hashlib
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from reference_readings import Reading

Query = Callable[[str], list[list[str]]]
"""Runs one statement; rows of text."""

STORED_WITHIN_S = 300


class RunFailedError(Exception):
    """A run did not end in the tables that the files ask for."""


def check_tables(query: Query, expected: dict[Reading, float]) -> str:
    """Compare the warehouse with the files; returns a digest of readings and totals, the same for every run."""
    rows = query('SELECT building_id, meter, extract(epoch FROM "timestamp")::bigint, meter_reading_kwh FROM readings')
    stored = {(int(b), int(m), int(t)): float(kwh) for b, m, t, kwh in rows}
    if len(stored) != len(rows):
        raise RunFailedError(f"{len(rows) - len(stored)} readings are stored more than once")
    missing, surplus = expected.keys() - stored.keys(), stored.keys() - expected.keys()
    if missing or surplus:
        some = min(missing or surplus)
        raise RunFailedError(f"{len(missing)} readings are missing, {len(surplus)} are surplus; for one {some}")
    unequal = [key for key, kwh in expected.items() if not math.isclose(kwh, stored[key], rel_tol=1e-12)]
    if unequal:
        key = unequal[0]
        raise RunFailedError(f"{len(unequal)} values differ, {key}: {expected[key]} in the file, {stored[key]} stored")
    for what, sql in MUST_BE_EMPTY.items():
        (count,) = query(sql)[0]
        if count != "0":
            raise RunFailedError(f"{count} {what}")
    totals = query('SELECT * FROM site_totals ORDER BY site_id, meter, "timestamp"')
    return hashlib.sha256(repr([sorted(stored.items()), totals]).encode()).hexdigest()[:12]


MUST_BE_EMPTY = {
    "dead letters": "SELECT count(*) FROM dead_letters",
    "revisions, of which the files have none": "SELECT count(*) FROM reading_revisions",
    "hours whose site total is not the sum of its readings": """
        SELECT count(*) FROM site_totals t FULL JOIN (
            SELECT site_id, meter, "timestamp", sum(meter_reading_kwh::numeric) AS kwh, count(*) AS reported
            FROM readings JOIN buildings USING (building_id) GROUP BY 1, 2, 3) r USING (site_id, meter, "timestamp")
        WHERE t.energy_kwh IS NULL OR r.kwh IS NULL
           OR abs(t.energy_kwh - r.kwh) > 1e-6 OR t.meters_reported <> r.reported""",
}
MISSING_FORECASTS = """
    SELECT count(*) FROM meters m
    CROSS JOIN LATERAL generate_series(greatest(m.first_seen, to_timestamp({first})), to_timestamp({last}),
                                       interval '1 hour') AS issue (at)
    LEFT JOIN forecasts f ON f.building_id = m.building_id AND f.meter = m.meter AND f.issued_at = issue.at
    WHERE f.issued_at IS NULL"""


def utc(seconds: int) -> str:
    """For people."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M}"


def wait_until(holds: Callable[[], bool], what: str, within_s: float = STORED_WITHIN_S) -> None:
    """Ask once a second until it holds; a database that is away for the moment is asked again."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if holds():
                return
        except RunFailedError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise RunFailedError(f"not within {within_s:g} s: {what}")
        time.sleep(1)


def stored_until(query: Query) -> int:
    """The newest hour that the warehouse has whole (seconds since 1970), 0 before the first."""
    return _clock(query, "stored_until")


def _clock(query: Query, column: str) -> int:
    return int(query(f"SELECT coalesce(extract(epoch FROM {column})::bigint, 0) FROM pipeline_status")[0][0])


def wait_for_forecasts(query: Query, first: int, last: int, within_s: float) -> None:
    """Wait until every meter has a forecast for every hour; the cheap question first, for it is asked all the time."""
    wait_until(lambda: _clock(query, "forecast_until") >= last, "forecasts reach the last hour", within_s)
    missing = MISSING_FORECASTS.format(first=first, last=last)
    wait_until(lambda: query(missing) == [["0"]], "every meter has a forecast every hour", 60)
