"""Dead letters on real engines: listed, shown, put back once, and too many of them stop the consumer."""

import json
import threading

import msgspec
import pytest

from Consumers import dead_letter_tool, postgre_consumer
from Consumers.dead_letter_limit import TooManyDeadLettersError
from Energy_consumption_sensor.feed import Feed
from Sensor_core.reading import READING_SCHEMA
from Sensor_core.testing import make_reading
from Setup.publisher import Publisher
from tests.integration.test_consumers import consume_until, publish_hour, query, stored_ticks

pytestmark = pytest.mark.integration
BINARY = b"\xff\x1b[2J\0not JSON"


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def feed(settings, publisher):
    return Feed(publisher, settings.consumption_topics)


@pytest.fixture
def tool(settings, monkeypatch, capsys):
    """Run the command; gives its exit code and what it printed."""
    monkeypatch.setattr(dead_letter_tool, "load_settings", lambda: settings)

    def run(*arguments):
        code = dead_letter_tool.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


@pytest.fixture
def letters(settings, postgres, publisher, feed):
    """Three dead letters: a negative reading, one with a wrong stamp, and one that is no text."""
    negative = msgspec.json.encode(make_reading(building_id=1)).replace(b":10.0", b":-10.0")
    off_grid = msgspec.json.encode(make_reading(building_id=2)).replace(b"00:00Z", b"17:00Z", 1)
    for value in (negative, off_grid, BINARY):
        publisher.send(settings.topic_postgre, value, key=b"1:0", schema=READING_SCHEMA, headers=[("from", b"\xfe")])
    publish_hour(feed, 0, [])
    consume_until(postgre_consumer.run, settings, lambda: count(postgres) == 3)
    return [f"{topic}/{partition}/{offset}" for topic, partition, offset in query(
        postgres, 'SELECT topic, "partition", "offset" FROM dead_letters ORDER BY "offset"'
    )]  # fmt: skip


def count(postgres):
    return query(postgres, "SELECT count(*) FROM dead_letters")[0][0]


def test_they_are_counted_by_reason_and_listed(tool, letters):
    code, printed = tool("list")
    assert (code, printed.splitlines()[0]) == (0, "3 dead letters, 3 of them not replayed")
    assert "N-N-NTN:N:N+N:N is off the N s grid" in printed
    assert all(letter in printed for letter in letters)
    code, printed = tool("list", "--reason", "GRID", "--limit", 0)
    assert printed.splitlines()[0] == "1 dead letters, 1 of them not replayed"
    assert "0 dead letters" in tool("list", "--until", "2016-01-01")[1]
    assert "0 dead letters" in tool("list", "--topic", "another")[1]


def test_one_is_shown_with_its_headers_and_safely_where_it_is_binary(tool, letters):
    code, printed = tool("show", letters[2])
    assert code == 0
    assert "header schema: reading.v1" in printed
    assert "header from: 1 bytes" in printed
    assert "ff 1b 5b 32 4a 00 6e 6f" in printed
    assert "\x1b" not in printed
    assert tool("show", "nowhere/0/1") == (1, "energy-dead-letters: there is no dead letter nowhere/0/1\n")


def test_a_repaired_one_is_stored_and_none_is_replayed_twice(tool, letters, settings, postgres, tmp_path):
    exported = [json.loads(line) for line in tool("show", "--json")[1].splitlines()]
    for letter in exported:
        if isinstance(letter["payload"], str):
            letter["payload"] = letter["payload"].replace(":-10.0", ":10.5").replace("17:00Z", "00:00Z")
    file = tmp_path / "letters.jsonl"
    file.write_text("\n".join(map(json.dumps, exported[:2])))
    assert tool("replay", "--file", file) == (0, "2 replayed\n")
    consume_until(postgre_consumer.run, settings, lambda: query(postgres, "SELECT count(*) FROM readings") == [(2,)])
    assert query(postgres, "SELECT meter_reading_kwh FROM readings ORDER BY 1") == [(10.0,), (10.5,)]
    assert tool("replay", "--file", file) == (0, "0 replayed; 2 had been before (--force: again)\n")
    assert tool("replay", "--file", file, "--force") == (0, "2 replayed\n")
    assert "3 dead letters, 1 of them not replayed" in tool("list")[1]


def test_what_is_replayed_unchanged_comes_back_with_a_trace_of_where_it_was(tool, letters, settings, postgres):
    assert tool("replay", letters[2]) == (0, "1 replayed\n")
    consume_until(postgre_consumer.run, settings, lambda: count(postgres) == 4)
    (headers, payload), = query(
        postgres, "SELECT headers, payload FROM dead_letters WHERE headers::text LIKE '%replay_of%'"
    )  # fmt: skip
    assert headers == [["schema", "reading.v1"], ["from", {"base64": "/g=="}], ["replay_of", letters[2]]]
    assert bytes(payload) == BINARY
    assert tool("replay", "--all") == (0, "3 replayed; 1 had been before (--force: again)\n")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "say which"),
        (["nowhere/0/1"], "there is no dead letter nowhere/0/1"),
        (["--file", "{broken}"], r"line 1: Object missing required field `partition`"),
        (["--file", "{strange}"], "there is no dead letter secrets/0/0"),
    ],
)
def test_a_replay_that_cannot_be_says_why(tool, settings, tmp_path, arguments, complaint):
    broken, strange = tmp_path / "broken", tmp_path / "strange"
    broken.write_text('{"topic": "x"}')
    strange.write_text('{"topic": "secrets", "partition": 0, "offset": 0, "key": null, "payload": "", "headers": []}')
    code, printed = tool("replay", *(a.format(broken=broken, strange=strange) for a in arguments))
    assert code == 1
    assert complaint in printed


def test_too_many_stop_the_consumer_and_the_cured_one_stores_what_it_left(settings, postgres, publisher, feed):
    quarterly = settings.model_copy(update={"meter_interval_s": 900, "dead_letter_window": 20})
    hourly = settings.model_copy(update={"dead_letter_window": 20})
    reading = msgspec.json.encode(make_reading()).replace(b"00:00Z", b"15:00Z", 1)
    for building in range(40):
        value = reading.replace(b'"building_id":1', b'"building_id":%d' % building)
        publisher.send(settings.topic_postgre, value, key=b"1:0", schema=READING_SCHEMA)
    publish_hour(feed, 0, [])
    with pytest.raises(TooManyDeadLettersError, match="off the 3600 s grid"):
        postgre_consumer.run(hourly, threading.Event())
    consume_until(postgre_consumer.run, quarterly, stored_ticks(postgres, quarterly, 0))
    assert query(postgres, "SELECT count(*) FROM readings") == [(40,)]
    assert count(postgres) == 0


def test_with_the_limit_lifted_all_of_them_are_diverted(settings, postgres, publisher, feed):
    lifted = settings.model_copy(update={"dead_letter_limit": 1.0, "dead_letter_window": 20})
    for _ in range(40):
        publisher.send(settings.topic_postgre, b"{", key=b"1:0", schema=READING_SCHEMA)
    publish_hour(feed, 0, [])
    consume_until(postgre_consumer.run, lifted, lambda: count(postgres) == 40)
