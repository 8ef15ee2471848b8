"""A copy in Postgres of what the predictor has learned, for when Redis has lost it and no predictor remembers.

Forecasts that wait for their truth are left out: they are most of the state, and of no use after two days.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings

COPIED_PARTS: Final = ("factors", "paths")
_UPSERT: Final = """
INSERT INTO learned_state (part, learned_until, content) VALUES %s
ON CONFLICT (part) DO UPDATE SET learned_until = excluded.learned_until, content = excluded.content"""


class LearnedCopy:
    """The table ``learned_state``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def read(self) -> dict[str, bytes]:
        """Parts of a finisher's state; none if there is no copy yet.

        Raises:
            RetriableError: Postgres does not answer.
        """
        with self._transaction() as cursor:
            cursor.execute("SELECT part, content FROM learned_state")
            return {part: bytes(content) for part, content in cursor.fetchall()}

    def write(self, state: Mapping[str, bytes], learned_until: datetime) -> None:
        """Replace the copy.

        Raises:
            RetriableError: Postgres does not answer.
        """
        rows = [(part, learned_until, state[part]) for part in COPIED_PARTS if part in state]
        with self._transaction() as cursor:
            execute_values(cursor, _UPSERT, rows)

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with (
            curable_errors(),
            closing(connect(self._settings, Role.PREDICTOR)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor
