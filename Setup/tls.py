"""TLS to Kafka and Postgres: whom to believe."""

import ssl
from pathlib import Path

from Sensor_core.errors import SettingsError
from Setup.settings import Settings


def client_context(settings: Settings) -> ssl.SSLContext:
    """What a client demands of a server: a certificate of the authority in TLS_CA_FILE, made out to the server's name.

    Raises:
        SettingsError: The file cannot be read, or has no certificate in it.
    """
    file = settings.tls_ca_file
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError:
        raise SettingsError(f"TLS_CA_FILE: {file} holds no certificate in PEM format") from None
    except OSError as error:
        raise SettingsError(
            f"TLS_CA_FILE: {file} cannot be read ({error.strerror}): "
            "put the certificate of the authority there that the servers' certificates are from, or set TLS=false"
        ) from None


def ca_file(settings: Settings) -> Path:
    """The authority's certificate, for programs that read it themselves.

    Raises:
        SettingsError: The file cannot be read, or has no certificate in it.
    """
    client_context(settings)
    return settings.tls_ca_file
