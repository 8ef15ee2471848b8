"""A publisher whose broker has gone lets its process end."""

import threading
import time
from collections.abc import Iterator

import pytest

from Sensor_core.errors import RetriableError
from Sensor_core.reading import READING_SCHEMA
from Setup.publisher import STOP_GRACE_S, Publisher

pytestmark = [
    pytest.mark.integration,
    pytest.mark.usefixtures("leaking_clients"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.fixture
def stranded(settings, engines, stop) -> Iterator[Publisher]:
    """With a message that nobody acknowledges."""
    publisher = Publisher(settings, "test", stop)
    publisher.send(settings.topic_weather, b"1", key=None, schema=READING_SCHEMA)
    publisher.flush()
    engines.kill("kafka")
    publisher.send(settings.topic_weather, b"2", key=None, schema=READING_SCHEMA)
    yield publisher
    engines.restart("kafka")


def test_it_stops_waiting_for_acknowledgements_once_told_to_stop(stranded, stop):
    threading.Timer(1.0, stop.set).start()
    begun = time.monotonic()
    with pytest.raises(RetriableError, match="Timeout"):
        stranded.flush()
    assert time.monotonic() - begun < 1 + 2 * STOP_GRACE_S
    stranded.close()
    assert time.monotonic() - begun < 1 + 5 * STOP_GRACE_S
