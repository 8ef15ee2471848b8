"""Dead letters as Postgres has them: found, counted, and put back on the topics that they came from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import islice
from typing import Final

import msgspec
from psycopg2.extensions import connection as Connection  # noqa: N812 - a class in lower case

from Consumers.dead_letters import MAX_KEPT_BYTES, Text, to_bytes, to_text
from Consumers.decoding import header
from Consumers.statements import statement
from Sensor_core.errors import EnergyError
from Sensor_core.reading import READING_SCHEMA
from Setup.kafka_initialization import SCHEMA_HEADER
from Setup.publisher import Publisher

PAGE: Final = 500
REPLAY_HEADER: Final = "replay_of"
Origin = tuple[str, int, int]
"""Topic, partition and offset that a dead letter came from."""


class Letter(msgspec.Struct, kw_only=True):
    """A dead letter; the form that ``show --json`` writes and ``replay --file`` reads."""

    topic: str
    partition: int
    offset: int
    consumer: str = ""
    reason: str = ""
    noticed_at: datetime | None = None
    replayed_at: datetime | None = None
    key: Text
    payload: Text
    headers: list[tuple[str, Text]]

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        return self.topic, self.partition, self.offset


@dataclass(frozen=True)
class Selection:
    """Which dead letters are meant; what is None does not matter."""

    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Kind:
    """Dead letters of one topic whose reasons differ in numbers only."""

    topic: str
    reason: str
    count: int
    waiting: int
    """Not replayed yet."""
    last: datetime


@dataclass
class Outcome:
    """What became of the dead letters that were to be replayed."""

    replayed: int = 0
    replayed_before: int = 0


class DeadLetterArchive:
    """The table of dead letters."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kinds(self, selection: Selection) -> list[Kind]:
        """Counts, the most frequent kind first."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(statement("count_dead_letters"), asdict(selection))
            return [Kind(*row) for row in cursor.fetchall()]

    def letters(self, selection: Selection) -> Iterator[Letter]:
        """The selected ones, by origin; read page by page."""
        last: Origin | None = None
        while True:
            after = dict(zip(("after_topic", "after_partition", "after_offset"), last or (None,) * 3, strict=True))
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(statement("select_dead_letters"), asdict(selection) | after | {"page": PAGE})
                page = [_letter(row) for row in cursor.fetchall()]
            yield from page
            if len(page) < PAGE:
                return
            last = page[-1].origin

    def replay(self, letters: Iterable[Letter], publisher: Publisher, topics: Sequence[str], *, force: bool) -> Outcome:
        """Put messages back on their topics and mark them, each once.

        A page is marked when the broker has acknowledged it: a crash in between repeats a page, and the stores keep
        what comes twice once.

        Args:
            letters: What to put back.
            publisher: Where to.
            topics: Topics that may be written to.
            force: Also those that were replayed before.

        Raises:
            EnergyError: One of them cannot be replayed as it is, or no such dead letter exists.
            RetriableError: Kafka or Postgres does not answer; what is marked is replayed.
        """
        outcome = Outcome()
        remaining = iter(letters)
        while page := list(islice(remaining, PAGE)):
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(statement("lock_dead_letters"), {"origins": tuple(letter.origin for letter in page)})
                marks: dict[Origin, datetime | None] = {tuple(row[:3]): row[3] for row in cursor.fetchall()}
                chosen = [letter for letter in page if force or _mark_of(letter, marks) is None]
                for letter in chosen:
                    _send(letter, publisher, topics)
                publisher.flush(timeout_s=20)
                if chosen:
                    cursor.execute(statement("mark_dead_letters"), {"origins": tuple(le.origin for le in chosen)})
            outcome.replayed += len(chosen)
            outcome.replayed_before += len(page) - len(chosen)
        return outcome


def _letter(row: tuple[object, ...]) -> Letter:
    names = ("topic", "partition", "offset", "consumer", "reason", "noticed_at", "replayed_at")
    *facts, key, payload, headers = row
    values = [to_text(None if value is None else bytes(value)) for value in (key, payload)]  # type: ignore[call-overload]
    named = dict(zip(names, facts, strict=True)) | {"key": values[0], "payload": values[1], "headers": headers}
    return msgspec.convert(named, Letter)


def _mark_of(letter: Letter, marks: dict[Origin, datetime | None]) -> datetime | None:
    if letter.origin not in marks:
        raise EnergyError(f"there is no dead letter {name_of(letter.origin)}")
    return marks[letter.origin]


def _send(letter: Letter, publisher: Publisher, topics: Sequence[str]) -> None:
    if letter.topic not in topics:
        raise EnergyError(f"{name_of(letter.origin)}: topic {letter.topic} is none that the consumers read")
    key, payload = to_bytes(letter.key), to_bytes(letter.payload)
    if any(part is not None and len(part) >= MAX_KEPT_BYTES for part in (key, payload)):
        raise EnergyError(f"{name_of(letter.origin)}: only {MAX_KEPT_BYTES} bytes of its key or payload were kept")
    headers = [(name, to_bytes(value) or b"") for name, value in letter.headers]
    kept = [pair for pair in headers if pair[0] not in {SCHEMA_HEADER, REPLAY_HEADER}]
    publisher.send(
        letter.topic,
        payload,
        key=key,
        schema=header(headers, SCHEMA_HEADER) or READING_SCHEMA,
        headers=[*kept, (REPLAY_HEADER, name_of(letter.origin).encode())],
    )


def name_of(origin: Origin) -> str:
    """An origin as commands take it: ``topic/partition/offset``."""
    return "/".join(map(str, origin))
