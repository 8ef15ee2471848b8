"""How a client comes to Kafka: the user it logs in as, the transport, and why it was not let in.

kafka-python 3.0.12 tells only its log why a login or a handshake failed, tries on, and raises KafkaTimeoutError when
the bootstrap time is over: ``explained_errors`` listens to that log. A broker refuses a login and hangs up at once, and
the client throws away what it was told with the connection: then all it knows is that every broker hangs up on it.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final, TypeVar

from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    KafkaError,
    KafkaTimeoutError,
    RequestTimedOutError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
)

from Sensor_core.errors import EnergyError, RetriableError, SettingsError
from Setup.lifecycle import Stop, wait_for
from Setup.passwords import password_for
from Setup.settings import Settings
from Setup.tls import client_context

T = TypeVar("T")

_CONNECTION_LOG: Final = "kafka.net"
_TIME_IS_OVER: Final = (KafkaTimeoutError, RequestTimedOutError)
_REFUSALS: Final = (SaslAuthenticationFailedError, UnsupportedSaslMechanismError, IllegalSaslStateError)
_HUNG_UP: Final = re.compile("disconnected|reset by peer|Handshake failed|Invalid frame length")
_WRONG_CERTIFICATE: Final = re.compile(r"certificate verify failed: (.*?)\.? \(_ssl")


class KafkaUser(Enum):
    """Who logs in where KAFKA_AUTHENTICATION=scram: the user's name and the setting that has its password."""

    ADMIN = ("energy_admin", "kafka_admin_password")
    SENSOR = ("energy_sensor", "sensor_kafka_password")
    POSTGRES_CONSUMER = ("energy_postgres_consumer", "postgres_consumer_kafka_password")
    REDIS_CONSUMER = ("energy_redis_consumer", "redis_consumer_kafka_password")
    PREDICTOR = ("energy_predictor", "predictor_kafka_password")


def password_of(settings: Settings, user: KafkaUser) -> str:
    """The password of a user.

    Raises:
        SettingsError: It is empty, or is one that everybody knows, and a broker is not on this machine.
    """
    name, field = user.value
    servers = settings.kafka_bootstrap_servers.split(",")
    password = password_for(settings, field, *(server.strip().rsplit(":", 1)[0] for server in servers))
    if not password:
        raise SettingsError(f"{field.upper()} is empty, and with KAFKA_AUTHENTICATION=scram user {name} needs it")
    return password


def connection_options(settings: Settings, client_id: str, user: KafkaUser) -> dict[str, Any]:
    """What every client of Kafka is made with.

    Raises:
        SettingsError: A password or the authority's certificate is missing.
    """
    logs_in = settings.kafka_authentication == "scram"
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers.split(","),
        "client_id": client_id,
        "bootstrap_timeout_ms": 5_000,
        "reconnect_backoff_max_ms": 2_000,  # the default, 30 s, outlasts a broker's restart
        "security_protocol": ("SASL_" if logs_in else "") + ("SSL" if settings.tls else "PLAINTEXT"),
    }
    if settings.tls:
        options["ssl_context"] = client_context(settings)
    if logs_in:
        options |= {
            # The brokers know the administrator from their own start on, the others from what it tells them.
            "sasl_mechanism": "PLAIN" if user is KafkaUser.ADMIN else "SCRAM-SHA-512",
            "sasl_plain_username": user.value[0],
            "sasl_plain_password": password_of(settings, user),
        }
    return options


def wait_for_kafka(settings: Settings, attempt: Callable[[], T], stop: Stop | None = None) -> T:
    """Attempt until it succeeds.

    Raises:
        UnreachableError: Kafka did not answer within START_DEADLINE_S.
        StoppedError: The process was told to stop.
    """
    where, deadline_s = settings.kafka_bootstrap_servers, settings.start_deadline_s
    return wait_for("Kafka", where, attempt, deadline_s=deadline_s, stop=stop)


@contextmanager
def curable_errors() -> Iterator[None]:
    """Turn the client's errors into RetriableError."""
    try:
        yield
    except KafkaError as error:
        raise RetriableError(f"Kafka: {type(error).__name__}: {error}") from error


@contextmanager
def explained_errors(settings: Settings, user: KafkaUser) -> Iterator[None]:
    """Turn the client's errors into this system's, with the reason that the client keeps to its log.

    Raises:
        SettingsError: The brokers refuse the login, or show a certificate that is not to be believed.
        RetriableError: Any other error of the client.
    """
    reasons = _Reasons()
    log = logging.getLogger(_CONNECTION_LOG)
    log.addHandler(reasons)
    try:
        yield
    except KafkaError as error:
        raise _explained(error, reasons.most_telling(), settings, user) from error
    finally:
        log.removeHandler(reasons)


@contextmanager
def explained_refusal(user: KafkaUser) -> Iterator[None]:
    """Say in one line what a user may not do and has to.

    Raises:
        SettingsError: Kafka forbade something.
    """
    try:
        yield
    except AuthorizationError as error:
        raise SettingsError(
            f"Kafka forbids user {user.value[0]} what this service needs ({error}): run energy-setup, which allows it"
        ) from error


class _Reasons(logging.Handler):
    """Keeps the errors that log records are about, but for time that is over: there is a reason for that."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._errors: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what one record has."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        self._errors += [a for a in arguments if isinstance(a, Exception) and not isinstance(a, _TIME_IS_OVER)]

    def most_telling(self) -> Exception | None:
        """A refusal if there was one, or else the newest error, of those that say more than that a broker hung up."""
        refusals = [error for error in self._errors if isinstance(error, _REFUSALS) or _certificate_fault(error)]
        others = [error for error in self._errors if not _HUNG_UP.search(str(error))]
        return next((errors[-1] for errors in (refusals, others, self._errors) if errors), None)


def _certificate_fault(error: Exception | None) -> str | None:
    found = _WRONG_CERTIFICATE.search(str(error))
    return found[1] if found else None


def _explained(error: KafkaError, reason: Exception | None, settings: Settings, user: KafkaUser) -> EnergyError:
    where, (name, field) = f"Kafka at {settings.kafka_bootstrap_servers}", user.value
    if fault := _certificate_fault(reason):
        return SettingsError(
            f"{where} has a certificate that TLS_CA_FILE={settings.tls_ca_file} does not vouch for: {fault}"
        )
    if isinstance(reason, SaslAuthenticationFailedError):
        origin = "the brokers were started with another one" if user is KafkaUser.ADMIN else "energy-setup sets it anew"
        return SettingsError(f"{where} does not let user {name} in: {field.upper()} is not its password ({origin})")
    if isinstance(reason, _REFUSALS):
        return SettingsError(f"{where} has no login that user {name} could use: KAFKA_AUTHENTICATION has to be none")
    if not _HUNG_UP.search(str(reason)):
        return RetriableError(str(error) if reason is None else f"{error} ({reason})")
    settings_in_use = f"KAFKA_AUTHENTICATION={settings.kafka_authentication} and TLS={str(settings.tls).lower()}"
    if settings.kafka_authentication == "none":
        return RetriableError(f"{error} ({reason}); do the brokers have {settings_in_use}, too?")
    return SettingsError(
        f"{where} hangs up on user {name}: is {field.upper()} its password, and do the brokers have {settings_in_use}?"
    )
