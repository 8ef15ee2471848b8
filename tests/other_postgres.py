"""A PostgreSQL server of other binaries than the embedded ones, for tests of the SQL."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg2

VARIABLE = "ENERGY_TEST_POSTGRES_BIN"
"""Names the folder of the binaries, such as /usr/lib/postgresql/15/bin."""
HBA_FILE = Path(__file__).resolve().parents[1] / "config/postgres/pg_hba.conf"
_READY_WITHIN_S = 30


def chosen_binaries() -> Path | None:
    """The folder that the environment asks for, if it does."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


@contextmanager
def running_server(binaries: Path, password: str, certificate: Mapping[str, bytes] | None = None) -> Iterator[int]:
    """A new server with that superuser's password; gives its port on 127.0.0.1, and leaves nothing behind.

    Args:
        binaries: Folder of its programs.
        password: The superuser's.
        certificate: Its ``server.crt`` and ``server.key``; with them it is configured as the compose file does it, and
            lets nobody in without TLS.
    """
    folder = Path(tempfile.mkdtemp(prefix="other-postgres-"))  # not pytest's, which another user may not pass
    # PostgreSQL refuses to run as root.
    account = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        _create(binaries, folder, password, account)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        command = [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        command += ["-c", "unix_socket_directories=", "-c", "timezone=UTC", "-c", "fsync=off"]
        command += _tls_options(folder, certificate, account) if certificate else []
        log = folder / "log"
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, **account) as server:
            try:
                _wait_until_ready(server, port, password, log)
                yield port
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder)


def _create(binaries: Path, folder: Path, password: str, account: dict) -> None:
    password_file = folder / "password"
    password_file.write_text(password)
    for path in (folder, password_file):
        shutil.chown(path, account.get("user", os.geteuid()))
    command = [binaries / "initdb", "-D", folder / "data", "-U", "postgres", f"--pwfile={password_file}"]
    command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **account)


def _tls_options(folder: Path, certificate: Mapping[str, bytes], account: dict) -> list[str]:
    for name, content in certificate.items():
        file = folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)
        shutil.chown(file, account.get("user", os.geteuid()))
    options = ["ssl=on", f"hba_file={folder}/pg_hba.conf"]
    options += [f"ssl_cert_file={folder}/server.crt", f"ssl_key_file={folder}/server.key"]
    shutil.copyfile(HBA_FILE, folder / "pg_hba.conf")
    return [part for option in options for part in ("-c", option)]


def _wait_until_ready(server: subprocess.Popen, port: int, password: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="postgres", password=password, dbname="postgres").close()
        except psycopg2.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        else:
            return
