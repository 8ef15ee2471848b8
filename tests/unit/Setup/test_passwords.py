"""The demonstration's passwords open nothing beyond this machine, and no password is told to anyone who looks."""

import logging
from pathlib import Path

import pytest
from dotenv import dotenv_values

from Sensor_core.errors import SettingsError
from Setup.lifecycle import SETTINGS_ERROR, run_service
from Setup.passwords import DEMONSTRATION, is_this_machine, password_for, warning
from Setup.postgres import Role, connect
from Setup.redis_client import RedisUser, make_client
from Setup.settings import Settings
from Training_scripts import trainer

ROOT = Path(__file__).parents[3]
FIELDS = [name for name in Settings.model_fields if name.endswith("_password")]


def settings(**changes):
    return Settings(_env_file=None, **dict.fromkeys(FIELDS, "demo-known") | changes)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder whose .env has the demonstration's passwords and a server beyond this machine."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    (tmp_path / ".env").write_text("POSTGRES_HOST=db.example.com\nTRAINER_POSTGRES_PASSWORD=demo-trainer\n")
    return tmp_path


def test_every_password_of_env_is_known_for_what_it_is():
    given = {name: value for name, value in dotenv_values(ROOT / ".env").items() if name.endswith("_PASSWORD")}
    assert len(given) >= 9
    assert {name for name, value in given.items() if not value.startswith(DEMONSTRATION)} == {"GRAFANA_ADMIN_PASSWORD"}
    said = warning(Settings(_env_file=ROOT / ".env"))
    assert not [name for name in given if name not in said]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.0.1", "::1", "/run/postgresql", "postgres", "redis"])
def test_this_machine_and_the_network_of_compose_are_within_reach_of_its_user_only(host):
    assert is_this_machine(host)
    assert password_for(settings(), "redis_password", host) == "demo-known"


@pytest.mark.parametrize("host", ["db.example.com", "10.0.0.5", "0.0.0.0", "fe80::1", "postgres.example.com", "db"])
def test_anywhere_else_a_known_password_is_refused_by_the_name_of_its_variable(host):
    with pytest.raises(SettingsError, match=rf"^REDIS_PASSWORD is .* {host} is not this machine: `make secrets`"):
        password_for(settings(), "redis_password", host)
    assert password_for(settings(redis_password="own"), "redis_password", host) == "own"


@pytest.mark.parametrize("role", Role)
def test_no_role_of_postgres_logs_in_elsewhere_with_a_known_password(role):
    with pytest.raises(SettingsError, match=role.value[1].upper()):
        connect(settings(postgres_host="10.0.0.5"), role)


@pytest.mark.parametrize("user", RedisUser)
def test_no_user_of_redis_logs_in_elsewhere_with_a_known_password(user):
    with pytest.raises(SettingsError, match=user.value[1].upper()):
        make_client(settings(redis_host="10.0.0.5"), user)


def test_a_service_that_would_use_one_ends_with_a_line_that_names_it(elsewhere, capfd):
    assert trainer.main([]) == SETTINGS_ERROR
    said = capfd.readouterr().err
    assert "TRAINER_POSTGRES_PASSWORD is that of the demonstration" in said
    assert "Traceback" not in said


def test_known_passwords_are_warned_of_in_one_line_and_others_are_not():
    known = warning(settings(redis_password="own", predictor_redis_password=""))
    assert "\n" not in known
    assert "POSTGRES_PASSWORD" in known
    assert "REDIS_PASSWORD" not in known.replace("REDIS_CONSUMER_REDIS_PASSWORD", "")
    assert warning(Settings(_env_file=None, **dict.fromkeys(FIELDS, "own"))) is None


def test_a_service_warns_as_it_starts(elsewhere, capfd):
    assert run_service("service", lambda *_: None) == 0
    assert capfd.readouterr().err.count("make secrets") == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_crash_shows_no_password_though_its_text_has_all_settings(elsewhere, capfd, monkeypatch, style):
    monkeypatch.setenv("POSTGRES_PASSWORD", "hunter2")
    monkeypatch.setenv("LOG_FORMAT", style)

    def crash(settings, _stop):
        raise ValueError(f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}")

    assert run_service("service", crash) == 70
    said = capfd.readouterr().err
    assert "POSTGRES" in said.upper()
    assert "Traceback" in said
    assert not any(secret in said for secret in ("hunter2", "demo-trainer"))


@pytest.fixture(autouse=True)
def logging_as_it_was():
    """run_service configures the root logger; pytest's own handlers come back after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
