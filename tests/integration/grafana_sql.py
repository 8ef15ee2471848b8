"""The dashboards' files, and what Grafana makes of their SQL: first variables (browser), then macros (data source)."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

GRAFANA = Path(__file__).resolve().parents[2] / "config" / "grafana"
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in sorted((GRAFANA / "dashboards").glob("*.json"))}
FROM, TO = datetime(2016, 9, 1, tzinfo=UTC), datetime(2016, 9, 6, tzinfo=UTC)
"""The time range of the page."""

Values = dict[str, str | list[str]]
"""What is selected in each variable."""


def quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def interpolate(text: str, values: Values) -> str:
    """Replace $name, ${name} and ${name:format} as Grafana does for SQL; names it does not know stay as they are."""

    def replace(match: re.Match[str]) -> str:
        value = values.get(match["bare"] or match["name"])
        if value is None:
            return match[0]
        several = value if isinstance(value, list) else [value]
        match match["format"]:
            case "csv":
                return ",".join(several)
            case "sqlstring":
                return ",".join(map(quoted, several))
            case None:
                return ",".join(map(quoted, several)) if isinstance(value, list) else value.replace("'", "''")
        raise AssertionError(f"format {match['format']} has no place in SQL")

    return re.sub(r"\$(?P<bare>\w+)|\$\{(?P<name>\w+)(?::(?P<format>\w+))?\}", replace, text)


def interval_s(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[text[-1]]


def macro(name: str, arguments: list[str], following: str) -> str:
    start, end = (f"'{moment:%Y-%m-%dT%H:%M:%SZ}'" for moment in (FROM, TO))
    column = arguments[0]
    match name:
        case "__time":
            return f'{column} AS "time"'
        case "__timeFilter":
            return f"{column} BETWEEN {start} AND {end}"
        case "__timeFrom":
            return start
        case "__timeTo":
            return end
        case "__unixEpochFilter":
            return f"{column} >= {FROM.timestamp():.0f} AND {column} <= {TO.timestamp():.0f}"
        case "__timeGroup" | "__timeGroupAlias":
            step = interval_s(arguments[1].strip("'"))
            alias = ' AS "time"' if name == "__timeGroupAlias" or following == "," else ""
            return f"floor(extract(epoch from {column})/{step})*{step}{alias}"
    raise AssertionError(f"the data source has no macro ${name}")


def expand(text: str, values: Values, interval: str = "1h") -> str:
    text = interpolate(text, {**values, "__interval": interval, "__interval_ms": str(interval_s(interval) * 1000)})

    def replace(match: re.Match[str]) -> str:
        return macro(match[1], [part.strip() for part in match[2].split(",")], text[match.end() : match.end() + 1])

    expanded = re.sub(r"\$([_a-zA-Z0-9]+)\(([^\)]*)\)", replace, text)
    assert "$" not in expanded, f"Grafana would send this as it is: {expanded}"
    return expanded
