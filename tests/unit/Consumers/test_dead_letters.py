"""Whatever a message is like, Kafka takes the dead letter that is made of it."""

import pytest

from Consumers.dead_letters import MAX_KEPT_BYTES, DeadLetters, read_dead_letter
from Consumers.testing import StubMessage
from Setup.kafka_initialization import SCHEMA_HEADER

MIB = 2**20
LENGTHS = 20
"""Most bytes that the lengths of one header, or of one message's key and value, take."""


class StrictPublisher:
    """Takes what kafka-python sends with its default limits."""

    def __init__(self):
        self.sent = []

    def send(self, topic, value, *, key, schema, headers):
        assert (key, value) != (None, None)
        assert all(isinstance(content, bytes) for _, content in headers)
        parts = [key or b"", value or b"", *(part for name, content in headers for part in (name.encode(), content))]
        assert sum(map(len, parts)) + LENGTHS * (len(headers) + 2) <= MIB
        self.sent.append(StubMessage(topic, 0, 0, value, key, [(SCHEMA_HEADER, schema), *headers]))

    def flush(self):
        """Everything has arrived."""


@pytest.mark.parametrize(
    "given",
    [
        {"key": b"k" * MIB, "value": b"{"},
        {"key": b"k", "value": b"v" * MIB},
        {"value": b"{", "headers": [("h" * MIB, b"")]},
        {"value": b"{", "headers": [("own", b"h")] * 100_000},
        {"key": b"k" * MIB, "value": b"v" * MIB, "headers": [("own", b"h" * 1000)] * 1000},
        {"key": None, "value": None, "headers": [("own", None)]},
    ],
)
def test_as_much_is_kept_as_fits_into_one_message(given):
    publisher = StrictPublisher()
    message = StubMessage("readings", 2, 7, **given)
    DeadLetters(publisher, "dead", "test").publish([(message, "x" * 1000)])
    letter = read_dead_letter(publisher.sent[0])
    assert (letter.topic, letter.partition, letter.offset) == ("readings", 2, 7)
    assert (letter.payload or None) == (given["value"] and given["value"][:MAX_KEPT_BYTES])
    assert letter.key == (given.get("key") and given["key"][:MAX_KEPT_BYTES])
    kept = [(name, value or b"") for name, value in given.get("headers", [])][: len(letter.headers)]
    assert list(letter.headers) == kept
