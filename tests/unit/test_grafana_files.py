"""The files that Grafana is provisioned from hang together."""

import json
import re

import pytest
import yaml

from Setup.postgres import Role
from tests.integration.grafana_sql import DASHBOARDS, GRAFANA, expand

SOURCE = {"type": "grafana-postgresql-datasource", "uid": "energy-postgres"}
PANELS = [
    pytest.param(panel, id=f"{page}: {panel['title']}")
    for page, dashboard in DASHBOARDS.items()
    for panel in dashboard["panels"]
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$__timeFilter(at)", "at BETWEEN '2016-09-01T00:00:00Z' AND '2016-09-06T00:00:00Z'"),
        ("$__timeFrom()::timestamptz", "'2016-09-01T00:00:00Z'::timestamptz"),
        ("$__timeGroup(at, '6h') x", "floor(extract(epoch from at)/21600)*21600 x"),
        ("$__timeGroup(at, 5m), x", 'floor(extract(epoch from at)/300)*300 AS "time", x'),
        ("$__timeGroupAlias(at, $__interval)", 'floor(extract(epoch from at)/3600)*3600 AS "time"'),
        ("$__unixEpochFilter(s)", "s >= 1472688000 AND s <= 1473120000"),
        ("$one, ${one}, ${one:sqlstring}, ${one:csv}", "it''s, it''s, 'it''s', it's"),
        ("$many, ${many:csv}", "'1','24', 1,24"),
    ],
)
def test_interpolation_is_grafanas(text, expected):
    assert expand(text, {"one": "it's", "many": ["1", "24"]}) == expected


def test_identifiers_are_unique_and_links_lead_to_them():
    uids = [dashboard["uid"] for dashboard in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids) == 3
    for dashboard in DASHBOARDS.values():
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(numbers)) == len(numbers)
        assert set(re.findall(r'"/d/([\w-]+)/', json.dumps(dashboard))) <= set(uids)


@pytest.mark.parametrize("panel", PANELS)
def test_every_panel_has_a_title_a_description_and_sql_on_the_one_source(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["targets"]
    for query in panel["targets"]:
        assert query["datasource"] == panel["datasource"] == SOURCE
        assert query["rawSql"].startswith(("SELECT", "WITH"))


@pytest.mark.parametrize("page", DASHBOARDS)
def test_panels_do_not_overlap(page):
    cells = [
        (x, y)
        for panel in DASHBOARDS[page]["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("page", DASHBOARDS)
def test_variables_and_annotations_use_the_one_source(page):
    dashboard = DASHBOARDS[page]
    queries = [v for v in dashboard["templating"]["list"] if v["type"] == "query"]
    queries += [a for a in dashboard["annotations"]["list"] if not a.get("builtIn")]
    assert all(query["datasource"] == SOURCE for query in queries)


def test_the_source_is_provisioned_with_the_readers_role_and_no_password():
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/postgres.yaml").read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == SOURCE
    assert source["user"] == Role.GRAFANA.value[0]
    assert source["secureJsonData"]["password"] == f"${Role.GRAFANA.value[1].upper()}"
    assert source["editable"] is False


def test_dashboards_are_provisioned_from_files_and_not_changed_in_the_browser():
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/energy.yaml").read_text())["providers"]
    assert (provider["folder"], provider["allowUiUpdates"]) == ("Energy", False)
    assert all(dashboard["editable"] is False for dashboard in DASHBOARDS.values())


def alert_rules():
    (group,) = yaml.safe_load((GRAFANA / "provisioning/alerting/pipeline.yaml").read_text())["groups"]
    assert (group["folder"], group["orgId"]) == ("Energy", 1)
    return group["rules"]


def test_alerts_ask_the_one_source_and_lead_to_a_panel():
    rules = alert_rules()
    assert len({rule["uid"] for rule in rules}) == len({rule["title"] for rule in rules}) == 4
    panels = {
        (dashboard["uid"], str(p["id"])): p["title"] for dashboard in DASHBOARDS.values() for p in dashboard["panels"]
    }
    for rule in rules:
        query, *expressions = rule["data"]
        assert (query["model"]["datasource"], query["datasourceUid"]) == (SOURCE, SOURCE["uid"])
        assert query["model"]["format"] == "time_series"
        assert {part["datasourceUid"] for part in expressions} == {"__expr__"}
        assert [part["refId"] for part in rule["data"]] == [part["model"]["refId"] for part in rule["data"]]
        assert rule["condition"] == rule["data"][-1]["refId"]
        assert (rule["annotations"]["__dashboardUid__"], rule["annotations"]["__panelId__"]) in panels
        assert rule["annotations"]["summary"].endswith(".")


def test_grafana_leaves_the_alerts_as_they_are():
    """It replaces $NAME by the environment's in provisioned files, and $$ by a dollar sign."""
    text = (GRAFANA / "provisioning/alerting/pipeline.yaml").read_text()
    assert "$" in text
    assert "$" not in text.replace("$$", "")
