"""TLS to Postgres with real certificates; the embedded PostgreSQL has no TLS, that of ENERGY_TEST_POSTGRES_BIN has."""

import psycopg2
import pytest
import trustme
from pydantic import SecretStr

from Sensor_core.errors import RetriableError, SettingsError, UnreachableError
from Setup import backup
from Setup.postgres import Role, connect, migrate, set_passwords, wait_for_postgres
from Setup.settings import Settings
from tests.other_postgres import VARIABLE, chosen_binaries, running_server

pytestmark = [
    pytest.mark.integration,
    pytest.mark.warehouse,
    pytest.mark.skipif(
        chosen_binaries() is None,
        reason=f"the embedded PostgreSQL has no TLS: .ci/postgres-15 runs this, or set {VARIABLE}",
    ),
]
PASSWORD = """te'st "\\ secret"""


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(tmp_path_factory, authority):
    """Settings of a server that is called localhost, and lets services in by TLS only."""
    issued = authority.issue_cert("localhost")
    certificate = {
        "server.crt": b"".join(part.bytes() for part in issued.cert_chain_pems),
        "server.key": issued.private_key_pem.bytes(),
    }
    file = tmp_path_factory.mktemp("tls") / "ca.crt"
    authority.cert_pem.write_to_path(file)
    passwords = {role.value[1]: PASSWORD for role in Role}
    with running_server(chosen_binaries(), PASSWORD, certificate) as port:
        settings = Settings(
            _env_file=None, postgres_host="localhost", postgres_port=port, postgres_db="postgres",
            tls=True, tls_ca_file=file, start_deadline_s=1, **passwords,
        )  # fmt: skip
        connection = connect(settings, Role.ADMIN)
        migrate(connection)
        connection.autocommit = False
        set_passwords(connection, settings)
        connection.close()
        yield settings


@pytest.mark.parametrize("role", list(Role))
def test_every_role_comes_by_tls(secure, role):
    connection = connect(secure, role)
    assert connection.info.ssl_in_use
    assert connection.info.ssl_attribute("protocol") in {"TLSv1.2", "TLSv1.3"}
    connection.close()


def test_another_authority_is_not_believed(secure, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
    with pytest.raises(SettingsError, match=r"certificate verify failed .*TLS_CA_FILE=.*other\.crt"):
        wait_for_postgres(secure.model_copy(update={"tls_ca_file": tmp_path / "other.crt"}), Role.TRAINER)


def test_a_certificate_for_another_name_is_not_believed(secure):
    with pytest.raises(SettingsError, match=r'for "localhost" does not match host name "127\.0\.0\.1"'):
        wait_for_postgres(secure.model_copy(update={"postgres_host": "127.0.0.1"}), Role.TRAINER)


def test_a_missing_authority_is_named(secure, tmp_path):
    with pytest.raises(SettingsError, match=r"TLS_CA_FILE: .*nothing\.crt cannot be read"):
        wait_for_postgres(secure.model_copy(update={"tls_ca_file": tmp_path / "nothing.crt"}), Role.TRAINER)


def test_a_server_without_tls_is_not_spoken_to(secure, endpoints, engine_password):
    plain = {"postgres_port": endpoints.postgres_port, "postgres_host": endpoints.postgres_host}
    with pytest.raises(SettingsError, match="does not support SSL"):
        wait_for_postgres(secure.model_copy(update=plain), Role.ADMIN)


def test_nobody_comes_in_without_tls(secure):
    with pytest.raises(psycopg2.OperationalError, match="no encryption"):
        psycopg2.connect(
            host="localhost", port=secure.postgres_port, user="postgres", password=PASSWORD, dbname="postgres",
            sslmode="disable",
        )  # fmt: skip


def test_a_wrong_password_is_no_matter_of_certificates(secure):
    wrong = secure.model_copy(update={"trainer_postgres_password": SecretStr("hunter2")})
    with pytest.raises(UnreachableError, match=r"password"):
        wait_for_postgres(wrong, Role.TRAINER)


def test_a_backup_is_made_over_tls(secure, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(chosen_binaries()), prepend=":")
    backup.backup(secure, tmp_path / "energy.backup")
    assert (tmp_path / "energy.backup").read_bytes().startswith(b"PGDMP")
    with pytest.raises((RetriableError, SettingsError)):
        backup.restore(secure.model_copy(update={"postgres_host": "127.0.0.1"}), tmp_path / "energy.backup")
