"""Whatever breaks while a stream runs through the pipeline, its tables end as if nothing had."""

import random
import time
from collections import Counter

import pytest

from Setup.embedded.services import SENSOR
from tests.faults.checker import check
from tests.faults.conftest import HOURS, MARKS
from tests.faults.faults import FAULTS, can_mount
from tests.faults.running import PACE_S, Outcome, run, started
from tests.faults.stack import wait_until
from tests.faults.stream import CALM_HOURS, FIRST_HOUR, HOUR, Stream
from tests.faults.tables import Table

pytestmark = MARKS


def test_an_undisturbed_run_holds_what_its_topics_say(undisturbed, seed):
    assert undisturbed.findings.is_clean(), f"seed {seed}\n{undisturbed.findings}"
    assert undisturbed.expected.revisions
    assert undisturbed.expected.dead_letters


@pytest.mark.parametrize("name", FAULTS)
def test_nothing_is_lost_and_nothing_doubled(name, make_stack, undisturbed, seed):
    fault = FAULTS[name]
    if name == "disk_full" and not can_mount():
        pytest.skip("a small disk can be mounted by root only")
    stack = make_stack(fault.services)
    outcome = run(stack, Stream(seed, HOURS), fault)
    print(f"{name}, seed {seed}: recovered after {outcome.recovered_after_s} s, {outcome.published_again} sent again")
    assert outcome.findings.is_clean(), f"{name}, seed {seed}\n{outcome.findings}"
    assert_tables_equal(outcome, undisturbed)
    if not fault.forgets:
        assert_calm_issues_equal(outcome, undisturbed)


def assert_tables_equal(outcome: Outcome, undisturbed: Outcome) -> None:
    for table in ("readings", "revisions", "first_seen", "site_totals", "weather", "weather_forecasts"):
        assert getattr(outcome.found, table) == getattr(undisturbed.found, table), table
    assert payloads(outcome) == payloads(undisturbed)


def assert_calm_issues_equal(outcome: Outcome, undisturbed: Outcome) -> None:
    for table in ("forecasts", "aggregates", "decisions"):
        assert calm_issues(getattr(outcome.found, table)) == calm_issues(getattr(undisturbed.found, table)), table


def calm_issues(issues: Table) -> Table:
    """What depends on no late reading, without the moment at which it was made."""
    disturbed_from = FIRST_HOUR + CALM_HOURS * HOUR
    return {key: row[1:] for key, row in issues.items() if key[2] < disturbed_from}


def payloads(outcome: Outcome) -> Counter:
    """Dead letters without their place, which a second sending moves."""
    return Counter((consumer, payload) for consumer, _, payload in outcome.found.dead_letters.values())


def test_a_sensor_that_is_killed_publishes_every_row_of_its_file(make_stack, seed):
    sensor = SENSOR.with_arguments("--pace", str(PACE_S))
    stack, stream, rng = make_stack(), Stream(seed, HOURS), random.Random(seed)
    before = started(stack, stream)
    stack.add(sensor)
    for _ in range(2):
        wait_until(lambda: bool(stack.end_offsets()[stack.settings.topic_postgre, 0]), stack, "the first update")
        time.sleep(rng.uniform(1, 4))
        stack.process(sensor.name).kill()
        stack.process(sensor.name)
    wait_until(lambda: stack.is_done(sensor.name), stack, "the end of the file")
    wait_until(stack.is_quiet, stack, "quiet")
    findings, _, found = check(stack, before)
    assert findings.is_clean(), f"seed {seed}\n{findings}"
    versions = {(*key, *version) for key, version in found.readings.items()} | found.revisions.keys()
    assert set(stream.replayed_versions()) <= versions
