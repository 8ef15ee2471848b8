"""A copy in Postgres of what the predictor has learned, for when Redis has lost it and no predictor remembers.

Forecasts that wait for their truth are left out: they are most of the state, and of no use after two days.
"""

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Final

from psycopg2.extensions import cursor as Cursor  # noqa: N812 - a class in lower case
from psycopg2.extras import execute_values

from Sensor_core.errors import RetriableError
from Setup.background import answer_of, in_background
from Setup.postgres import Role, connect, curable_errors
from Setup.settings import Settings

logger = logging.getLogger(__name__)

ANSWER_WITHIN_S: Final = 4.0
COPIED_PARTS: Final = ("factors", "paths", "total_factors")
_UPSERT: Final = """
INSERT INTO learned_state (part, learned_until, content) VALUES %s
ON CONFLICT (part) DO UPDATE SET learned_until = excluded.learned_until, content = excluded.content"""


class LearnedCopy:
    """The table ``learned_state``. Postgres may be away, or hang, and no forecast waits for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reading: Future[dict[str, bytes]] | None = None
        self._writing: Future[None] | None = None

    def read(self) -> dict[str, bytes]:
        """Parts of a finisher's state; none if there is no copy yet.

        Raises:
            RetriableError: Postgres does not answer.
        """
        if self._reading is None:  # or else the last one may still hang, with its connection
            self._reading = in_background(self._read)
        try:
            return answer_of(self._reading, "Postgres", ANSWER_WITHIN_S)
        finally:
            if self._reading.done():
                self._reading = None

    def _read(self) -> dict[str, bytes]:
        with self._transaction() as cursor:
            cursor.execute("SELECT part, content FROM learned_state")
            return {part: bytes(content) for part, content in cursor.fetchall()}

    def write(self, state: Mapping[str, bytes], learned_until: datetime) -> None:
        """Replace the copy in the background; leave that to the next time while it is still going on."""
        if self._writing is not None:
            if not self._writing.done():
                logger.warning("what was learned is still being copied", extra={"event": "state_not_copied"})
                return
            self._writing.result()  # raises what trying again does not cure
        rows = [(part, learned_until, state[part]) for part in COPIED_PARTS if part in state]
        self._writing = in_background(self._write, rows)

    def _write(self, rows: list[tuple[str, datetime, bytes]]) -> None:
        try:
            with self._transaction() as cursor:
                execute_values(cursor, _UPSERT, rows)
        except RetriableError as error:
            logger.warning("what was learned is not copied: %s", error, extra={"event": "state_not_copied"})

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        with (
            curable_errors(),
            closing(connect(self._settings, Role.PREDICTOR)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            yield cursor
