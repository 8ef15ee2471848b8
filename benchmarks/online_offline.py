"""Features as the predictor computes them (Redis) and as training does (Postgres): equal on random meter-hours?

    python -m benchmarks.online_offline --data DIR [--hours 1100] [--pairs 1000] [--seed 1]

Replays the first hours of a data folder through the real engines and services, then asks both for the same meters and
hours of the last week that the rings hold. Prints how many values were compared, how many differ, and by how much at
most; a value that only one side knows differs without end. 1 where any does.
"""

import argparse
import secrets
import sys
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import numpy as np
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Predictor.closed_hours import ClosedHour
from Predictor.forecasting.features import build_features
from Predictor.forecasting.snapshot import Floats32, Snapshot
from Predictor.prediction_processing import PredictionProcessing
from Setup.embedded.engines import PREFERRED_PORTS, Engines
from Setup.embedded.services import SENSOR
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import Stop
from Setup.postgres import Role, connect
from Setup.publisher import Publisher
from Setup.redis_client import SERVICE_USERS, RedisUser, make_client
from Setup.settings import Settings
from tests.faults.stack import STEADY, Stack, service_of, wait_until
from Training_scripts.sources import history_of_warehouse

WITHIN_S = 1800.0
MeterHours = dict[int, set[tuple[int, int]]]
"""Building ids and meter codes by step of the origin."""


def keys_of(snapshot: Snapshot) -> list[tuple[int, int]]:
    """Building id and meter code of each row."""
    return list(zip(snapshot.meters.building_id.tolist(), snapshot.meters.meter.tolist(), strict=True))


def features_of(snapshot: Snapshot, wanted: list[tuple[int, int]]) -> Floats32:
    """All features of some meters, a row each."""
    matrix, place = build_features(snapshot), {key: row for row, key in enumerate(keys_of(snapshot))}
    columns = [getattr(matrix, field.name).reshape(len(place), -1) for field in fields(matrix)]
    return np.hstack(columns)[[place[key] for key in wanted]]


def draw(connection: Connection, settings: Settings, pairs: int, seed: int) -> MeterHours:
    """Random meters at random hours of those that the rings still hold in full."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT building_id, meter, issued_at FROM forecasts"
            " WHERE issued_at > (SELECT max(issued_at) FROM forecasts) - %s * interval '1 hour' ORDER BY 1, 2, 3",
            (settings.predictor_lag_h,),
        )
        held = cursor.fetchall()
    chosen = np.random.default_rng(seed).choice(len(held), min(pairs, len(held)), replace=False)
    drawn: MeterHours = defaultdict(set)
    for building_id, meter, issued_at in (held[index] for index in chosen):
        drawn[settings.interval.step_of(issued_at)].add((building_id, meter))
    return drawn


def compare(settings: Settings, drawn: MeterHours) -> int:
    """Print the comparison; returns how many values differ."""
    client, stop = make_client(settings, RedisUser.PREDICTOR), Stop()
    with closing(connect(settings, Role.TRAINER)) as trainer:
        history = history_of_warehouse(trainer, settings.interval)
    compared = differing = 0
    largest = 0.0
    with closing(Publisher(settings, "benchmark", stop, user=KafkaUser.PREDICTOR)) as publisher:
        served = PredictionProcessing(settings, client, publisher)
        for step, meters in sorted(drawn.items()):
            wanted = sorted(meters)
            online = features_of(served.snapshot(ClosedHour(b"", step, settings.interval.end_of(step))), wanted)
            offline = features_of(history.snapshot(step), wanted)
            differs = (online != offline) & ~(np.isnan(online) & np.isnan(offline))
            compared, differing = compared + differs.size, differing + int(differs.sum())
            if differs.any():
                largest = max(largest, float(np.nan_to_num(abs(online - offline)[differs], nan=np.inf).max()))
    meter_hours = sum(map(len, drawn.values()))
    print(f"{meter_hours} meter-hours of {len(drawn)} origins: {compared} values compared, {differing} differ, "
          f"by {largest:g} at most")  # fmt: skip
    return differing


def main() -> int:
    """Replay and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="data folder")
    parser.add_argument("--hours", type=int, metavar="N", default=1100, help="hours to replay (%(default)s)")
    parser.add_argument("--pairs", type=int, metavar="N", default=1000, help="meter-hours to compare (%(default)s)")
    parser.add_argument("--seed", type=int, metavar="N", default=1, help="seed of their draw (%(default)s)")
    options = parser.parse_args()
    password, sensor = secrets.token_hex(), SENSOR.with_arguments("--hours", str(options.hours))
    with tempfile.TemporaryDirectory() as folder, Engines(
        Path(folder) / "engines", postgres_password=password, database="energy", redis_password=password,
        redis_users=dict.fromkeys(SERVICE_USERS, password), preferred_ports=dict.fromkeys(PREFERRED_PORTS, 0),
    ) as engines:  # fmt: skip
        engines.start(lambda _line: None)
        services = [sensor, *map(service_of, STEADY)]
        changes = {"data_dir": options.data.resolve(), "history_h": Settings.model_fields["history_h"].default}
        with Stack(engines, password, Path(folder) / "run", services, **changes) as stack:
            stack.prepare()
            stack.start()
            wait_until(lambda: stack.is_done(SENSOR.name) and stack.is_quiet(), stack, "all forecasts", WITHIN_S)
            with closing(stack.connect()) as connection:
                drawn = draw(connection, stack.settings, options.pairs, options.seed)
            return int(compare(stack.settings, drawn) > 0)


if __name__ == "__main__":
    sys.exit(main())
