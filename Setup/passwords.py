"""Passwords of the demonstration: everybody knows them, so that they open nothing beyond this machine."""

from ipaddress import ip_address
from typing import Final

from Sensor_core.errors import SettingsError
from Setup.settings import Settings

DEMONSTRATION: Final = "demo-"
"""What the passwords in `.env` begin with."""
_GRAFANAS_OWN: Final = ("grafana_admin_password", "admin")
"""The one that begins otherwise: everybody knows it from Grafana."""
_NETWORK_OF_COMPOSE: Final = frozenset({"kafka", "kafka-2", "kafka-3", "postgres", "redis"})
"""Hosts in the network of docker-compose.yml, which publishes nothing beyond this machine."""


def password_for(settings: Settings, field: str, *hosts: str) -> str:
    """The password to show to these hosts.

    Args:
        settings: Have it.
        field: Where.
        hosts: Names or addresses of the servers, or the folder of a socket.

    Raises:
        SettingsError: It is a demonstration's, and one of the hosts is not this machine.
    """
    password: str = getattr(settings, field).get_secret_value()
    stranger = next((host for host in hosts if not is_this_machine(host)), None)
    if stranger is not None and password.startswith(DEMONSTRATION):
        raise SettingsError(
            f"{field.upper()} is that of the demonstration, which everybody knows, and {stranger} is not this machine: "
            "`make secrets` writes others"
        )
    return password


def is_this_machine(host: str) -> bool:
    """Whether nobody else can reach the server: by its host's name, without asking a name server."""
    if host == "localhost" or host.startswith("/") or host in _NETWORK_OF_COMPOSE:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def warning(settings: Settings) -> str | None:
    """What to say of the demonstration's passwords among the settings, if there are any."""
    passwords = {
        name: getattr(settings, name).get_secret_value() for name in Settings.model_fields if name.endswith("_password")
    }
    known = [
        name.upper()
        for name, password in passwords.items()
        if password.startswith(DEMONSTRATION) or (name, password) == _GRAFANAS_OWN
    ]
    if not known:
        return None
    return f"everybody knows these passwords of the demonstration, `make secrets` writes others: {', '.join(known)}"
