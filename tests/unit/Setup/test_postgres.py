"""What is said of a Postgres that does not let us in."""

import psycopg2
import pytest

from Sensor_core.errors import RetriableError
from Setup.postgres import Role, connect
from Setup.settings import Settings

REFUSED = """connection to server at "localhost" (::1), port 5432 failed: Connection refused
\tIs the server running on that host and accepting TCP/IP connections?
"""
NO_USER = """connection to server at "localhost" (127.0.0.1), port 5432 failed: FATAL:  role "energy" does not exist
"""


@pytest.mark.parametrize(
    ("text", "cause"), [(REFUSED, "Connection refused"), (REFUSED + NO_USER, "does not exist")], ids=["one", "two"]
)
def test_a_connection_that_fails_says_why_and_not_what_libpq_asks_back(monkeypatch, text, cause):
    def fail(**_):
        raise psycopg2.OperationalError(text)

    monkeypatch.setattr(psycopg2, "connect", fail)
    with pytest.raises(RetriableError, match=f"^connection to server at .* failed: .*{cause}$"):
        connect(Settings(_env_file=None), Role.TRAINER)
