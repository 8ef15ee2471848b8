"""A Kafka with logins, rules and TLS, configured as docker-compose.yml configures its brokers."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from dotenv import dotenv_values
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePatternFilter,
    ResourceType,
)
from kafka.errors import TopicAuthorizationFailedError

from Sensor_core.errors import EnergyError, RetriableError
from Setup.embedded.kafka_engine import KafkaEngine
from Setup.embedded.state_folder import any_free_port
from Setup.kafka_initialization import make_consumer
from Setup.kafka_login import KafkaUser, connection_options, explained_errors
from Setup.publisher import Publisher
from Setup.settings import Settings

PATIENCE_S = 10
ROOT = Path(__file__).resolve().parents[2]
TLS_FOLDER = "/etc/energy/tls"
"""Where the containers have config/tls."""


SERVICE = """
from Setup.kafka_access import grant_access
from Setup.publisher import Publisher
from Setup.kafka_login import KafkaUser
from Setup.lifecycle import run_service

def run(settings, stop):
    grant_access(settings.model_copy(update={"sensor_kafka_password": settings.redis_password}))
    Publisher(settings, "test", user=KafkaUser.SENSOR).close()

raise SystemExit(run_service("test", run))
"""
"""Logs in as the administrator, who gives the sensor REDIS_PASSWORD, and as the sensor."""


def write_certificates(folder: Path, authority: trustme.CA, *names: str) -> None:
    """Lay out a folder as config/tls, for a Kafka that is called by these names."""
    (folder / "ca").mkdir(parents=True)
    (folder / "kafka").mkdir()
    authority.cert_pem.write_to_path(folder / "ca" / "ca.crt")
    issued = authority.issue_cert(*names)
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    encoding, container = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8  # Java reads no other
    pem = key.private_bytes(encoding, container, serialization.NoEncryption())
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    (folder / "kafka" / "server.pem").write_bytes(pem + chain)


def shipped_properties(settings: Settings) -> dict[str, str]:
    """The broker's security properties, as the public image makes them of the compose file's variables."""
    tls = str(settings.tls).lower()
    variables = dotenv_values(ROOT / f"config/kafka/{settings.kafka_authentication}-tls-{tls}.env")
    environment = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]["environment"]
    password = settings.kafka_admin_password.get_secret_value()
    for name, value in environment.items():
        if name.endswith("JAAS_CONFIG"):
            variables[name] = re.sub(r"\$\{KAFKA_ADMIN_PASSWORD[^}]*\}", password, value)
    return {_property(name): value or "" for name, value in variables.items()}


def _property(variable: str) -> str:
    name = variable.removeprefix("KAFKA_").lower().replace("_", ".")
    return name.replace("...", "-").replace("..", "_")


class SecureKafka(KafkaEngine):
    """The embedded Kafka with the compose file's security.

    Args:
        state: The state folder.
        settings: Whose authentication, TLS and administrator it has; KAFKA_BOOTSTRAP_SERVERS names its port.
        tls: A folder as config/tls is.
    """

    def __init__(self, state: Path, settings: Settings, tls: Path) -> None:
        port = int(settings.kafka_bootstrap_servers.rpartition(":")[2])
        super().__init__(state, port, controller_port=any_free_port())
        self.settings = settings
        self._tls = tls
        (state / "logs").mkdir(parents=True)

    def _settings(self) -> str:
        properties = shipped_properties(self.settings)
        lines = [f"{name}={value.replace(TLS_FOLDER, str(self._tls))}\n" for name, value in properties.items()]
        return "".join([super()._settings(), *lines])  # of two lines for one property the second counts

    def is_ready(self) -> bool:
        """Whether the administrator gets an answer."""
        try:
            with explained_errors(self.settings, KafkaUser.ADMIN):
                admin = KafkaAdminClient(**connection_options(self.settings, "test", KafkaUser.ADMIN))
        except EnergyError:
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        finally:
            admin.close()


@contextmanager
def admin_of(settings: Settings, user: KafkaUser = KafkaUser.ADMIN) -> Iterator[Any]:
    """An administrator's client, whoever uses it."""
    with closing(KafkaAdminClient(**connection_options(settings, "test", user))) as admin:
        yield admin


def may_read(settings: Settings, user: KafkaUser, topic: str) -> bool:
    """Whether a message can be had; a topic that may be read may be seen."""
    with closing(make_consumer(settings, None, user=user)) as consumer:
        if not consumer.partitions_for_topic(topic):
            return False
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek(TopicPartition(topic, 0), 0)
        deadline = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline:
                if consumer.poll(timeout_ms=200):
                    return True
        except TopicAuthorizationFailedError:
            return False
    raise AssertionError(f"{topic} neither gave a message nor refused {user}")


def may_write(settings: Settings, user: KafkaUser, topic: str) -> bool:
    """Whether a message is acknowledged."""
    with closing(Publisher(settings, "test", user=user)) as publisher:
        try:
            publisher.send(topic, b"{}", key=None, schema=b"test.v1", partition=0)
            publisher.flush(timeout_s=PATIENCE_S)
        except RetriableError as error:
            assert "TopicAuthorizationFailedError" in str(error)  # noqa: PT017 - other reasons are failures
            return False
    return True


def rules(admin: Any) -> set[ACL]:
    """All rules that the brokers have."""
    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    return set(admin.describe_acls(ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything))[0])


def poll_until_assigned(consumer: Any) -> None:
    """Poll until the group has a place for this consumer."""
    deadline = time.monotonic() + PATIENCE_S
    while not consumer.assignment():
        assert time.monotonic() < deadline
        consumer.poll(timeout_ms=100)


def environment_of(settings: Settings) -> dict[str, str]:
    """The variables of a process that is to have these settings, without passwords, and tells all it can."""
    chosen = {name: getattr(settings, name) for name in settings.model_fields_set if not name.endswith("password")}
    return os.environ | {name.upper(): str(value) for name, value in (chosen | {"log_level": "DEBUG"}).items()}
