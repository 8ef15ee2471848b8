"""The embedded engines are real, keep their data, stay apart, and leave nothing behind."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import KafkaTimeoutError
from kafka.structs import TopicPartition
from redis.backoff import NoBackoff
from redis.retry import Retry

from Sensor_core.errors import EnergyError
from Setup.embedded.engines import PREFERRED_PORTS, Engines

pytestmark = pytest.mark.integration

NAMES = ("kafka", "postgres", "redis")
PARENT = """
import json, sys, time
from pathlib import Path
from Setup.embedded.engines import Engines
engines = Engines(Path(sys.argv[1]), postgres_password="p", database="energy", redis_password="r")
endpoints = engines.start(lambda line: None)
pids = {name: engines.pid(name) for name in ("kafka", "postgres", "redis")}
print(json.dumps({"pids": pids, "guard": engines._guard.pid, "redis_port": endpoints.redis_port}), flush=True)
time.sleep(600)
"""


def quiet(line: str) -> None:
    """Take progress and show nothing."""


def another_run(state: Path, **changes) -> Engines:
    return Engines(state, **{"postgres_password": "p", "database": "energy", "redis_password": "r"} | changes)


def create_topic(bootstrap: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}})
    admin.close()


def produce(bootstrap: str, topic: str, value: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    producer.send(topic, value).get(timeout=20)
    producer.close()


def consume(bootstrap: str, topic: str) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    end = consumer.end_offsets([partition])[partition]
    values = []
    while len(values) < end:
        values += [record.value for batch in consumer.poll(500).values() for record in batch]
    consumer.close()
    return values


def psql(engines: Engines, password: str, statement: str) -> str:
    endpoints = engines.endpoints
    command = [
        endpoints.psql,
        "-h",
        "127.0.0.1",
        "-p",
        str(endpoints.postgres_port),
        "-U",
        "postgres",
        "-d",
        "energy",
    ]
    environment = {**os.environ, "PGPASSWORD": password}
    return subprocess.run(
        [*command, "-Atc", statement], env=environment, capture_output=True, text=True, check=True
    ).stdout


def gone(pids, within_s: float) -> bool:
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=within_s)
    return not alive


def test_kafka_is_a_broker_that_creates_topics_only_on_purpose(endpoints, kafka_admin):
    kafka_admin.create_topics({"on_purpose": {"num_partitions": 3, "replication_factor": 1}})
    produce(endpoints.kafka_bootstrap, "on_purpose", b"reading")
    producer = KafkaProducer(bootstrap_servers=endpoints.kafka_bootstrap, max_block_ms=1500)
    with pytest.raises(KafkaTimeoutError):
        producer.send("by_accident", b"reading").get(timeout=5)
    producer.close()
    assert "by_accident" not in kafka_admin.list_topics()
    assert "on_purpose" in kafka_admin.list_topics()


def test_postgres_has_the_promised_settings_and_database(engines, engine_password):
    expected = {
        "server_encoding": "UTF8",
        "data_checksums": "on",
        "password_encryption": "scram-sha-256",
        "synchronous_commit": "on",
        "fsync": "on",
        "shared_buffers": "128MB",
        "max_wal_size": "1GB",
        "listen_addresses": "127.0.0.1",
        "TimeZone": "UTC",
    }
    assert {name: psql(engines, engine_password, f"SHOW {name}").strip() for name in expected} == expected
    locale = psql(
        engines, engine_password, "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = 'energy'"
    )
    assert locale.strip() == "b|C.UTF-8"
    assert psql(engines, engine_password, "SELECT lower('ÄÖ')").strip() == "äö"


def test_redis_keeps_every_write_and_evicts_nothing(redis_client):
    assert redis_client.config_get("appendonly") == {"appendonly": "yes"}
    assert redis_client.config_get("appendfsync") == {"appendfsync": "everysec"}
    assert redis_client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_every_engine_listens_on_this_machine_only(engines):
    for name in NAMES:
        listening = [c for c in psutil.Process(engines.pid(name)).net_connections() if c.status == "LISTEN"]
        assert listening
        assert {c.laddr.ip.removeprefix("::ffff:") for c in listening} == {"127.0.0.1"}


def test_postgres_and_redis_refuse_a_wrong_password(endpoints):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host="127.0.0.1", port=endpoints.postgres_port, user="postgres", password="wrong")
    with (
        redis.Redis(port=endpoints.redis_port, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_no_command_line_and_no_readable_file_shows_a_password(engines, engine_password):
    for name in NAMES:
        process = psutil.Process(engines.pid(name))
        for member in (process, *process.children(recursive=True)):
            assert not any(engine_password in argument for argument in member.cmdline())
    for file in engines._folder.path.rglob("*.conf"):
        if "requirepass" in file.read_text():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(engines._folder.path.glob("postgres/password"))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restarted_engine_keeps_what_it_acknowledged(engines, engine_password, end):
    bootstrap, topic, table = engines.endpoints.kafka_bootstrap, f"kept_{end}", f"kept_{end}"
    create_topic(bootstrap, topic)
    produce(bootstrap, topic, b"kept")
    psql(engines, engine_password, f"CREATE TABLE {table} AS SELECT 'kept' AS value")
    with redis.Redis(port=engines.endpoints.redis_port, password=engine_password) as client:
        client.set(topic, "kept")
        before = engines.endpoints, {name: engines.pid(name) for name in NAMES}
        if end == "kill":
            time.sleep(1.5)  # what Redis has not flushed yet may be lost: appendfsync everysec
            for name in NAMES:
                engines.kill(name)
            assert engines.fallen() == list(NAMES)
        for name in NAMES:
            engines.restart(name)
        assert engines.fallen() == []
        assert client.get(topic) == b"kept"
    assert engines.endpoints == before[0]
    assert not set(before[1].values()) & {engines.pid(name) for name in NAMES}
    assert consume(bootstrap, topic) == [b"kept"]
    assert psql(engines, engine_password, f"SELECT value FROM {table}").strip() == "kept"


def test_a_second_run_takes_other_ports_and_keeps_them_and_its_data(engines, tmp_path):
    taken = {
        "kafka": int(engines.endpoints.kafka_bootstrap.split(":")[1]),
        "kafka_controller": 0,
        "postgres": engines.endpoints.postgres_port,
        "redis": engines.endpoints.redis_port,
    }
    lines = []
    with another_run(tmp_path, preferred_ports=taken) as second:
        first_time = second.start(lines.append)
        assert first_time.kafka_bootstrap != engines.endpoints.kafka_bootstrap
        assert not {first_time.postgres_port, first_time.redis_port} & set(taken.values())
        psql(second, "p", "CREATE TABLE kept ()")
    assert "PostgreSQL: creating its data folder" in lines
    assert engines.fallen() == []
    with another_run(tmp_path, preferred_ports=taken) as third:
        assert third.start(quiet) == first_time
        assert psql(third, "p", "SELECT count(*) FROM kept").strip() == "0"
    assert gone([third.pid(name) for name in NAMES], within_s=0)


def test_two_runs_that_start_at_once_have_engines_of_their_own(tmp_path):
    holders = {name: socket.create_server(("127.0.0.1", 0)) for name in PREFERRED_PORTS}
    wanted = {name: holder.getsockname()[1] for name, holder in holders.items()}
    for holder in holders.values():
        holder.close()
    runs = [another_run(tmp_path / name, preferred_ports=wanted) for name in ("one", "two")]
    with runs[0] as one, runs[1] as two, ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda run: run.start(quiet), runs)
        assert first.kafka_bootstrap != second.kafka_bootstrap
        assert not {first.postgres_port, first.redis_port} & {second.postgres_port, second.redis_port}
        assert one.fallen() == two.fallen() == []


def test_a_run_follows_its_ports_when_its_old_ones_are_taken(tmp_path):
    with another_run(tmp_path, preferred_ports=dict.fromkeys(PREFERRED_PORTS, 0)) as engines:
        bootstrap = engines.start(quiet).kafka_bootstrap
        create_topic(bootstrap, "kept")
        produce(bootstrap, "kept", b"kept")
    ports = json.loads((tmp_path / "ports.json").read_text())
    holders = [socket.create_server(("127.0.0.1", port)) for port in ports.values()]
    with another_run(tmp_path, preferred_ports=ports) as engines:
        moved = engines.start(quiet).kafka_bootstrap
        assert moved != bootstrap
        assert consume(moved, "kept") == [b"kept"]
    for holder in holders:
        holder.close()


def test_a_folder_in_use_is_refused_at_once_with_the_user_s_process(engines):
    started = time.monotonic()
    with (
        another_run(engines._folder.path) as second,
        pytest.raises(EnergyError, match=rf"process {os.getpid()}\b"),
    ):
        second.start(quiet)
    assert time.monotonic() - started < 2
    assert engines.fallen() == []


@pytest.mark.parametrize("guard_too", [False, True])
def test_engines_of_a_killed_parent_end_and_the_folder_starts_again(tmp_path, guard_too):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE)
    facts = json.loads(parent.stdout.readline())
    with redis.Redis(port=facts["redis_port"], password="r") as client:
        client.set("key", "kept")
    if guard_too:
        os.kill(facts["guard"], signal.SIGKILL)
    parent.kill()
    parent.communicate()
    if not guard_too:
        assert gone([*facts["pids"].values(), facts["guard"]], within_s=20)
    with another_run(tmp_path) as again:
        endpoints = again.start(quiet)
        assert gone(facts["pids"].values(), within_s=0)
        with redis.Redis(port=endpoints.redis_port, password="r") as client:
            assert client.get("key") == b"kept"


def test_ctrl_c_while_starting_leaves_nothing_running(tmp_path):
    # A shell's background job, as which the tests may run, and its children would not heed SIGINT.
    heeding = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program = heeding + PARENT.replace("lambda line: None", "lambda line: print(line, flush=True)")
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while parent.stdout.readline() != b"Kafka: starting\n":
        pass
    parent.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in parent.communicate(timeout=30)[1]
    # None: a process that ended while it was looked at.
    assert not [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(p.info["cmdline"] or ())]


def test_ctrl_c_in_the_terminal_reaches_the_parent_first(engines):
    for name in NAMES:
        assert os.getpgid(engines.pid(name)) != os.getpgid(0)


def test_another_postgres_password_than_the_folder_s_is_said_plainly(tmp_path):
    with another_run(tmp_path) as engines:
        engines.start(quiet)
    with another_run(tmp_path, postgres_password="other") as engines:
        with pytest.raises(EnergyError, match="another password"):
            engines.start(quiet)
        assert set(engines.fallen()) == set(NAMES)
