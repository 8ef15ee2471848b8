"""Who may do what in Kafka where KAFKA_AUTHENTICATION=scram: a user for each service, with the least that it needs.

The trainer has none: it comes nowhere near Kafka. Idempotent producing needs no right of its own beside WRITE.
"""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from Sensor_core.errors import RetriableError
from Setup.kafka_login import KafkaUser, connection_options, explained_errors, password_of, wait_for_kafka
from Setup.lifecycle import Stop
from Setup.settings import Settings

POSTGRES_GROUP: Final = "postgre_consumer"
REDIS_GROUP: Final = "redis_consumer"
_ANY_HOST: Final = "*"


@dataclass(frozen=True)
class Rights:
    """What one user may do, and nothing else.

    Attributes:
        read: Topics to read.
        write: Topics to write.
        groups: Consumer groups to be a member of.
    """

    read: tuple[str, ...]
    write: tuple[str, ...]
    groups: tuple[str, ...] = ()


def rights_of(settings: Settings) -> dict[KafkaUser, Rights]:
    """The rights of every service's user."""
    consumption, dead_letters = settings.consumption_topics, settings.topic_dead_letters
    forecasts = (settings.topic_predictions, settings.topic_weather, settings.topic_anomalies)
    return {
        # It goes on after the newest tick that the topics hold.
        KafkaUser.SENSOR: Rights(read=consumption, write=consumption),
        KafkaUser.POSTGRES_CONSUMER: Rights(
            read=(settings.topic_postgre, *forecasts, dead_letters), write=(dead_letters,), groups=(POSTGRES_GROUP,)
        ),
        # These two rebuild an empty cache: the warehouse's topic says how far Postgres has come.
        KafkaUser.REDIS_CONSUMER: Rights(read=consumption, write=(dead_letters,), groups=(REDIS_GROUP,)),
        KafkaUser.PREDICTOR: Rights(read=consumption, write=forecasts),
    }


def grant_access(settings: Settings) -> None:
    """Give every service's user its password and its rights, and take away others that it was once given.

    Rules that deny something are left alone.

    Raises:
        SettingsError: A password is missing or wrong.
        RetriableError: The brokers do not answer, or refuse.
    """
    options = connection_options(settings, "energy-setup", KafkaUser.ADMIN)
    with explained_errors(settings, KafkaUser.ADMIN), closing(KafkaAdminClient(**options)) as admin:
        rights = rights_of(settings)
        _set_passwords(admin, {user.value[0]: password_of(settings, user) for user in rights})
        for user, granted in rights.items():
            _set_rules(admin, f"User:{user.value[0]}", granted)


def wait_for_access(settings: Settings, stop: Stop | None = None) -> None:
    """Grant access, trying until the deadline.

    Raises:
        SettingsError: A password is missing or wrong.
        UnreachableError: Kafka did not answer within START_DEADLINE_S.
    """
    wait_for_kafka(settings, lambda: grant_access(settings), stop)


def _set_passwords(admin: Any, passwords: dict[str, str]) -> None:
    changes = [
        UserScramCredentialUpsertion(name, ScramMechanism.SCRAM_SHA_512, password)
        for name, password in passwords.items()
    ]
    refused = {name: reason for name, reason in admin.alter_user_scram_credentials(changes).items() if reason}
    if refused:
        raise RetriableError(f"Kafka does not take the passwords of its users: {refused}")


def _set_rules(admin: Any, principal: str, rights: Rights) -> None:
    anything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    allowed = ACLFilter(principal, None, ACLOperation.ANY, ACLPermissionType.ALLOW, anything)
    existing, wanted = set(admin.describe_acls(allowed)[0]), set(_rules(principal, rights))
    if missing := list(wanted - existing):
        failed = admin.create_acls(missing)["failed"]
        if failed:
            raise RetriableError(f"Kafka does not take the rights of {principal}: {failed[0].__name__}")
    if needless := list(existing - wanted):
        admin.delete_acls(needless)


def _rules(principal: str, rights: Rights) -> Iterable[ACL]:
    topic, group = ResourceType.TOPIC, ResourceType.GROUP
    for kind, names, operation in (
        (topic, rights.read, ACLOperation.READ),
        (topic, rights.write, ACLOperation.WRITE),
        (group, rights.groups, ACLOperation.READ),
    ):
        for name in names:
            pattern = ResourcePattern(kind, name, ACLResourcePatternType.LITERAL)
            yield ACL(principal, _ANY_HOST, operation, ACLPermissionType.ALLOW, pattern)
