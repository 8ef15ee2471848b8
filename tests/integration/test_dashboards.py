"""Every query of the Grafana dashboards answers on a real database, as the role that Grafana has."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Setup.postgres import Role, connect, migrate, run_script
from Setup.settings import Settings
from tests.integration.grafana_sql import DASHBOARDS, FROM, Values, expand

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

SEED = Path(__file__).with_name("dashboards_seed.sql")
ALL = "$__all"

# Type codes of PostgreSQL that Grafana's data source can draw.
TIMESTAMPTZ, NUMERIC, TEXT = {1184}, {20, 21, 23, 700, 701, 1700}, {25, 1043}


class Answer(NamedTuple):
    columns: dict[str, int]
    rows: list[dict[str, object]]
    took_s: float


@pytest.fixture(scope="module")
def grafana(endpoints, engine_password):
    """Grafana's own login on a seeded database."""
    settings = Settings(
        _env_file=None,
        postgres_host=endpoints.postgres_host,
        postgres_port=endpoints.postgres_port,
        postgres_db="dashboards",
        postgres_password=engine_password,
        grafana_postgres_password="reader",
    )
    server = connect(settings.model_copy(update={"postgres_db": "postgres"}), Role.ADMIN)
    server.autocommit = True
    server.cursor().execute("CREATE DATABASE dashboards")
    admin = connect(settings, Role.ADMIN)
    migrate(admin)
    run_script(admin, SEED)
    admin.cursor().execute("ALTER ROLE grafana_reader LOGIN PASSWORD 'reader'")
    admin.close()
    reader = connect(settings, Role.GRAFANA)
    reader.autocommit = True
    yield reader
    reader.close()
    server.cursor().execute("DROP DATABASE dashboards WITH (FORCE)")
    server.close()


def ask(reader: Connection, statement: str) -> Answer:
    started = time.monotonic()
    with reader.cursor() as cursor:
        cursor.execute(statement)
        rows = cursor.fetchall()
        names = [column.name for column in cursor.description]
        codes = {column.name: column.type_code for column in cursor.description}
    assert len(codes) == len(names), f"two columns have one name: {names}"
    return Answer(codes, [dict(zip(names, row, strict=True)) for row in rows], time.monotonic() - started)


def options(reader: Connection, variable: dict, values: dict) -> list[str]:
    if variable["type"] == "custom":
        return variable["query"].split(",")
    answer = ask(reader, expand(variable["query"], values))
    assert set(answer.columns) == {"__text", "__value"}
    assert len({row["__text"] for row in answer.rows}) == len(answer.rows), "Grafana drops options of equal text"
    return [str(row["__value"]) for row in answer.rows]


def select(reader: Connection, dashboard: dict, **chosen: str | list[str]) -> Values:
    """Values of a dashboard's variables when its page opens: as chosen, else as saved, else the first option."""
    values: Values = {}
    for variable in dashboard["templating"]["list"]:
        offered = options(reader, variable, values)
        saved = variable["current"]["value"]
        value = chosen.get(variable["name"], saved)
        if value == ALL:
            assert variable["includeAll"]
            value = variable["allValue"]
        elif not set([value] if isinstance(value, str) else value) <= set(offered):
            assert variable["name"] not in chosen, f"{value} is not among {offered}"
            value = offered[0]
        values[variable["name"]] = value
    return values


def answer(reader: Connection, page: str, title: str, ref: str = "A", *, interval: str = "1h", **chosen) -> Answer:
    panel = next(panel for panel in DASHBOARDS[page]["panels"] if panel["title"] == title)
    query = next(query for query in panel["targets"] if query["refId"] == ref)
    return ask(reader, expand(query["rawSql"], panel_values(reader, page, panel, **chosen), interval))


def panel_values(reader: Connection, page: str, panel: dict, **chosen) -> dict:
    """Variables as a panel sees them: one that is repeated over a variable sees one of its values."""
    values = select(reader, DASHBOARDS[page], **chosen)
    if repeat := panel.get("repeat"):
        values[repeat] = values[repeat][-1]
    return values


PANELS = [
    pytest.param(page, panel, id=f"{page}: {panel['title']}")
    for page, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
]


def series_names(answer: Answer) -> set[str]:
    if "metric" in answer.columns:
        return {str(row["metric"]) for row in answer.rows}
    return set(answer.columns) - {"time"}


def check_series(answer: Answer) -> None:
    """What Grafana needs to turn rows into series: a first time column, ascending, one value a series and moment."""
    assert next(iter(answer.columns)) == "time"
    assert answer.columns["time"] in TIMESTAMPTZ | NUMERIC
    assert all(code in NUMERIC for name, code in answer.columns.items() if name not in ("time", "metric"))
    times = [row["time"] for row in answer.rows]
    assert times == sorted(times)
    assert len({(row["time"], row.get("metric")) for row in answer.rows}) == len(answer.rows)


@pytest.mark.parametrize(("page", "panel"), PANELS)
@pytest.mark.parametrize("interval", ["1h", "6h"])
def test_every_query_answers_with_what_its_panel_draws(grafana, page, panel, interval):
    values = panel_values(grafana, page, panel)
    names: set[str] = set()
    for query in panel["targets"]:
        answer = ask(grafana, expand(query["rawSql"], values, interval))
        assert answer.rows
        assert answer.took_s < 1
        assert all(code in TIMESTAMPTZ | NUMERIC | TEXT for code in answer.columns.values())
        assert any(value is not None for row in answer.rows for value in row.values())
        assert query["format"] == ("time_series" if panel["type"] == "timeseries" else "table")
        if query["format"] == "time_series":
            check_series(answer)
        assert not names & series_names(answer), "two queries of one panel name a column alike"
        names |= series_names(answer)
    for override in panel["fieldConfig"]["overrides"]:
        assert override["matcher"]["options"] in names
        assert all(p["value"] in names for p in override["properties"] if p["id"] == "custom.fillBelowTo")
    assert set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel))) <= names


@pytest.mark.parametrize("page", DASHBOARDS)
def test_every_annotation_answers_with_time_text_and_tags(grafana, page):
    for annotation in DASHBOARDS[page]["annotations"]["list"]:
        if annotation.get("builtIn"):
            continue
        answer = ask(grafana, expand(annotation["target"]["rawSql"], select(grafana, DASHBOARDS[page])))
        assert set(answer.columns) == {"time", "text", "tags"}
        assert answer.columns["time"] in TIMESTAMPTZ
        assert [row["text"] for row in answer.rows] == ["counted 99.0 kWh, expected 13.0 kWh", "counted 99.0 kWh"]


def test_the_variables_of_a_building_follow_its_site(grafana):
    assert select(grafana, DASHBOARDS["building"]) == {"site": "0", "building": "1", "meter": "0", "lead": ["1", "24"]}
    chosen = select(grafana, DASHBOARDS["building"], site="1", building="4", meter="1", lead=["48"])
    assert chosen == {"site": "1", "building": "4", "meter": "1", "lead": ["48"]}


@pytest.mark.parametrize(("site", "buildings"), [(ALL, 4), ("0", 2), ("1", 2)])
def test_forecasts_lie_on_the_hours_that_they_are_for(grafana, site, buildings):
    page, title = "grid-overview", "Actual against forecast"
    actual = {row["time"]: row["Actual"] for row in answer(grafana, page, title, "A", site=site).rows}
    assert len(actual) == 72
    for ref, median, low, high in [
        ("B", "Forecast 24 h ahead", "10 %", "90 %"),
        ("C", "Newest forecast", "Newest 10 %", "Newest 90 %"),
    ]:
        rows = answer(grafana, page, title, ref, site=site).rows
        assert len(rows) == 48
        for row in rows:
            twin = actual[row["time"] - timedelta(days=1 if ref == "B" else 2)]  # no day differs from another
            if row["time"].hour != 5:  # the hour that building 3 missed
                found = [row[name] - twin for name in (median, low, high)]
                assert found == [2 * buildings, -3 * buildings, 4 * buildings]


def test_the_next_peak_is_that_of_the_newest_decision(grafana):
    (peak,) = answer(grafana, "grid-overview", "Next peak").rows
    assert peak == {
        "Hour": datetime(2016, 9, 4, 23, tzinfo=UTC), "Height": 200, "At most (90 %)": 208,
        "Probability of the hour": pytest.approx(0.7),
    }  # fmt: skip


def test_the_views_of_decisions_score_complete_windows_only(grafana):
    peaks = ask(grafana, "SELECT * FROM next_peaks").rows
    assert [(row["site_id"], row["meter"], row["window_h"]) for row in peaks[:2]] == [(None, 0, 24), (None, 0, 48)]
    assert len(peaks) == 2 * 5
    assert peaks[4]["peak_at_local"].hour == 19
    outcomes = ask(grafana, "SELECT * FROM decision_outcomes WHERE site_id = 0 AND meter = 0 AND window_h = 24").rows
    assert len(outcomes) == 48  # issued in the first two days
    assert all(row["peak_hour_hit"] and row["true_peak_at"] == row["peak_at"] for row in outcomes)
    assert {row["true_peak_kw"] for row in outcomes} == {76}
    assert all(row["reserve_sufficed"] and not row["limit_passed"] for row in outcomes)
    beside_the_gap = ask(
        grafana, "SELECT * FROM decision_outcomes WHERE site_id IS NULL AND meter = 0 AND window_h = 24"
    )
    assert len(beside_the_gap.rows) == 5 + 19  # before and after windows that hold the hour that building 3 missed
    (score,) = ask(grafana, "SELECT * FROM decision_scores WHERE site_id = 0 AND meter = 0 AND window_h = 24").rows
    assert (score["decisions"], score["peak_hour_hit"], score["reserve_sufficed"]) == (48, 1, 1)
    assert score["peak_hour_brier"] == pytest.approx(0.09)
    assert score["limit_brier"] == pytest.approx(0.81)
    tenths = {(row["event"], row["tenth"]): row for row in ask(grafana, "SELECT * FROM decision_reliability").rows}
    assert tenths["limit", 9]["came"] < 0.5 < tenths["limit", 9]["said"]


def test_a_total_is_scored_in_complete_hours_only(grafana):
    rows = {row["Lead time"]: row for row in answer(grafana, "grid-overview", "Accuracy by lead time").rows}
    assert list(rows) == [1, 3, 6, 12, 24, 48]
    assert rows[24]["Hours"] == 47
    assert rows[24]["CVRMSE"] == pytest.approx(8 / ((48 * 146 - 120) / 47))
    assert rows[24]["Cover"] == 1
    assert rows[12]["Skill"] == pytest.approx(1 - 8 / 48)


def test_a_meter_is_scored_at_its_lead_times(grafana):
    rows = {row["Lead time"]: row for row in answer(grafana, "building", "Accuracy by lead time", building="2").rows}
    assert {lead: row["Hours"] for lead, row in rows.items()} == {lead: 72 - lead for lead in (1, 3, 6, 12, 24, 48)}
    assert rows[24]["CVRMSE"] == pytest.approx(2 / 31.5)
    assert rows[24]["Skill"] is None  # the hour of the day before says it all
    assert rows[12]["Skill"] == pytest.approx(1 - 2 / 12)


@pytest.mark.parametrize("lead", ["1", "48"])
def test_a_repeated_panel_shows_its_own_lead_time(grafana, lead):
    title = "Forecast ${lead} h ahead against actual"
    rows = answer(grafana, "building", title, "B", lead=[lead]).rows
    assert rows[0]["time"] == FROM + timedelta(hours=int(lead))
    assert all(row["Forecast"] == 10 + row["time"].hour + 2 for row in rows)


@pytest.mark.parametrize("page", DASHBOARDS)
def test_the_jump_ends_with_the_newest_forecast_whatever_the_year(grafana, page):
    rows = answer(grafana, page, "Jump to the newest data").rows
    end = datetime(2016, 9, 5, 23, tzinfo=UTC)
    assert {row["To"] for row in rows} == {end}
    assert rows[0]["From"] == end - timedelta(days=4)
    assert rows[-1]["From"] == FROM
    assert all(row["to_ms"] == str(int(end.timestamp() * 1000)) for row in rows)


def test_grafana_may_read_everything_and_write_nothing(grafana):
    with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction), grafana.cursor() as cursor:
        cursor.execute("DELETE FROM dead_letters")
    grafana.cursor().execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege), grafana.cursor() as cursor:
        cursor.execute("DELETE FROM dead_letters")
    grafana.cursor().execute("RESET default_transaction_read_only")
