"""What the publisher keeps until it is acknowledged: bounded in messages and in bytes."""

import pytest
from kafka.errors import KafkaTimeoutError
from kafka.future import Future

from Sensor_core.errors import RetriableError
from Setup import publisher as publisher_module
from Setup.lifecycle import Stop
from Setup.publisher import MAX_IN_FLIGHT, Publisher
from Setup.settings import Settings


class SilentProducer:
    """Takes everything; acknowledges when it is told to."""

    def __init__(self):
        self.futures = []
        self.is_closed = False

    def flush(self, **_):
        raise KafkaTimeoutError("Timeout waiting for future")

    def close(self, **_):
        self.is_closed = True

    def send(self, *_, **__):
        self.futures.append(Future())
        return self.futures[-1]


@pytest.fixture
def producer(monkeypatch):
    producer = SilentProducer()
    monkeypatch.setattr(publisher_module, "_make_producer", lambda *_: producer)
    monkeypatch.setattr(publisher_module, "STOP_GRACE_S", 0.01)
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


def test_a_client_that_gets_no_answer_is_replaced_by_another_once_kafka_answers_that(monkeypatch):
    made, is_away = [], [False]

    def make(*_):
        if is_away[0]:
            raise RetriableError("Kafka is away")
        made.append(SilentProducer())
        return made[-1]

    monkeypatch.setattr(publisher_module, "_make_producer", make)
    monkeypatch.setattr(publisher_module, "STOP_GRACE_S", 0.01)
    publisher = Publisher(Settings(_env_file=None), "test")
    is_away[0] = True
    with pytest.raises(RetriableError, match="Timeout waiting"):
        publisher.flush(timeout_s=0.0)
    assert [producer.is_closed for producer in made] == [False]
    is_away[0] = False
    with pytest.raises(RetriableError, match="Timeout waiting"):
        publisher.flush(timeout_s=0.0)
    assert [producer.is_closed for producer in made] == [True, False]
    publisher.send("t", b"{}", key=None, schema=b"reading.v1")
    assert len(made[1].futures) == 1
