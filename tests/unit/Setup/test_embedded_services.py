"""Services are child processes that are watched, restarted, stopped in order, and never left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from Sensor_core.errors import EnergyError
from Setup.embedded import service as service_module
from Setup.embedded import services as services_module
from Setup.embedded.service import Service, State
from Setup.embedded.services import SENSOR, SERVICES, Supervisor, with_hours
from Setup.lifecycle import Stop

ROOT = Path(__file__).parents[3]
PARENT = """
import os, sys, time
from pathlib import Path
from Setup.embedded.service import Service
from Setup.embedded.services import Supervisor
with Supervisor(Path(sys.argv[1]), os.environ, print) as supervisor:
    supervisor.start([Service("victim", sys.argv[2])])
    print(supervisor.statuses()[0].pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(service_module, "FIRST_PAUSE_S", 0.05)


@pytest.fixture
def program(tmp_path):
    """Makes a shell script that plays a service."""

    def make(name: str, script: str, **attributes) -> Service:
        file = tmp_path / f"{name}.sh"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return Service(name, str(file), **attributes)

    return make


@pytest.fixture
def events():
    return []


@pytest.fixture
def supervisor(tmp_path, events):
    logs = tmp_path / "logs"
    logs.mkdir()
    with Supervisor(logs, {**os.environ, "COLOUR": "green"}, events.append) as supervisor:
        yield supervisor


def check_until(supervisor: Supervisor, condition, within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        supervisor.check()
        time.sleep(0.02)


def test_a_service_that_dies_is_shown_with_its_last_lines_and_started_again(supervisor, program, events, tmp_path):
    script = (
        f'echo run >> {tmp_path}/runs; [ $(wc -l < {tmp_path}/runs) -gt 2 ] && exec sleep 60; echo "no $COLOUR"; exit 3'
    )
    supervisor.start([program("fragile", script)])
    check_until(supervisor, lambda: supervisor.statuses()[0].restarts == 2)
    status = supervisor.statuses()[0]
    assert status.state is State.RUNNING
    assert psutil.pid_exists(status.pid)
    assert len(events) == 2
    assert "fragile ended with exit code 3 and is started again" in events[0]
    assert events[1].endswith("fragile.log ends with:\n  no green"), "lines of the first process are not repeated"


def test_a_service_ended_by_a_signal_is_started_again(supervisor, program, events):
    supervisor.start([program("victim", "exec sleep 60")])
    first = supervisor.statuses()[0].pid
    os.kill(first, signal.SIGKILL)
    check_until(supervisor, lambda: supervisor.statuses()[0].restarts == 1)
    assert supervisor.statuses()[0].pid != first
    assert "victim was ended by signal 9" in events[0]


def test_pauses_between_restarts_grow(supervisor, program, monkeypatch):
    supervisor.start([program("fragile", "exit 1")])
    began = time.monotonic()
    check_until(supervisor, lambda: supervisor.statuses()[0].restarts == 4)
    assert time.monotonic() - began >= 0.05 + 0.1 + 0.2 + 0.4


def test_a_service_that_may_end_is_done_when_it_does(supervisor, program, events):
    supervisor.start([program("sensor", "exit 0", may_end=True)])
    check_until(supervisor, lambda: supervisor.is_done("sensor"))
    supervisor.check()
    assert supervisor.statuses()[0].restarts == 0
    assert events == ["sensor is done"]


def test_a_service_that_should_run_for_ever_is_started_again_even_after_a_clean_end(supervisor, program):
    supervisor.start([program("consumer", "exit 0")])
    check_until(supervisor, lambda: supervisor.statuses()[0].restarts == 1)


@pytest.mark.parametrize("code", [2, 65])
def test_wrong_settings_and_wrong_data_end_the_run(supervisor, program, code):
    supervisor.start([program("sensor", f"echo line 7, column meter: x; exit {code}", may_end=True)])
    with pytest.raises(EnergyError, match=r"(?s)sensor cannot go on\. .*line 7, column meter: x"):
        check_until(supervisor, lambda: False)


def test_a_service_that_is_not_installed_is_named(supervisor):
    with pytest.raises(EnergyError, match="energy-nothing does not exist: install the project"):
        supervisor.start([Service("nothing", "energy-nothing")])


def test_setup_is_waited_for(supervisor, program, tmp_path):
    assert supervisor.run_to_end(program("setup", f"sleep .2; touch {tmp_path}/prepared"), Stop())
    assert (tmp_path / "prepared").exists()
    assert supervisor.statuses() == []


def test_a_failing_setup_is_an_error_with_its_last_lines(supervisor, program):
    with pytest.raises(EnergyError, match=r"(?s)setup failed\. The log .*no such folder"):
        supervisor.run_to_end(program("setup", "echo no such folder; exit 1"), Stop())


def test_setup_gives_way_to_a_stop(supervisor, program):
    stop = Stop()
    stop.set()
    assert not supervisor.run_to_end(program("setup", "exec sleep 60"), stop)


def test_services_stop_turn_by_turn(supervisor, program, tmp_path):
    script = "trap 'sleep .2; echo {0} >> {1}/stops; exit 0' TERM; touch {1}/{0}.up; while :; do sleep .05; done"
    turns = {"consumer": 2, "sensor": 0, "predictor": 1}
    supervisor.start([program(n, script.format(n, tmp_path), stop_turn=turn) for n, turn in turns.items()])
    check_until(supervisor, lambda: all((tmp_path / f"{name}.up").exists() for name in turns))
    supervisor.stop()
    assert (tmp_path / "stops").read_text().split() == ["sensor", "predictor", "consumer"]
    supervisor.check()
    assert {status.state for status in supervisor.statuses()} == {State.STOPPED}


def test_a_service_that_ignores_the_stop_is_killed(supervisor, program, events, monkeypatch, tmp_path):
    monkeypatch.setattr(services_module, "STOPPED_WITHIN_S", 0.3)
    supervisor.start([program("deaf", f"trap '' TERM; touch {tmp_path}/up; while :; do sleep .05; done")])
    check_until(supervisor, (tmp_path / "up").exists)
    pid = supervisor.statuses()[0].pid
    supervisor.stop()
    assert not psutil.pid_exists(pid)
    assert events == ["deaf did not stop within 0 s: killed"]


def test_the_services_of_a_killed_run_end_too(tmp_path, program):
    victim = program("victim", "exec sleep 60")
    command = [sys.executable, "-c", PARENT, str(tmp_path), victim.script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        service = psutil.Process(int(parent.stdout.readline()))
        guard = next(c for c in psutil.Process(parent.pid).children() if "service_guard" in " ".join(c.cmdline()))
        time.sleep(1)  # the guard has to be up: it is the survivor that this is about
        parent.kill()
    _, alive = psutil.wait_procs([service, guard], timeout=10)
    assert not alive


def test_a_log_that_has_grown_large_moves_aside(supervisor, program, monkeypatch, tmp_path):
    monkeypatch.setattr(service_module, "LARGEST_LOG_BYTES", 1000)
    script = "i=0; while [ $i -lt 100 ]; do echo long line $i; i=$((i+1)); done; while :; do sleep .1; echo later; done"
    supervisor.start([program("talker", script)])
    previous = tmp_path / "logs" / "talker.previous.log"
    check_until(supervisor, previous.exists)
    log = tmp_path / "logs" / "talker.log"
    check_until(supervisor, lambda: "later" in log.read_text())
    assert log.stat().st_size < 1000
    assert "long line 1" in previous.read_text()


def test_the_log_of_the_last_run_is_kept_beside_the_new_one(tmp_path, program, events):
    for text in ("first", "second"):
        with Supervisor(tmp_path, os.environ, events.append) as supervisor:
            assert supervisor.run_to_end(program("setup", f"echo {text}"), Stop())
    assert (tmp_path / "setup.log").read_text() == "second\n"
    assert (tmp_path / "setup.previous.log").read_text() == "first\n"


def test_hours_are_the_sensors_business_only(tmp_path):
    end_file = tmp_path / "end"
    assert with_hours(SERVICES, None, end_file) == list(SERVICES)
    limited = with_hours(SERVICES, 48, end_file)
    assert [s.arguments for s in limited if s.name == SENSOR.name] == [("--hours", "48", "--end-file", str(end_file))]
    assert {s.arguments for s in limited if s.name != SENSOR.name} == {()}


def test_producers_stop_before_the_consumers_that_store_what_they_published():
    turns = {service.name: service.stop_turn for service in SERVICES}
    assert turns["sensor_publisher"] < turns["predictor"] <= turns["trainer"] < turns["postgre_consumer"]
    assert turns["redis_consumer"] == turns["postgre_consumer"]
