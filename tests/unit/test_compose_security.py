"""KAFKA_AUTHENTICATION and TLS as docker-compose.yml passes them on to brokers, Postgres, Grafana and applications."""

import contextlib
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from dotenv import dotenv_values

from Setup.kafka_login import KafkaUser

ROOT = Path(__file__).resolve().parents[2]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
APPLICATIONS = [name for name, service in SERVICES.items() if "build" in service]


@pytest.mark.parametrize("authentication", ["none", "scram"])
@pytest.mark.parametrize("tls", ["false", "true"])
def test_brokers_have_a_file_for_each_choice_of_authentication_and_tls(authentication, tls):
    chosen = SERVICES["kafka"]["env_file"][0]
    file = ROOT / chosen.replace("${KAFKA_AUTHENTICATION}", authentication).replace("${TLS}", tls)
    variables = dotenv_values(file)
    protocol = ("SASL_" if authentication == "scram" else "") + ("SSL" if tls == "true" else "PLAINTEXT")
    assert variables["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"] == f"CLIENTS:{protocol},CONTROLLER:{protocol}"
    assert ("KAFKA_SSL_KEYSTORE_LOCATION" in variables) == (tls == "true")
    if authentication == "scram":
        assert variables["KAFKA_AUTHORIZER_CLASS_NAME"].endswith(".StandardAuthorizer")
        assert variables["KAFKA_ALLOW_EVERYONE_IF_NO_ACL_FOUND"] == "false"
        assert variables["KAFKA_SUPER_USERS"] == f"User:{KafkaUser.ADMIN.value[0]}"
    else:
        assert "KAFKA_AUTHORIZER_CLASS_NAME" not in variables


@pytest.mark.parametrize(("tls", "mode"), [("false", "disable"), ("true", "verify-full")])
def test_grafana_has_a_file_for_each_choice_of_tls(tls, mode):
    file = ROOT / SERVICES["grafana"]["env_file"][0].replace("${TLS}", tls)
    assert dotenv_values(file) == {"GRAFANA_POSTGRES_SSLMODE": mode}


def test_the_brokers_know_the_administrator_by_its_name_and_the_applications_find_the_authority():
    environment = SERVICES["kafka"]["environment"]
    name = KafkaUser.ADMIN.value[0]
    for listener in ("CLIENTS", "CONTROLLER"):
        login = environment[f"KAFKA_LISTENER_NAME_{listener}_PLAIN_SASL_JAAS_CONFIG"]
        assert f'username="{name}" password="${{KAFKA_ADMIN_PASSWORD' in login
        assert login.endswith(f'user_{name}="${{KAFKA_ADMIN_PASSWORD}}";')
    for application in APPLICATIONS:
        assert SERVICES[application]["environment"]["TLS_CA_FILE"] == "/etc/energy/tls/ca/ca.crt"
        assert "./config/tls/ca:/etc/energy/tls/ca:ro" in SERVICES[application]["volumes"]


def test_a_service_is_given_no_key_but_its_own():
    keys = {
        name: [str(mount) for mount in service.get("volumes", []) if "config/tls" in str(mount)]
        for name, service in SERVICES.items()
    }
    for name, mounts in keys.items():
        allowed = {"./config/tls/ca:/etc/energy/tls/ca:ro", f"./config/tls/{name}:/etc/energy/tls/{name}:ro"}
        assert set(mounts) <= allowed


@pytest.fixture
def start_postgres(tmp_path):
    """Runs the start script with an entrypoint that shows what it was given; ``install`` needs no root here."""
    for name, text in (("docker-entrypoint.sh", 'echo "$@"'), ("install", 'shift 6; cp "$1" "$2"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = (ROOT / "config/postgres/start.sh").read_text()
    for folder in ("/etc/energy", "/tmp/server.key"):
        script = script.replace(folder, f"{tmp_path}{folder.removeprefix('/tmp')}")

    def start(tls):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TLS": tls}
        return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)

    return start


def test_postgres_is_started_as_ever_without_tls(start_postgres):
    assert start_postgres("false").stdout == "postgres\n"


def test_postgres_with_tls_has_a_copy_of_its_key_and_lets_nobody_in_without(start_postgres, tmp_path):
    missing = start_postgres("true")
    assert missing.returncode == 1
    assert "config/tls/postgres/server.crt cannot be read" in missing.stderr
    folder = tmp_path / "etc/energy/tls/postgres"
    folder.mkdir(parents=True)
    for name in ("server.crt", "server.key"):
        (folder / name).write_text(name)
    command = start_postgres("true").stdout
    assert command.startswith("postgres -c ssl=on ")
    assert (tmp_path / "server.key").read_text() == "server.key"
    (hba_file,) = re.findall(r"hba_file=(\S+)", command)
    rules = (ROOT / "config/postgres" / Path(hba_file).name).read_text()
    assert {line.split()[0] for line in rules.splitlines() if not line.startswith("#")} == {"local", "hostssl"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_readmes_recipe_makes_certificates_that_clients_believe(tmp_path):
    (recipe,) = re.findall(
        r"^```sh\n(cd config/tls.+?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for name in ("ca", "kafka", "postgres"):
        (tmp_path / "config/tls" / name).mkdir(parents=True)
    subprocess.run(["sh", "-ec", recipe], cwd=tmp_path, check=True, capture_output=True)
    tls = tmp_path / "config/tls"
    postgres = (tls / "postgres/server.crt", tls / "postgres/server.key")
    for files, name in (((tls / "kafka/server.pem",), "kafka-2"), (postgres, "postgres")):
        assert handshake(files, tls / "ca/ca.crt", name)
        with pytest.raises(ssl.SSLCertVerificationError, match="not valid for 'elsewhere'"):
            handshake(files, tls / "ca/ca.crt", "elsewhere")
    assert (tls / "kafka/server.pem").stat().st_mode & 0o777 == 0o600
    assert (tls / "ca/ca.crt").stat().st_mode & 0o777 == 0o644


def handshake(server_files, authority, name):
    """Whether a client that believes in the authority, and calls the server by that name, shakes hands with it."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(*server_files)
    client_context = ssl.create_default_context(cafile=authority)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (client, server):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.version() is not None
