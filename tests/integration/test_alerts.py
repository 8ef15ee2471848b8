"""Grafana's alerts on a real database: calm while all is well, and each fires at the trouble that it is for."""

import pytest
import yaml

from Setup.postgres import Role, connect, run_script
from tests.integration.grafana_sql import GRAFANA
from tests.integration.test_dashboards import SEED, ask, check_series

pytestmark = [pytest.mark.integration, pytest.mark.warehouse]

(GROUP,) = yaml.safe_load((GRAFANA / "provisioning/alerting/pipeline.yaml").read_text())["groups"]
RULES = {rule["uid"]: rule for rule in GROUP["rules"]}

TROUBLES = {
    "one partition stands still": (
        "energy-stalled",
        "UPDATE consumer_offsets SET stored_at = now() - interval '121 minutes' WHERE partition = 1",
    ),
    "one partition falls behind": (
        "energy-lag",
        "UPDATE consumer_offsets SET clock = clock - interval '7 hours' WHERE partition = 1 AND clock IS NOT NULL",
    ),
    "all partitions fall behind": (
        "energy-lag",
        "UPDATE consumer_offsets SET arrived_at = stored_at - interval '7 hours'",
    ),
    "forecasts fall behind": (
        "energy-lag",
        "DELETE FROM aggregate_forecasts WHERE issued_at > '2016-09-03 16:00Z'",
    ),
    "nothing was ever forecast": ("energy-lag", "DELETE FROM aggregate_forecasts"),
    "a dead letter comes": (
        "energy-dead-letters",
        "UPDATE dead_letters SET noticed_at = now() - interval '14 minutes'",
    ),
    "one meter is forgotten": (
        "energy-missing-forecasts",
        "DELETE FROM forecasts WHERE building_id = 2 AND issued_at = '2016-09-03 21:00Z'",
    ),
}


@pytest.fixture
def reader(settings, postgres):
    """Grafana's login on a warehouse in which all is well."""
    run_script(postgres, SEED)
    run(postgres, "UPDATE dead_letters SET noticed_at = now() - interval '16 minutes'")
    connection = connect(settings, Role.GRAFANA)
    connection.autocommit = True
    yield connection
    connection.close()


def run(postgres, statement):
    with postgres.cursor() as cursor:
        cursor.execute(statement)


def fires(reader, uid):
    """What Grafana makes of a rule: the newest value of one series, held against the limit."""
    query, reduce, threshold = (part["model"] for part in RULES[uid]["data"])
    answer = ask(reader, query["rawSql"])
    check_series(answer)
    assert answer.took_s < 1
    assert (reduce["type"], reduce["reducer"], reduce["expression"]) == ("reduce", "last", query["refId"])
    (name,) = set(answer.columns) - {"time"}
    (evaluator,) = (condition["evaluator"] for condition in threshold["conditions"])
    assert (threshold["expression"], evaluator["type"]) == (reduce["refId"], "gt")
    return answer.rows[-1][name] > evaluator["params"][0]


def test_every_alert_has_a_trouble_that_it_is_for():
    assert {uid for uid, _ in TROUBLES.values()} == set(RULES)


@pytest.mark.parametrize("trouble", TROUBLES)
def test_an_alert_is_calm_until_its_trouble_comes_and_no_other_fires(reader, postgres, trouble):
    uid, statement = TROUBLES[trouble]
    assert [rule for rule in RULES if fires(reader, rule)] == []
    run(postgres, statement)
    assert [rule for rule in RULES if fires(reader, rule)] == [uid]


def test_a_new_pipeline_raises_no_alarm_until_nothing_has_come_for_hours(settings, postgres):
    with connect(settings, Role.GRAFANA) as reader:
        assert [rule for rule in RULES if fires(reader, rule)] == []
        run(postgres, "UPDATE schema_migrations SET applied_at = applied_at - interval '3 hours'")
        reader.rollback()
        assert [rule for rule in RULES if fires(reader, rule)] == ["energy-stalled"]
    reader.close()


def test_a_retired_meter_and_one_that_comes_later_are_not_missed(reader, postgres):
    run(postgres, "UPDATE meters SET retired_at = '2016-09-03 20:00Z' WHERE building_id = 2")
    run(postgres, "DELETE FROM forecasts WHERE building_id = 2 AND issued_at >= '2016-09-03 20:00Z'")
    run(postgres, "INSERT INTO meters (building_id, meter, first_seen) VALUES (9, 0, '2016-09-03 22:00Z')")
    assert not fires(reader, "energy-missing-forecasts")
