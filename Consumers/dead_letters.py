"""The dead-letter topic: messages that can never be stored, with where they came from and why.

Both consumers publish to it; the warehouse consumer also reads it, so that dead letters reach Postgres the
way that everything does. Reading it cannot fail: whatever the headers lack is filled in.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec

from Consumers.decoding import DeadLetter, Headers, Message, header
from Setup.metrics import DEAD_LETTERS
from Setup.publisher import Publisher

logger = logging.getLogger(__name__)

DEAD_LETTER_SCHEMA: Final = b"dead_letter.v1"
MAX_KEPT_BYTES: Final = 256 * 1024
"""Most that is kept of a message's value, of its key, and of its headers: together they fit into one message."""
_PREFIX: Final = "dead_letter."
_MOST_DIGITS: Final = 18
_HEADER_LENGTHS: Final = 10
"""Most bytes that the lengths of a header's name and value take."""


class Base64(msgspec.Struct, frozen=True):
    """Bytes that are no text, as JSON has them."""

    base64: bytes


Text = str | Base64 | None
"""Bytes of a message as JSON has them."""


def to_text(value: bytes | None) -> Text:
    """Bytes for JSON: as text where they are text that Postgres takes."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Base64(value)
    return Base64(value) if "\0" in text else text


def to_bytes(text: Text) -> bytes | None:
    """What ``to_text`` was given."""
    if isinstance(text, Base64):
        return text.base64
    return None if text is None else text.encode()


class DeadLetters:
    """Publishes what a consumer has to refuse."""

    def __init__(self, publisher: Publisher, topic: str, consumer: str) -> None:
        self._publisher = publisher
        self._topic = topic
        self._consumer = consumer

    def publish(self, refused: Sequence[tuple[Message, str]]) -> None:
        """Publish messages, each with the reason, and wait until all are acknowledged.

        Raises:
            RetriableError: One was not: publish them all again before their batch is stored.
        """
        if not refused:
            return
        for message, reason in refused:
            self._send(message, reason)
        self._publisher.flush()
        for message, reason in refused:
            DEAD_LETTERS.labels(message.topic).inc()
            logger.warning(
                "dead letter from %s-%d at %d: %s", message.topic, message.partition, message.offset, reason,
                extra={"event": "dead_letter"},
            )  # fmt: skip

    def _send(self, message: Message, reason: str) -> None:
        origin = {
            "topic": message.topic,
            "partition": str(message.partition),
            "offset": str(message.offset),
            "consumer": self._consumer,
            "reason": reason[:500],
            "noticed_at": datetime.now(tz=UTC).isoformat(),
        }
        headers = [(_PREFIX + name, value.encode()) for name, value in origin.items()]
        key, value = (None if part is None else part[:MAX_KEPT_BYTES] for part in (message.key, message.value))
        if key is None and value is None:
            value = b""  # the client sends nothing that has neither
        self._publisher.send(
            self._topic,
            value,
            key=key,
            schema=DEAD_LETTER_SCHEMA,
            headers=[*headers, *_kept_headers(message.headers)],
        )


def _kept_headers(headers: Headers) -> Iterator[tuple[str, bytes]]:
    """The first headers, as many as may be kept; other clients send some without a value, which this one does not."""
    room = MAX_KEPT_BYTES
    for name, value in headers:
        room -= len(name.encode()) + len(value or b"") + _HEADER_LENGTHS
        if room < 0:
            return
        yield name, value or b""


def read_dead_letter(message: Message) -> DeadLetter:
    """Read one message of the dead-letter topic."""

    def text(name: str, otherwise: str) -> str:
        value = header(message.headers, _PREFIX + name)
        return otherwise if value is None else value.decode(errors="replace").replace("\0", "")

    def number(name: str, otherwise: int) -> int:
        value = text(name, "")
        return int(value) if value.isdecimal() and len(value) <= _MOST_DIGITS else otherwise

    try:
        noticed_at = datetime.fromisoformat(text("noticed_at", ""))
    except ValueError:
        noticed_at = datetime.now(tz=UTC)
    return DeadLetter(
        topic=text("topic", message.topic),
        partition=number("partition", message.partition),
        offset=number("offset", message.offset),
        consumer=text("consumer", "unknown"),
        reason=text("reason", "unknown"),
        noticed_at=noticed_at if noticed_at.tzinfo else noticed_at.replace(tzinfo=UTC),
        key=message.key,
        payload=message.value,
        headers=_own_headers(message.headers),
    )


def _own_headers(headers: Headers) -> tuple[tuple[str, bytes], ...]:
    """The headers that the refused message had: behind the dead letter's schema and origin."""
    return tuple((name.replace("\0", ""), value) for name, value in headers[1:] if not name.startswith(_PREFIX))
