"""The views show every fact, and a dash where there is none."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from Setup.embedded import view as view_module
from Setup.embedded.monitor import Counts, Progress
from Setup.embedded.service import State, Status
from Setup.embedded.view import Addresses, Facts, LiveView, PlainView, plain_line

HOUR = datetime(2016, 9, 3, 7, tzinfo=UTC)
PROGRESS = Progress(
    asked_at=1.0,
    stored_until=HOUR,
    closed_until=HOUR,
    forecast_until=HOUR - timedelta(hours=1),
    waiting_messages=25,
    lag_messages=30,
    waiting_intervals=1,
)
COUNTS = Counts(readings=11_000, forecasts=2_000, dead_letters=3, skill=0.25)
FACTS = Facts(
    headline="replaying somewhere",
    addresses=Addresses("127.0.0.1:9092", "127.0.0.1:5432", "127.0.0.1:6379", ".energy/x/psql", ".energy/x/logs"),
    services=(
        Status("sensor_publisher", State.RUNNING, pid=4711, up_s=3_725, restarts=0),
        Status("trainer", State.WAITING, pid=None, up_s=None, restarts=7),
    ),
    progress=PROGRESS,
    counts=COUNTS,
    history_readings=1_000,
)


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def terminal():
    return Console(file=io.StringIO(), width=100, height=50, force_terminal=True, color_system=None)


def text_of(console: Console) -> str:
    return console.file.getvalue()


def test_a_line_has_all_facts():
    line = plain_line(FACTS)
    assert line.startswith(
        "replaying somewhere; stored until 2016-09-03 07:00 UTC; forecast until 2016-09-03 06:00 UTC"
    )
    assert "readings 10,025 published, 10,000 stored, 25 waiting" in line, "history does not count as published"
    assert "forecasts 2,000 stored; dead letters 3; skill +25.0%" in line


def test_a_line_names_the_services_that_are_down():
    assert "trainer restarting" in plain_line(FACTS)
    assert "sensor_publisher" not in plain_line(FACTS)


def test_what_is_not_known_is_a_dash():
    line = plain_line(replace(FACTS, progress=None, counts=None))
    assert "stored until -; forecast until -; readings - published, - stored, - waiting" in line
    assert "dead letters -; skill -" in line


def test_no_skill_at_all_is_a_number():
    assert "skill +0.0%" in plain_line(replace(FACTS, counts=replace(COUNTS, skill=0.0)))


def test_a_problem_is_shown():
    assert plain_line(replace(FACTS, problem="Postgres: connection refused")).endswith("Postgres: connection refused")


def test_the_plain_view_prints_addresses_once_and_facts_rarely(console):
    with PlainView(console) as view:
        view.show(FACTS)
        view.show(FACTS)
    assert text_of(console).count("psql: .energy/x/psql") == 1
    assert text_of(console).count("replaying somewhere") == 1


def test_the_plain_view_prints_facts_again_when_the_time_has_come(console, monkeypatch):
    monkeypatch.setattr(view_module, "PLAIN_EVERY_S", 0.0)
    with PlainView(console) as view:
        view.show(FACTS)
        view.show(FACTS)
    assert text_of(console).count("replaying somewhere") == 2


def test_events_are_printed_at_once_and_as_they_are(console):
    PlainView(console).event("[red]ended[/red]")
    assert "[red]ended[/red]" in text_of(console)


def test_the_live_view_draws_facts_services_and_addresses(terminal):
    with LiveView(terminal) as view:
        view.show(FACTS)
    shown = text_of(terminal)
    for fact in (
        "2016-09-03 07:00 UTC",
        "10,000 stored",
        "+25.0%",
        "127.0.0.1:5432",
        ".energy/x/psql",
        ".energy/x/logs",
    ):
        assert fact in shown
    rows = {line.split()[0]: line.split() for line in shown.splitlines() if line.split()}
    assert rows["sensor_publisher"] == ["sensor_publisher", "running", "4711", "1:02:05", "0"]
    assert rows["trainer"] == ["trainer", "restarting", "-", "-", "7"]


def test_the_live_view_is_drawn_at_most_twice_a_second(terminal):
    with LiveView(terminal) as view:
        view.show(FACTS)
        once = text_of(terminal)
        view.show(replace(FACTS, headline="something new"))
        assert text_of(terminal) == once


def test_events_stay_readable_above_the_live_view(terminal):
    with LiveView(terminal) as view:
        view.show(FACTS)
        view.event("trainer ended with exit code 1")
    assert "trainer ended with exit code 1" in text_of(terminal)


def test_a_run_is_complete_only_when_nothing_is_on_its_way():
    complete = replace(PROGRESS, forecast_until=HOUR, lag_messages=0, waiting_intervals=0)
    assert complete.is_complete()
    assert replace(complete, forecast_until=HOUR + timedelta(hours=1)).is_complete()


@pytest.mark.parametrize(
    "change",
    [
        {"stored_until": None},
        {"closed_until": None},
        {"closed_until": HOUR - timedelta(hours=1)},
        {"forecast_until": None},
        {"forecast_until": HOUR - timedelta(hours=1)},
        {"lag_messages": 1},
        {"waiting_intervals": 1},
    ],
    ids=str,
)
def test_a_run_is_not_complete_while(change):
    complete = replace(PROGRESS, forecast_until=HOUR, lag_messages=0, waiting_intervals=0)
    assert not replace(complete, **change).is_complete()
