"""Kafka to Postgres on a backlog: our consumer, a bare kafka-python loop, and Quix Streams' PostgreSQLSink.

    python benchmarks/warehouse_backlog.py [--readings 500000] [--rounds 3] [--quix-python PYTHON]

Each contender is a process of its own that reads the same topic from its start into an emptied table; rounds are
interleaved, so that a ratio holds while the machine's speed drifts. The clock runs from the making of the
consumer to the last committed row, and all must have stored the same readings. The buildings are known ones, so
that our consumer keeps its hourly site totals too. Quix Streams wants other versions of some packages than we do:
give it an environment of its own (``python -m venv q; q/bin/pip install "quixstreams[postgresql]"``) and name that
Python here.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

TOPIC = "energy_consumption_postgre"
LOOK_EVERY_S = 0.05
BARE_BATCH = 20_000
METERS, SITES = 1_000, 16
ROOT = Path(__file__).resolve().parent.parent


def fill_topic(readings: int) -> int:
    """Publish seeded readings with 1 % duplicates and 1 % corrections; returns the number of messages."""
    from Sensor_core.reading import READING_SCHEMA, meter_key
    from Setup.publisher import Publisher
    from Setup.settings import load_settings

    random.seed(1)
    start = datetime(2016, 1, 1, tzinfo=UTC)
    publisher = Publisher(load_settings(), "benchmark")
    sent = 0
    for number in range(readings):
        hour, building = divmod(number, METERS)
        timestamp = start + timedelta(hours=hour)
        message = {
            "building_id": building,
            "meter": 0,
            "timestamp": f"{timestamp:%Y-%m-%dT%H:%M:%SZ}",
            "meter_reading": round(random.uniform(0, 500), 3),
            "known_at": f"{timestamp + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        }
        versions = [message]
        luck = random.random()
        if luck < 0.01:
            versions.append(message)
        elif luck < 0.02:
            correction = {"meter_reading": 1.0, "known_at": f"{timestamp + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"}
            versions.append(message | correction)
        for version in versions:
            value = json.dumps(version).encode()
            publisher.send(TOPIC, value, key=meter_key(building, 0), schema=READING_SCHEMA)
            sent += 1
    publisher.flush()
    publisher.close()
    return sent


def run_ours(messages: int) -> float:
    """The product's service, stopped once its offsets say that all is stored."""
    from Consumers.postgre_consumer import run
    from Setup.postgres import Role, connect
    from Setup.settings import load_settings

    settings, stop, ended = load_settings(), threading.Event(), []
    started = time.monotonic()

    def watch() -> None:
        connection = connect(settings, Role.ADMIN)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while True:
                cursor.execute("SELECT coalesce(sum(next_offset), 0) FROM consumer_offsets WHERE topic = %s", (TOPIC,))
                if cursor.fetchone()[0] == messages:
                    ended.append(time.monotonic())
                    stop.set()
                    return
                time.sleep(LOOK_EVERY_S)

    threading.Thread(target=watch, daemon=True).start()
    run(settings, stop)
    return ended[0] - started


def run_bare(messages: int) -> float:
    """What anyone would write first: poll, json, COPY, upsert, commit."""
    import io

    from kafka import KafkaConsumer

    from Setup.postgres import Role, connect
    from Setup.settings import load_settings

    settings = load_settings()
    connection = connect(settings, Role.ADMIN)
    cursor = connection.cursor()
    cursor.execute(
        "CREATE TEMP TABLE staged (building_id int, meter int, ts timestamptz, kwh float8, known_at timestamptz)"
        " ON COMMIT DELETE ROWS"
    )
    connection.commit()
    started = time.monotonic()
    consumer = KafkaConsumer(
        TOPIC, bootstrap_servers=settings.kafka_bootstrap_servers, group_id=f"bare-{time.time()}",
        enable_auto_commit=False, auto_offset_reset="earliest", max_poll_records=2000,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    seen, lines = 0, []
    while seen < messages:
        for batch in consumer.poll(timeout_ms=100).values():
            for record in batch:
                r = json.loads(record.value)
                fields = (r["building_id"], r["meter"], r["timestamp"], r["meter_reading"], r["known_at"])
                lines.append("%s\t%s\t%s\t%s\t%s\n" % fields)  # noqa: UP031 - the fastest
            seen += len(batch)
        if len(lines) >= BARE_BATCH or seen == messages:
            cursor.copy_expert("COPY staged FROM stdin", io.StringIO("".join(lines)))
            cursor.execute(
                "INSERT INTO bare_readings AS r SELECT DISTINCT ON (building_id, meter, ts) * FROM staged"
                " ORDER BY building_id, meter, ts, known_at DESC, kwh DESC"
                " ON CONFLICT (building_id, meter, ts) DO UPDATE SET kwh = excluded.kwh, known_at = excluded.known_at"
                " WHERE (r.known_at, r.kwh) < (excluded.known_at, excluded.kwh)"
            )
            connection.commit()
            consumer.commit()
            lines = []
    return time.monotonic() - started


def run_quix(messages: int) -> float:
    """Quix Streams with its PostgreSQLSink in upsert mode (this function runs in Quix's own environment)."""
    from quixstreams import Application
    from quixstreams.sinks.community.postgresql import PostgreSQLSink

    started = time.monotonic()
    sink = PostgreSQLSink(
        host=os.environ["POSTGRES_HOST"], port=int(os.environ["POSTGRES_PORT"]), dbname=os.environ["POSTGRES_DB"],
        user="postgres", password=os.environ["POSTGRES_PASSWORD"], table_name="quix_readings",
        schema_auto_update=False, primary_key_columns=["building_id", "meter", "ts"], upsert_on_primary_key=True,
    )  # fmt: skip
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"], consumer_group=f"quix-{time.time()}",
        auto_offset_reset="earliest", auto_create_topics=False, commit_every=BARE_BATCH,
        state_dir=tempfile.mkdtemp(prefix="quix-"),
    )  # fmt: skip
    frame = app.dataframe(app.topic(TOPIC, value_deserializer="json"))
    frame = frame.apply(
        lambda r: {"building_id": r["building_id"], "meter": r["meter"], "ts": r["timestamp"],
                   "kwh": r["meter_reading"], "known_at": r["known_at"]}
    )  # fmt: skip
    frame.sink(sink)
    app.run(count=messages)
    return time.monotonic() - started


def empty_tables() -> None:
    """Every contender starts with an empty table of its own shape."""
    from Setup.postgres import Role, connect
    from Setup.settings import load_settings

    connection = connect(load_settings(), Role.ADMIN)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE readings, reading_revisions, site_totals, meters, unknown_buildings, consumer_offsets;"
            "DROP TABLE IF EXISTS bare_readings, quix_readings;"
            "CREATE TABLE bare_readings (building_id int, meter int, ts timestamptz, kwh float8, known_at timestamptz,"
            " PRIMARY KEY (building_id, meter, ts));"
            "CREATE TABLE quix_readings (building_id int, meter int, ts timestamptz, kwh float8, known_at timestamptz,"
            ' "timestamp" timestamptz, __key text, PRIMARY KEY (building_id, meter, ts))'
        )
    connection.close()


def stored(name: str) -> tuple[int, Decimal]:
    """How many readings a contender has stored, and their sum."""
    from Setup.postgres import Role, connect
    from Setup.settings import load_settings

    table, column = {
        "ours": ("readings", "meter_reading_kwh"), "bare loop": ("bare_readings", "kwh"),
        "Quix Streams": ("quix_readings", "kwh"),
    }[name]  # fmt: skip
    connection = connect(load_settings(), Role.ADMIN)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*), sum({column}::numeric) FROM {table}")
        count, total = cursor.fetchone()
    connection.close()
    return count, total


def contend(name: str, python: str, messages: int) -> float:
    """Run one contender in a process of its own; returns messages a second."""
    empty_tables()
    command = [python, __file__, "--contender", name, "--messages", str(messages)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    return messages / float(output.strip().splitlines()[-1])


def compare(readings: int, rounds: int, quix_python: str | None) -> None:
    """Interleave the contenders and print the table."""
    messages = fill_topic(readings)
    contenders = {"ours": sys.executable, "bare loop": sys.executable}
    if quix_python:
        contenders["Quix Streams"] = quix_python
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    outcomes = set()
    for number in range(rounds):
        for name, python in contenders.items():
            rates[name].append(contend(name, python, messages))
            print(f"round {number + 1}: {name:<13} {rates[name][-1]:>9,.0f} messages/s", flush=True)
            outcomes.add(stored(name))
            if len(outcomes) > 1 or {count for count, _ in outcomes} != {readings}:
                sys.exit(f"{name} has not stored the same {readings:,} readings: {outcomes}")
    print(f"\n{messages:,} messages of {readings:,} readings, {rounds} rounds; median, and ratio to the bare loop:")
    for name, values in rates.items():
        ratios = [ours / bare for ours, bare in zip(values, rates["bare loop"], strict=True)]
        print(f"{name:<13} {statistics.median(values):>9,.0f} messages/s   {statistics.median(ratios):.2f}")


def prepare() -> None:
    """Migrate the database, list the buildings, and create the topics."""
    from Setup.kafka_initialization import wait_for_topics
    from Setup.postgres import Role, connect, migrate, set_passwords
    from Setup.settings import load_settings

    settings = load_settings()
    connection = connect(settings, Role.ADMIN)
    migrate(connection)
    connection.autocommit = False
    set_passwords(connection, settings)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO sites SELECT s, 'UTC', 0, 0, 'GB' FROM generate_series(1, %(sites)s) s;"
            "INSERT INTO buildings (building_id, site_id)"
            " SELECT b, 1 + b %% %(sites)s FROM generate_series(0, %(meters)s - 1) b",
            {"sites": SITES, "meters": METERS},
        )
    connection.close()
    wait_for_topics(settings)


def main() -> None:
    """Start the engines, prepare the tables, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readings", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quix-python", help="Python of an environment that has quixstreams[postgresql]")
    parser.add_argument("--contender", choices=["ours", "bare loop", "Quix Streams"], help=argparse.SUPPRESS)
    parser.add_argument("--messages", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        run = {"ours": run_ours, "bare loop": run_bare, "Quix Streams": run_quix}[options.contender]
        print(run(options.messages))
        return
    from Setup.embedded.engines import PREFERRED_PORTS, Engines
    from Setup.settings import load_settings

    settings = load_settings()
    with (
        tempfile.TemporaryDirectory() as state,
        Engines(
            Path(state),
            postgres_password=settings.postgres_password.get_secret_value(),
            database=settings.postgres_db,
            redis_password=settings.redis_password.get_secret_value(),
            preferred_ports=dict.fromkeys(PREFERRED_PORTS, 0),  # no stray client finds these
        ) as engines,
    ):
        endpoints = engines.start(lambda line: print(line, file=sys.stderr))
        os.environ |= {
            "KAFKA_BOOTSTRAP_SERVERS": endpoints.kafka_bootstrap,
            "POSTGRES_HOST": endpoints.postgres_host,
            "POSTGRES_PORT": str(endpoints.postgres_port),
            "POSTGRES_DB": settings.postgres_db,
            "POSTGRES_PASSWORD": settings.postgres_password.get_secret_value(),
        }
        prepare()
        compare(options.readings, options.rounds, options.quix_python)


if __name__ == "__main__":
    main()
