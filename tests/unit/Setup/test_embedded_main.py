"""energy-run says in one line what is wrong, and hands its options on."""

import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from Energy_consumption_sensor import sensor_publisher
from Setup.embedded import main as main_module
from Setup.embedded.main import main
from Setup.embedded.run import environment_of
from Setup.embedded.view import PlainView

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """A folder with the project's settings, and without any from the environment."""
    for name in [name for name in os.environ if name.startswith(("POSTGRES", "REDIS", "DATA_DIR"))]:
        monkeypatch.delenv(name)
    shutil.copy(ROOT / ".env", tmp_path / ".env")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    handler = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def started(monkeypatch):
    """What would be started, in place of the engines."""
    runs = []

    def note(settings, folder, **options):
        runs.append({"settings": settings, "folder": folder, **options})

    monkeypatch.setattr(main_module, "run_pipeline", note)
    return runs


def test_a_missing_data_folder_is_named(capsys):
    assert main(["--data", "nowhere"]) == 1
    assert capsys.readouterr().err == (
        "energy-run: nowhere is not a folder; --data or DATA_DIR has to name a data folder\n"
    )


def test_a_wrong_setting_is_named_and_no_secret_shown(capsys, working_folder):
    (working_folder / ".env.local").write_text("POSTGRES_PASSWROD=hunter2\nREDIS_PORT=none\n")
    assert main(["--data", "data"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("energy-run: settings: ")
    assert "POSTGRES_PASSWROD is not a setting" in message
    assert "REDIS_PORT" in message
    assert "hunter2" not in message


def test_an_empty_password_is_named_before_anything_starts(capsys, working_folder):
    (working_folder / ".env").unlink()
    assert main(["--data", "data"]) == 2
    assert "POSTGRES_PASSWORD is empty: set it in .env" in capsys.readouterr().err


def test_a_foreign_state_folder_is_refused(capsys, working_folder):
    (working_folder / "documents").mkdir()
    (working_folder / "documents" / "thesis.txt").touch()
    assert main(["--data", "data", "--state", "documents", "--fresh"]) == 1
    assert "was not made by energy-run" in capsys.readouterr().err
    assert (working_folder / "documents" / "thesis.txt").exists()


@pytest.mark.parametrize(
    "options",
    [["--hours", "0"], ["--hours", "1.5"], ["--hours=-5"], ["--pace=-1"], ["--pace", "nan"], ["--pace", "inf"]],
    ids=str,
)
@pytest.mark.parametrize("command", [main, sensor_publisher.main], ids=["energy-run", "energy-sensor"])
def test_options_out_of_range_are_refused(command, options, capsys):
    with pytest.raises(SystemExit) as end:
        command(options)
    assert end.value.code == 2
    assert f"argument {options[0][:6]}" in capsys.readouterr().err


def test_options_reach_the_run(started, working_folder):
    assert main(["--data", "data", "--hours", "24", "--pace", "0.5", "--state", "state"]) == 0
    (run,) = started
    assert run["hours"] == 24
    assert run["settings"].replay_seconds_per_hour == 0.5
    assert run["folder"].data == working_folder / "data"
    assert run["folder"].path == working_folder / "state"
    assert isinstance(run["view"], PlainView), "there is no terminal"


def test_without_options_the_settings_decide(started, working_folder, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(working_folder / "data"))
    assert main([]) == 0
    (run,) = started
    assert run["hours"] is None
    assert run["settings"].replay_seconds_per_hour == 1
    assert run["folder"].data == working_folder / "data"


def test_fresh_starts_over(started, working_folder):
    main(["--data", "data", "--state", "state"])
    (working_folder / "state" / "postgres").mkdir()
    main(["--data", "data", "--state", "state"])
    assert (working_folder / "state" / "postgres").exists()
    main(["--data", "data", "--state", "state", "--fresh"])
    assert not (working_folder / "state" / "postgres").exists()


def test_a_signal_before_the_pipeline_is_up_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(main_module, "run_pipeline", interrupted)
    assert main(["--data", "data"]) == 130
    assert capsys.readouterr().err == "energy-run: stopped\n"


def test_services_get_changed_settings_and_the_rest_of_the_environment(monkeypatch):
    monkeypatch.setenv("LOG_FORMAT", "json")
    environment = environment_of({"postgres_port": 5433, "data_dir": Path("/data"), "replay_seconds_per_hour": 0.0})
    assert environment["LOG_FORMAT"] == "json"
    assert (environment["POSTGRES_PORT"], environment["DATA_DIR"]) == ("5433", "/data")
    assert environment["REPLAY_SECONDS_PER_HOUR"] == "0.0"


def make_secrets(folder: Path) -> dict[str, str]:
    subprocess.run(["make", "-s", "-f", str(ROOT / "Makefile"), "secrets"], cwd=folder, check=True, capture_output=True)
    lines = (folder / ".env.local").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_secrets_are_random_private_and_complete(working_folder):
    secrets = make_secrets(working_folder)
    settings = (ROOT / ".env").read_text().splitlines()
    assert secrets.keys() == {line.split("=")[0] for line in settings if "_PASSWORD=" in line}
    assert all(len(bytes.fromhex(secret)) == 32 for secret in secrets.values())
    assert len(set(secrets.values())) == len(secrets)
    assert stat.S_IMODE((working_folder / ".env.local").stat().st_mode) == 0o600


def test_secrets_that_exist_are_kept(working_folder):
    (working_folder / ".env.local").write_text("LOG_LEVEL=DEBUG\nREDIS_PASSWORD=mine")
    first = make_secrets(working_folder)
    assert first["REDIS_PASSWORD"] == "mine"
    assert first["LOG_LEVEL"] == "DEBUG"
    assert make_secrets(working_folder) == first
