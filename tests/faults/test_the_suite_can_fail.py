"""The checker names every kind of damage, and a consumer without its guard is found out."""

import random
import threading
import time

from tests.faults.checker import SLOT, check
from tests.faults.conftest import MARKS
from tests.faults.faults import variant
from tests.faults.publishing import PublishingThread
from tests.faults.running import PACE_S, started
from tests.faults.stack import Stack, service_of, wait_until
from tests.faults.stream import Stream
from tests.faults.variants import TOOK

pytestmark = MARKS
HOURS = 24
LAST_HOURS, SETTLED_AFTER_S = 5, 6.0
"""Without the guard, offsets may have gone back, or past what was dropped: what comes in peace puts them right."""
DAMAGE = {
    "DELETE FROM readings WHERE building_id = 0 AND \"timestamp\" = '2016-09-02 01:00+00'": ("lost", "readings"),
    "INSERT INTO readings VALUES (0, 3, '2016-09-02', 1, '2016-09-02 01:00+00')": ("doubled", "readings"),
    "UPDATE readings SET meter_reading_kwh = 1 WHERE building_id = 20 AND meter = 0": ("wrong", "readings"),
    "DELETE FROM reading_revisions": ("lost", "revisions"),
    "INSERT INTO reading_revisions VALUES (0, 0, '2016-09-02 05:00', '2016-09-02 06:00', 1)": ("doubled", "revisions"),
    "UPDATE site_totals SET energy_kwh = energy_kwh + 1 WHERE site_id = 1": ("wrong", "site_totals"),
    "UPDATE site_totals SET meters_reported = meters_reported + 1 WHERE site_id = 2": ("wrong", "site_totals"),
    "DELETE FROM dead_letters": ("lost", "dead_letters"),
    "DELETE FROM forecasts WHERE building_id = 21 AND issued_at = '2016-09-02 03:00+00'": ("lost", "meter-hours"),
    "UPDATE forecasts SET made_at = made_at + interval '1 s' WHERE building_id = 22": ("wrong", "forecasts"),
    "DELETE FROM aggregate_forecasts WHERE site_id IS NULL": ("lost", "total-hours"),
    "UPDATE weather SET air_temperature_c = 0 WHERE site_id = 1": ("wrong", "weather"),
    "UPDATE meters SET first_seen = first_seen + interval '1 h'": ("wrong", "first_seen"),
    "UPDATE consumer_offsets SET next_offset = next_offset + 1": ("wrong", "offsets"),
    "INSERT INTO data_gaps VALUES ('t', 0, 1, 2)": ("doubled", "gaps"),
}


def test_the_checker_names_every_damage(make_stack, seed):
    stream = Stream(seed, HOURS)
    stack = make_stack()
    before = started(stack, stream)
    PublishingThread(stream, stack.settings, 0.0).finish()
    wait_until(stack.is_quiet, stack, "quiet")
    assert check(stack, before)[0].is_clean()
    for statement in DAMAGE:
        _execute(stack, statement)
    stack.redis.delete("energy:ring:0:0")
    place = int(stream.start_of(0).timestamp()) // 3600 % stack.settings.ring_steps * SLOT.size
    for ring in ("900:0", "1:0"):  # building 900 has nothing at that hour
        stack.redis.setrange(f"energy:ring:{ring}", place, SLOT.pack(stream.start_of(0).timestamp() // 3600, 1.0, 1.0))
    findings, _, _ = check(stack, before)
    found = {(kind, table) for kind in ("lost", "doubled", "wrong") for table in getattr(findings, kind)}
    assert found >= {*DAMAGE.values(), ("lost", "rings"), ("doubled", "rings"), ("wrong", "rings")}


def _execute(stack: Stack, statement: str) -> None:
    connection = stack.connect()
    with connection.cursor() as cursor:
        cursor.execute(statement)
        assert cursor.rowcount > 0, statement
    connection.close()


def come_and_go(stack: Stack, rng: random.Random) -> None:
    """A further consumer joins the group for a moment, which takes and returns partitions."""
    stack.add(guest := variant("unguarded", "postgre_consumer", rng.randrange(2, 10**6)))
    log = stack.logs / f"{guest.name}.log"
    wait_until(lambda: log.exists() and TOOK in log.read_text(), stack, "a guest's partitions")
    time.sleep(rng.uniform(1, 2))
    child = stack.child(guest.name)
    child.terminate()
    child._process.wait(timeout=60)


def test_without_the_offset_guard_readings_are_lost(make_stack, seed):
    services = [service_of("predictor"), service_of("redis_consumer"), variant("unguarded", "postgre_consumer")]
    stack, stream, rng, is_calm = make_stack(services), Stream(seed, 140), random.Random(seed), threading.Event()
    before = started(stack, stream)
    publishing = PublishingThread(
        stream, stack.settings, PACE_S, lambda hour: is_calm.is_set() or hour < stream.hours - LAST_HOURS
    )
    try:
        wait_until(lambda: stack.has_forecast(stream.start_of(0)), stack, "the first forecasts")
        for _ in range(6):
            time.sleep(rng.uniform(0, 2))
            come_and_go(stack, rng)
        time.sleep(SETTLED_AFTER_S)
        is_calm.set()
        publishing.finish()
    finally:
        publishing.give_up()
    wait_until(stack.is_quiet, stack, "quiet")
    findings, _, _ = check(stack, before)
    print(f"unguarded, seed {seed}:\n{findings}")
    assert findings.lost["readings"]
