"""docker-compose.yml, docker-compose.ha.yml and the Dockerfile, read as what they promise."""

import os
import re
import shutil
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from Setup.metrics import Health, served
from Setup.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SINGLE, HIGHLY_AVAILABLE = ROOT / "docker-compose.yml", ROOT / "docker-compose.ha.yml"
REDIS_PASSWORDS = ("REDIS_PASSWORD", "REDIS_CONSUMER_REDIS_PASSWORD", "PREDICTOR_REDIS_PASSWORD")
APPLICATIONS = {"setup", "sensor_publisher", "postgre_consumer", "redis_consumer", "predictor", "trainer"}
STORES = {"kafka", "postgres", "redis"}
SET_BY_COMPOSE = {"GRAFANA_PORT", "GRAFANA_ADMIN_USER", "KAFKA_CLUSTER_ID"}
EXACT_TAG = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.-]+)?")
VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)")


@cache
def parsed(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(file.read_text())
    return document


def services() -> dict[str, Any]:
    found: dict[str, Any] = parsed(SINGLE)["services"]
    return found


def each_service() -> Any:
    return pytest.mark.parametrize("name", sorted(services()))


def test_there_is_one_container_per_application_and_store():
    assert set(services()) == APPLICATIONS | STORES | {"grafana"}


@each_service()
def test_an_image_has_an_exact_tag(name):
    assert EXACT_TAG.fullmatch(services()[name]["image"])


def test_every_base_image_of_the_dockerfile_has_an_exact_tag():
    bases = re.findall(r"^FROM (\S+) AS (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    stages = {stage for _, stage in bases}
    foreign = [image for image, _ in bases if image not in stages]
    assert foreign
    assert all(EXACT_TAG.fullmatch(image) and image.count(".") == 2 for image in foreign)


@each_service()
def test_a_container_is_limited_and_cannot_gain_privileges(name):
    service = services()[name]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"]["max-size"]


def test_all_memory_limits_of_what_keeps_running_fit_into_a_small_machine():
    units = {"m": 1, "g": 1024}
    limits = {name: service["mem_limit"] for name, service in services().items() if name != "setup"}
    assert sum(int(limit[:-1]) * units[limit[-1]] for limit in limits.values()) < 4 * 1024


@each_service()
def test_a_container_has_no_fixed_name_so_that_it_scales(name):
    assert "container_name" not in services()[name]


@each_service()
def test_a_lasting_service_has_a_health_check_and_is_started_again(name):
    service = services()[name]
    if name == "setup":
        assert (service["restart"], service["healthcheck"]) == ("no", {"disable": True})
    else:
        assert service["healthcheck"]["test"][0] == ("CMD" if name in APPLICATIONS else "CMD-SHELL")
        assert service["restart"] == ("on-failure:10" if name == "sensor_publisher" else "unless-stopped")


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_an_application_is_healthy_while_it_is_ready():
    command = [part.replace("$$", "$") for part in services()["predictor"]["healthcheck"]["test"][1:]]
    health = Health()
    with served("127.0.0.1", 0, health) as port:

        def is_healthy():
            environment = os.environ | {"METRICS_PORT": str(port)}
            return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

        assert not is_healthy(), "it has not begun"
        health.turn()
        assert is_healthy()
        health.ready(is_ready=False)
        assert not is_healthy()
    assert not is_healthy(), "nobody listens"


@each_service()
def test_ports_are_published_on_loopback_only(name):
    assert all(port.startswith("127.0.0.1:") for port in services()[name].get("ports", []))


def test_only_the_database_and_grafana_are_published():
    assert {name for name, service in services().items() if "ports" in service} == {"postgres", "grafana"}


@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_an_application_is_no_root_and_cannot_change_its_image(name):
    service = services()[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["build"]["target"] in {"stream", "forecast"}
    assert service["environment"]["LOG_FORMAT"] == "json"


def test_what_else_differs_stands_in_the_document_with_its_reason():
    assert {name for name, service in services().items() if not service.get("read_only")} == {"kafka"}
    capabilities = {name: " ".join(service["cap_add"]) for name, service in services().items() if "cap_add" in service}
    assert capabilities == dict.fromkeys(("postgres", "redis"), "CHOWN DAC_OVERRIDE FOWNER SETGID SETUID")
    reasons = (ROOT / "docs/security.md").read_text().split("## Containers")[1].split("\n## ")[0]
    assert re.findall("^- (`.*?`(?: and `.*?`)?)", reasons, re.MULTILINE) == ["`postgres` and `redis`", "`kafka`"]


@pytest.mark.parametrize("name", sorted(APPLICATIONS - {"setup"}))
def test_an_application_waits_for_setup_and_setup_for_the_stores(name):
    assert services()[name]["depends_on"] == {"setup": {"condition": "service_completed_successfully"}}
    assert services()["setup"]["depends_on"] == {store: {"condition": "service_healthy"} for store in STORES}


@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_every_command_is_a_script_of_the_project(name):
    scripts = re.findall(r"^(energy-[\w-]+) = ", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert services()[name]["command"][0] in scripts


@each_service()
def test_passwords_come_from_the_environment(name):
    for variable, value in services()[name].get("environment", {}).items():
        if "PASSWORD" in variable:
            assert VARIABLE.match(value), f"{variable} of {name} is written out"
            assert VARIABLE.sub("", value).startswith((":?", "}"))  # no default


def test_no_demonstration_password_stands_in_a_file_beside_env():
    texts = [
        file.read_text()
        for file in (SINGLE, HIGHLY_AVAILABLE, ROOT / "Dockerfile", *ROOT.glob("config/[gkpr]*/*"))
        if file.is_file() and file.suffix != ".gz"
    ]
    passwords = [
        value for name, value in dotenv_values(ROOT / ".env").items() if "PASSWORD" in name and value != "admin"
    ]
    assert len(passwords) >= 7
    assert not [password for password in passwords for text in texts if password in text]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("sensor_publisher", {"SENSOR_KAFKA_PASSWORD"}),
        ("postgre_consumer", {"POSTGRES_CONSUMER_PASSWORD", "POSTGRES_CONSUMER_KAFKA_PASSWORD"}),
        (
            "redis_consumer",
            {"REDIS_CONSUMER_POSTGRES_PASSWORD", "REDIS_CONSUMER_KAFKA_PASSWORD", "REDIS_CONSUMER_REDIS_PASSWORD"},
        ),
        ("predictor", {"PREDICTOR_POSTGRES_PASSWORD", "PREDICTOR_KAFKA_PASSWORD", "PREDICTOR_REDIS_PASSWORD"}),
        ("trainer", {"TRAINER_POSTGRES_PASSWORD"}),
        ("grafana", {"GF_SECURITY_ADMIN_PASSWORD", "GRAFANA_POSTGRES_PASSWORD"}),
    ],
)
def test_a_service_gets_no_password_but_its_own(name, own):
    assert {variable for variable in services()[name]["environment"] if "PASSWORD" in variable} == own


@pytest.mark.parametrize("name", sorted(APPLICATIONS))
def test_an_application_gets_only_settings_that_exist(name):
    known = {(field.alias or name).upper() for name, field in Settings.model_fields.items()}
    assert set(services()[name]["environment"]) <= known


def test_no_image_is_built_with_a_secret():
    assert "PASSWORD" not in (ROOT / "Dockerfile").read_text()
    let_through = re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert not [path for path in let_through if "env" in path]


def test_every_setting_reaches_an_application_or_compose_itself():
    given = {variable for name in APPLICATIONS for variable in services()[name]["environment"]}
    known = {(field.alias or name).upper() for name, field in Settings.model_fields.items()}
    # Inside the network the stores listen on their own ports, which are the settings' defaults.
    assert known - given == SET_BY_COMPOSE | {"POSTGRES_PORT", "REDIS_PORT"}


def test_every_variable_that_compose_asks_for_stands_in_env():
    asked = {match for file in (SINGLE, HIGHLY_AVAILABLE) for match in VARIABLE.findall(file.read_text())}
    assert asked <= set(dotenv_values(ROOT / ".env"))


def test_all_data_is_in_named_volumes():
    mounts = {name: service.get("volumes", []) for name, service in services().items()}
    assert "kafka-data:/var/lib/kafka/data" in mounts["kafka"]
    assert services()["kafka"]["environment"]["KAFKA_LOG_DIRS"] == "/var/lib/kafka/data"
    assert "postgres-data:/var/lib/postgresql" in mounts["postgres"]
    assert "redis-data:/data" in mounts["redis"]
    assert "grafana-data:/var/lib/grafana" in mounts["grafana"]
    assert "model:/model:ro" in mounts["predictor"]
    assert "model:/model" in mounts["trainer"]


def test_every_mounted_folder_of_the_project_exists():
    mounts = [
        mount for service in services().values() for mount in service.get("volumes", []) if isinstance(mount, str)
    ]
    folders = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert folders
    assert all((ROOT / folder).is_dir() for folder in folders)


def test_everything_that_the_dockerfile_copies_is_let_through_to_it():
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    lines = re.findall(r"^COPY (?!--from)(?:--\S+ )?(.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in lines for source in line.split()[:-1]}
    assert sources
    assert all(any(source == path or source.startswith(f"{path}/") for path in let_through) for source in sources)


def test_three_brokers_keep_three_copies_and_acknowledge_by_two():
    overlay = parsed(HIGHLY_AVAILABLE)["services"]
    for broker in ("kafka", "kafka-2", "kafka-3"):
        environment = overlay[broker]["environment"]
        assert environment["KAFKA_CONTROLLER_QUORUM_VOTERS"].count("@") == 3
        assert {value for name, value in environment.items() if name.endswith("REPLICATION_FACTOR")} == {3}
        assert {value for name, value in environment.items() if name.endswith(("MIN_ISR", "INSYNC_REPLICAS"))} == {2}
    assert overlay["setup"]["environment"]["KAFKA_REPLICATION_FACTOR"] == 3
    assert overlay["setup"]["environment"]["KAFKA_MIN_INSYNC_REPLICAS"] == 2


def test_every_client_of_kafka_knows_all_three_brokers():
    clients = {
        name for name, service in services().items() if "KAFKA_BOOTSTRAP_SERVERS" in service.get("environment", {})
    }
    overlay = parsed(HIGHLY_AVAILABLE)["services"]
    assert {overlay[name]["environment"]["KAFKA_BOOTSTRAP_SERVERS"] for name in clients} == {
        "kafka:9092,kafka-2:9092,kafka-3:9092"
    }


def compose_commands() -> list[list[str]]:
    found = [["docker-compose"]] if shutil.which("docker-compose") else []
    plugin = shutil.which("docker") and subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    )
    return [*found, ["docker", "compose"]] if plugin and plugin.returncode == 0 else found


@pytest.mark.parametrize("secure", [{}, {"KAFKA_AUTHENTICATION": "scram", "TLS": "true"}], ids=["plain", "secure"])
@pytest.mark.parametrize("files", [[SINGLE], [SINGLE, HIGHLY_AVAILABLE]], ids=["one-broker", "three-brokers"])
def test_compose_accepts_the_files_without_a_word(files, secure):
    commands = compose_commands()
    if not commands:
        pytest.skip("neither docker-compose nor docker compose is installed")
    for command in commands:
        options = [option for file in files for option in ("-f", str(file))]
        done = subprocess.run(
            [*command, *options, "config", "-q"],
            env=os.environ | secure, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("password", ["plain", """a'b"c\\d $HOME `id` #x"""])
def test_redis_gets_its_passwords_on_standard_input_as_they_are(tmp_path, password):
    """The image's entrypoint is replaced by one that shows what it was given; Redis undoes the quoting."""
    entrypoint = tmp_path / "docker-entrypoint.sh"
    entrypoint.write_text('#!/bin/sh\necho "$@"\ncat\n')
    entrypoint.chmod(0o755)
    start = (ROOT / "config/redis/start.sh").read_text().replace("/etc/redis/", f"{ROOT}/config/redis/")
    done = subprocess.run(
        ["sh", "-c", start],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **dict.fromkeys(REDIS_PASSWORDS, password)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    command, *configuration = done.stdout.splitlines()
    assert command == "redis-server -"
    assert "maxmemory-policy noeviction" in configuration
    quoted = configuration[-1].removeprefix('requirepass "').removesuffix('"')
    assert re.sub(r"\\(.)", r"\1", quoted) == password
    users = [line.split()[1:4] for line in configuration if line.startswith("user ")]
    digest = f"#{sha256(password.encode()).hexdigest()}"
    assert users == [["energy_redis_consumer", "on", digest], ["energy_predictor", "on", digest]]
    assert services()["redis"]["environment"].keys() == set(REDIS_PASSWORDS)
