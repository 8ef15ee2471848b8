"""What a client of Kafka is made with, by KAFKA_AUTHENTICATION and TLS."""

import ssl

import pytest
import trustme

from Sensor_core.errors import SettingsError
from Setup.kafka_login import KafkaUser, connection_options
from Setup.postgres import Role, tls_parameters
from Setup.settings import Settings


@pytest.fixture
def authority(tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path / "ca.crt"


@pytest.mark.parametrize(
    ("authentication", "tls", "protocol"),
    [
        ("none", False, "PLAINTEXT"),
        ("none", True, "SSL"),
        ("scram", False, "SASL_PLAINTEXT"),
        ("scram", True, "SASL_SSL"),
    ],
)
def test_two_settings_choose_one_of_kafkas_four_protocols(authority, authentication, tls, protocol):
    settings = Settings(
        _env_file=None, kafka_authentication=authentication, tls=tls, tls_ca_file=authority, sensor_kafka_password="s"
    )
    options = connection_options(settings, "test", KafkaUser.SENSOR)
    assert options["security_protocol"] == protocol
    assert ("sasl_plain_password" in options) == (authentication == "scram")
    if tls:
        assert options["ssl_context"].check_hostname
        assert options["ssl_context"].verify_mode is ssl.CERT_REQUIRED
        assert tls_parameters(settings) == {"sslmode": "verify-full", "sslrootcert": str(authority)}
    else:
        assert "ssl_context" not in options
        assert tls_parameters(settings) == {}


def test_services_log_in_by_scram_and_the_administrator_as_the_brokers_know_it_from_their_start():
    passwords = {user.value[1]: user.name for user in KafkaUser}
    settings = Settings(_env_file=None, kafka_authentication="scram", **passwords)
    for user in KafkaUser:
        options = connection_options(settings, "test", user)
        login = options["sasl_mechanism"], options["sasl_plain_username"], options["sasl_plain_password"]
        assert login == ("PLAIN" if user is KafkaUser.ADMIN else "SCRAM-SHA-512", user.value[0], user.name)


def test_an_empty_password_is_named():
    settings = Settings(_env_file=None, kafka_authentication="scram")
    with pytest.raises(SettingsError, match="PREDICTOR_KAFKA_PASSWORD is empty"):
        connection_options(settings, "test", KafkaUser.PREDICTOR)


def test_a_password_that_everybody_knows_is_for_this_machine_only():
    known = {"kafka_authentication": "scram", "sensor_kafka_password": "demo-kafka-sensor"}
    near = Settings(_env_file=None, kafka_bootstrap_servers="kafka:9092,kafka-2:9092", **known)
    assert connection_options(near, "test", KafkaUser.SENSOR)["sasl_plain_password"] == "demo-kafka-sensor"
    far = Settings(_env_file=None, kafka_bootstrap_servers="localhost:9092, broker.example:9092", **known)
    with pytest.raises(SettingsError, match=r"SENSOR_KAFKA_PASSWORD .* broker\.example is not this machine"):
        connection_options(far, "test", KafkaUser.SENSOR)


def test_who_fills_the_cache_has_a_user_in_kafka_by_the_name_of_its_role_in_postgres():
    assert {Role.REDIS_CONSUMER.name, Role.PREDICTOR.name} <= set(KafkaUser.__members__)
