"""What the publisher keeps until it is acknowledged: bounded in messages and in bytes."""

import pytest
from kafka.future import Future

from Sensor_core.errors import RetriableError
from Setup import kafka_initialization
from Setup.kafka_initialization import MAX_IN_FLIGHT, Publisher
from Setup.lifecycle import Stop
from Setup.settings import Settings


class SilentProducer:
    """Takes everything; acknowledges when it is told to."""

    def __init__(self):
        self.futures = []

    def send(self, *_, **__):
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def producer(monkeypatch):
    producer = SilentProducer()
    monkeypatch.setattr(kafka_initialization, "_make_producer", lambda *_: producer)
    monkeypatch.setattr(kafka_initialization, "STOP_GRACE_S", 0.01)
    return producer


@pytest.fixture
def publisher(producer):
    stop = Stop()
    publisher = Publisher(Settings(_env_file=None), "test", stop)
    stop.set()
    return publisher


def fill(publisher, value, headers=()):
    while True:
        publisher.send("t", value, key=None, schema=b"reading.v1", headers=headers)


@pytest.mark.parametrize(("value", "headers"), [(b"x" * 2**18, ()), (None, [("trace", b"x" * 2**18)])])
def test_few_large_messages_are_as_much_in_flight_as_many_small_ones(publisher, producer, value, headers):
    with pytest.raises(RetriableError, match="too much is not acknowledged"):
        fill(publisher, value, headers)
    assert 100 < len(producer.futures) < 160
    for future in producer.futures:
        future.success(None)
    producer.futures.clear()
    with pytest.raises(RetriableError, match="too much is not acknowledged"):
        fill(publisher, b"{}")
    assert len(producer.futures) == MAX_IN_FLIGHT
