"""Kafka with SCRAM logins, rules and TLS: who gets in, and what each of the services' users may do, cell by cell."""

import re
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest
import trustme
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from kafka.errors import AuthorizationError, GroupAuthorizationFailedError
from pydantic import SecretStr

from Consumers.batching import Policy
from Consumers.service import consume
from Consumers.warehouse import Warehouse
from Energy_consumption_sensor.feed import Feed, newest_tick
from Sensor_core.errors import SettingsError, UnreachableError
from Sensor_core.testing import FIRST_HOUR, make_reading
from Setup.embedded.state_folder import any_free_port
from Setup.kafka_access import POSTGRES_GROUP, REDIS_GROUP, grant_access, rights_of
from Setup.kafka_initialization import create_topics, make_consumer
from Setup.kafka_login import KafkaUser
from Setup.publisher import Publisher
from Setup.settings import Settings
from Setup.topic_position import resume_offsets
from tests.integration.secure_kafka import (
    PATIENCE_S,
    SERVICE,
    SecureKafka,
    admin_of,
    environment_of,
    may_read,
    may_write,
    poll_until_assigned,
    rules,
    write_certificates,
)

pytestmark = [
    pytest.mark.integration,
    # A client that is not let in leaves sockets behind.
    pytest.mark.usefixtures("leaking_clients"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SERVICES = [user for user in KafkaUser if user is not KafkaUser.ADMIN]
TOPICS = [f"topic_{name}" for name in ("postgre", "redis", "predictions", "weather", "anomalies", "dead_letters")]
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "security.md"
GROUPS = (POSTGRES_GROUP, REDIS_GROUP)
MATRIX = {
    name: dict(zip(SERVICES, cells.replace(" ", "").split("|"), strict=True))
    for name, cells in re.findall(
        r"^\| (?:group )?`(TOPIC_\w+|\w+_consumer)` \|(.*)\|$", DOCUMENT.read_text().split("## Kafka")[1], re.MULTILINE
    )
}
"""Topic's setting or group: what each user may do with it, r: read, w: write, by the document's table."""
CELLS = [
    pytest.param(user, topic, may, id=f"{user.value[0]}-{topic}")
    for topic in TOPICS
    for user, may in MATRIX[topic.upper()].items()
]


@pytest.fixture(scope="module")
def broker(tmp_path_factory, engine_password):
    """A running Kafka that knows nobody but its administrator."""
    folder = tmp_path_factory.mktemp("secure")
    write_certificates(folder / "tls", trustme.CA(), "127.0.0.1")
    settings = Settings(
        _env_file=None,
        kafka_bootstrap_servers=f"127.0.0.1:{any_free_port()}",
        kafka_authentication="scram",
        kafka_admin_password="an-administrator_1",
        tls=True,
        tls_ca_file=folder / "tls/ca/ca.crt",
        start_deadline_s=1,
        **{user.value[1]: f"{engine_password} of {user.value[0]}" for user in SERVICES},
    )
    kafka = SecureKafka(folder / "state", settings, folder / "tls")
    kafka.start(lambda _: None)
    yield kafka
    kafka.stop()


@pytest.fixture(scope="module")
def secure(broker):
    """Settings of that Kafka, once Setup has made topics, users and rules; a message is in each topic."""
    create_topics(broker.settings)
    grant_access(broker.settings)
    with closing(Publisher(broker.settings, "test")) as publisher:
        for name in TOPICS:
            publisher.send(getattr(broker.settings, name), b"{}", key=None, schema=b"test.v1", partition=0)
        publisher.flush()
    return broker.settings


@pytest.mark.parametrize(("user", "name", "may"), CELLS)
def test_a_user_reads_and_writes_the_topics_that_its_service_needs_and_no_other(secure, user, name, may):
    assert may_read(secure, user, getattr(secure, name)) == ("r" in may)
    assert may_write(secure, user, getattr(secure, name)) == ("w" in may)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("user", SERVICES)
def test_a_user_is_a_member_of_its_own_group_only(secure, user, group):
    consumer = make_consumer(secure, group, user=user)
    consumer.subscribe([secure.topic_postgre])  # which each of them may read
    try:
        if MATRIX[group][user]:
            poll_until_assigned(consumer)
            consumer.commit()
        else:
            with pytest.raises(GroupAuthorizationFailedError):
                poll_until_assigned(consumer)
    finally:
        consumer.close(autocommit=False, timeout_ms=3000)


@pytest.mark.parametrize("user", SERVICES)
def test_no_service_changes_topics_or_rules(secure, user):
    with admin_of(secure, user) as admin:
        with pytest.raises(AuthorizationError):
            admin.create_topics({"new": {"num_partitions": 1, "replication_factor": 1}})
        with pytest.raises(AuthorizationError):
            admin.delete_topics([secure.topic_postgre])
        with pytest.raises(AuthorizationError):
            rules(admin)
        password = UserScramCredentialUpsertion(user.value[0], ScramMechanism.SCRAM_SHA_512, "mine")
        assert "needs ALTER permission" in admin.alter_user_scram_credentials([password])[user.value[0]]


def test_every_service_of_the_matrix_has_a_user_and_no_one_else(secure):
    with admin_of(secure) as admin:
        users = set(admin.describe_user_scram_credentials())
    assert users == {user.value[0] for user in SERVICES} == {user.value[0] for user in rights_of(secure)}


def test_setup_run_again_changes_nothing_but_takes_away_what_is_too_much(secure):
    topic = ResourcePattern(ResourceType.TOPIC, secure.topic_predictions)
    allowed, denied = (
        ACL("User:energy_sensor", "*", operation, permission, topic)
        for operation, permission in (
            (ACLOperation.WRITE, ACLPermissionType.ALLOW), (ACLOperation.READ, ACLPermissionType.DENY),
        )
    )  # fmt: skip
    with admin_of(secure) as admin:
        before = rules(admin)
        grant_access(secure)
        assert rules(admin) == before
        admin.create_acls([allowed, denied])
        assert rules(admin) == before | {allowed, denied}
        grant_access(secure)
        assert rules(admin) == before | {denied}
        admin.delete_acls([denied])


@pytest.mark.parametrize(("right", "code"), [(True, 0), (False, 2)])
def test_no_password_is_in_a_log_or_a_list_of_processes(secure, broker, tmp_path, right, code):
    secrets = {user.value[1]: getattr(secure, user.value[1]).get_secret_value() for user in KafkaUser}
    secrets["redis_password"] = secrets["sensor_kafka_password"] if right else "hunter2"
    environment = environment_of(secure) | {name.upper(): secret for name, secret in secrets.items()}
    command = [sys.executable, "-c", SERVICE]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr + broker.log.read_text() + " ".join(psutil.Process(broker.pid).cmdline())
    assert done.returncode == code, told
    assert "energy_sensor" in told or right
    assert not [secret for secret in secrets.values() if secret in told]
    grant_access(secure)


def test_setup_changes_a_password(secure):
    new = secure.model_copy(update={"sensor_kafka_password": SecretStr("new")})
    grant_access(new)
    Publisher(new, "test", user=KafkaUser.SENSOR).close()
    grant_access(secure)
    Publisher(secure, "test", user=KafkaUser.SENSOR).close()


@pytest.mark.parametrize("user", [KafkaUser.SENSOR, KafkaUser.ADMIN])
def test_a_wrong_password_is_an_error_that_names_its_setting_at_once(secure, user):
    name, field = user.value
    wrong = secure.model_copy(update={field: SecretStr("hunter2")})
    begun = time.monotonic()
    with pytest.raises(SettingsError, match=rf"user {name}\b.*{field.upper()} ") as caught:
        Publisher(wrong, "test", user=user)
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - begun < PATIENCE_S


def test_a_missing_password_is_an_error_that_names_its_setting(secure):
    without = secure.model_copy(update={"sensor_kafka_password": SecretStr("")})
    with pytest.raises(SettingsError, match="SENSOR_KAFKA_PASSWORD is empty"):
        Publisher(without, "test", user=KafkaUser.SENSOR)


def test_another_authority_and_another_name_are_not_believed(secure, tmp_path):
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
    begun = time.monotonic()
    with pytest.raises(SettingsError, match=r"TLS_CA_FILE=.*other\.crt does not vouch for: unable to get local issuer"):
        make_consumer(secure.model_copy(update={"tls_ca_file": tmp_path / "other.crt"}), None)
    by_name = secure.kafka_bootstrap_servers.replace("127.0.0.1", "localhost")
    with pytest.raises(SettingsError, match="not valid for 'localhost'"):
        make_consumer(secure.model_copy(update={"kafka_bootstrap_servers": by_name}), None)
    assert time.monotonic() - begun < 2 * PATIENCE_S


@pytest.mark.parametrize(("text", "complaint"), [(None, "cannot be read"), ("no certificate", "holds no certificate")])
def test_a_file_that_is_no_certificate_is_named(secure, tmp_path, text, complaint):
    if text:
        (tmp_path / "ca.crt").write_text(text)
    with pytest.raises(SettingsError, match=rf"TLS_CA_FILE: .*ca\.crt {complaint}"):
        make_consumer(secure.model_copy(update={"tls_ca_file": tmp_path / "ca.crt"}), None)


@pytest.mark.parametrize(
    "changes", [{"tls": False}, {"kafka_authentication": "none"}, {"tls": False, "kafka_authentication": "none"}]
)
def test_nobody_comes_in_without_login_and_tls(secure, changes):
    with pytest.raises((SettingsError, UnreachableError), match="do the brokers have KAFKA_AUTHENTICATION="):
        Publisher(secure.model_copy(update=changes), "test")


@pytest.fixture
def stream(secure, settings):
    """Topics of the Kafka with logins to which the sensor has published an hour, and something that is no reading."""
    chosen = secure.model_copy(update={name: getattr(settings, name) for name in TOPICS})
    create_topics(chosen)
    grant_access(chosen)
    with closing(Publisher(chosen, "sensor", user=KafkaUser.SENSOR)) as publisher:
        feed = Feed(publisher, chosen.consumption_topics)
        feed.publish(make_reading(kwh=12.5))
        feed.publish_raw(b"no reading")
        feed.tick(FIRST_HOUR, FIRST_HOUR)
        feed.flush()
    yield chosen
    grant_access(secure)


def test_readings_come_from_the_sensor_to_postgres(stream, settings, postgres):
    """The embedded Postgres has no TLS: the store alone goes without."""
    stop = threading.Event()
    thread = threading.Thread(target=consume, args=(stream, stop), kwargs=_as_postgre_consumer(stream, settings))
    thread.start()
    deadline = time.monotonic() + 3 * PATIENCE_S
    while _stored(postgres) != [(12.5, 1)] and time.monotonic() < deadline and thread.is_alive():
        time.sleep(0.1)
    stop.set()
    thread.join(PATIENCE_S)
    assert _stored(postgres) == [(12.5, 1)]


def _as_postgre_consumer(stream, settings):
    topics = [stream.topic_postgre, stream.topic_dead_letters]
    policy = Policy(updates=1, max_age_s=0.1, max_messages=1000, ticked=[stream.topic_postgre])
    kafka = {"user": KafkaUser.POSTGRES_CONSUMER, "group": POSTGRES_GROUP, "topics": topics}
    return kafka | {"make_store": lambda _: Warehouse(settings), "policy": policy}


def _stored(postgres):
    with postgres.cursor() as cursor:
        cursor.execute("SELECT meter_reading_kwh, (SELECT count(*) FROM dead_letters) FROM readings")
        return cursor.fetchall()


def test_the_sensor_finds_where_to_go_on(stream):
    assert newest_tick(stream) == stream.interval.step_of(FIRST_HOUR)


@pytest.mark.parametrize("user", [KafkaUser.REDIS_CONSUMER, KafkaUser.PREDICTOR])
def test_who_rebuilds_an_empty_cache_finds_where_its_topic_goes_on(stream, user):
    stored = dict.fromkeys(range(stream.kafka_partitions), 1)
    closed = stream.interval.step_of(FIRST_HOUR)
    assert resume_offsets(stream, stored, closed, margin_s=0, user=user).keys() <= stored.keys()


def test_a_service_that_lacks_a_right_says_so_and_ends(stream, settings):
    consumer = _as_postgre_consumer(stream, settings) | {"group": REDIS_GROUP}
    with pytest.raises(SettingsError, match="Kafka forbids user energy_postgres_consumer what this service needs"):
        consume(stream, threading.Event(), **consumer)
