"""Settings: precedence, and errors that name the variable and show no secret."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
from dotenv import dotenv_values

from Sensor_core.errors import SettingsError
from Setup.settings import Settings, load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path


def test_the_environment_decides_before_env_local_and_that_before_env(empty_folder, monkeypatch):
    (empty_folder / ".env").write_text("POSTGRES_DB=a\nREDIS_HOST=a\nKAFKA_PARTITIONS=7\n")
    (empty_folder / ".env.local").write_text("POSTGRES_DB=b\nREDIS_HOST=b\n")
    monkeypatch.setenv("POSTGRES_DB", "c")
    settings = load_settings()
    assert (settings.postgres_db, settings.redis_host, settings.kafka_partitions) == ("c", "b", 7)


def test_an_unknown_variable_is_an_error_that_shows_no_secret(empty_folder):
    (empty_folder / ".env").write_text("POSTGRES_PASSWROD=hunter2\n")
    with pytest.raises(SettingsError, match="POSTGRES_PASSWROD is not a setting") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("variable", ["KAFKA_PARTITONS", "kafka_partition", "KAFKA_PARTITION_S"])
def test_a_slip_in_the_environment_is_an_error_that_says_what_was_meant(monkeypatch, variable):
    monkeypatch.setenv(variable, "6")
    with pytest.raises(SettingsError, match=rf"{variable} is not a setting \(did you mean KAFKA_PARTITIONS\?\)"):
        load_settings()


def test_other_programs_variables_are_none_of_ours(monkeypatch):
    for variable in ("KAFKA_HOME", "POSTGRES_PASSWORD_FILE", "REDIS_URL", "LOGLEVEL", "DATADIR", "PATH"):
        monkeypatch.setenv(variable, "elsewhere")
    assert load_settings() == Settings(_env_file=None)


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("METER_INTERVAL_S", "7", "divide the hour"),
        ("POSTGRES_PORT", "70000", "65535"),
        ("KAFKA_PARTITIONS", "many", "integer"),
        ("LOG_FORMAT", "xml", "json"),
        ("HISTORY_H", "336", "840"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_its_variable(monkeypatch, variable, value, complaint):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"{variable}: .*{complaint}"):
        load_settings()


def test_env_names_exactly_the_settings():
    assert {name.lower() for name in dotenv_values(ROOT / ".env")} == set(Settings.model_fields)


def test_env_says_of_each_setting_what_it_means():
    lines = (ROOT / ".env").read_text().splitlines()
    bare = [line for above, line in pairwise(lines) if re.match(r"\w+=", line) and not re.match(r"# [^-]", above)]
    assert bare == []


def test_the_readme_names_exactly_the_settings():
    table = re.findall(r"^\| `([A-Z0-9_]+)`", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {name.lower() for name in table} == set(Settings.model_fields)


def test_env_has_the_defaults_that_it_claims():
    """Only passwords, and what a demonstration wants, differ from the defaults in the code."""
    given = Settings(_env_file=ROOT / ".env")
    different = {
        name for name in Settings.model_fields if getattr(given, name) != getattr(Settings(_env_file=None), name)
    }
    assert all(name.endswith("password") for name in different)
