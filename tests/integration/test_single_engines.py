"""Each embedded engine by itself: how it starts, what it survives, and where its programs come from."""

import os
import shutil
import socket
import tempfile
from pathlib import Path

import psutil
import pytest
import redis

from Sensor_core.errors import EnergyError, UnreachableError
from Setup.embedded.kafka_engine import resolve_jars
from Setup.embedded.postgres_engine import PostgresEngine
from Setup.embedded.valkey_engine import ValkeyEngine

pytestmark = pytest.mark.integration


def quiet(line: str) -> None:
    """Take progress and show nothing."""


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


def test_redis_takes_an_acl_file_in_place_of_the_password(tmp_path, unused_port):
    (tmp_path / "logs").mkdir()
    users = tmp_path / "users.acl"
    users.write_text("user default off\nuser reader on >secret ~public:* +@read +ping\n")
    valkey = ValkeyEngine(tmp_path, unused_port, password="ignored", users=users)
    valkey.start(quiet)
    try:
        with redis.Redis(port=unused_port, username="reader", password="secret") as client:
            assert client.get("public:key") is None
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.get("private:key")
    finally:
        valkey.stop()


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
