"""Runs the pipeline's readers on made-up input and says what is wrong with their answers, if anything is."""

import math
from datetime import UTC, datetime

from Consumers.dead_letters import read_dead_letter
from Consumers.decoding import Decoder
from Consumers.testing import StubMessage
from Sensor_core.errors import DataFolderError, InvalidRecordError
from Sensor_core.reading import Reading
from Setup.data_folder import DataFolder
from Setup.settings import Settings
from tests.fuzz import csv_files, messages

OTHER_SCHEMAS = (
    b"meter_forecast.v1",
    b"aggregate_forecast.v1",
    b"decision.v1",
    b"weather_observation.v1",
    b"weather_forecast.v1",
    b"anomaly.v1",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MessageJudge:
    """The consumers' decoder against the judge's own reading of each message."""

    def __init__(self):
        settings = Settings(_env_file=None)
        self._decoder = Decoder(settings, read_dead_letter)
        self._topic = settings.topic_postgre
        self._others = [settings.topic_predictions, settings.topic_weather, settings.topic_anomalies]
        self._dead_letters = settings.topic_dead_letters
        self._clock = datetime.fromtimestamp(messages.CLOCK_S, tz=UTC)

    def judge(self, random):
        """Outcome (accepted, refused, crash, wrong accept, wrong refusal) and the input."""
        schema, payload, is_valid = messages.make_message(random)
        self._decoder.set_clock((self._topic, 0), self._clock)
        headers = [] if schema is None else [("schema", schema)]
        try:
            record = self._decoder.decode(StubMessage(self._topic, 0, 0, payload, headers=headers))
        except InvalidRecordError:
            return ("wrong refusal" if is_valid else "refused"), (schema, payload)
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return f"crash: {type(error).__name__}", (schema, payload)
        right = self._says(record, messages.meaning_of(schema, payload))
        return ("accepted" if right else "wrong accept"), (schema, payload)

    def judge_other_topic(self, random):
        """The same bytes on the topics of forecasts, weather, anomalies and dead letters: no crash, no infinity."""
        _, payload, _ = messages.make_message(random)
        topic = random.choice([*self._others, self._dead_letters])
        schemas = (*OTHER_SCHEMAS, payload[:9])
        names = ("schema", "dead_letter.offset", "dead_letter.partition", "dead_letter.noticed_at", "dead_letter.topic")
        values = (*schemas, b"9" * random.choice((3, 18, 5000)), b"9999-12-31T23:59:59-23:59", payload[-40:])
        headers = [(names[0], random.choice(schemas)), *((n, random.choice(values)) for n in names[1:])]
        try:
            self._decoder.decode(StubMessage(topic, 0, 0, payload, headers=headers))
        except InvalidRecordError:
            return "refused", (topic, headers, payload)
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return f"crash: {type(error).__name__}", (topic, headers, payload)
        right = topic == self._dead_letters or messages.strict_object(payload) is not None
        return ("accepted" if right else "wrong accept"), (topic, headers, payload)

    def _says(self, record, meaning):
        if meaning is None:
            return False
        building, meter, timestamps, kwh, known_ats = meaning
        same = _microseconds(record.timestamp) in timestamps and _microseconds(record.known_at) in known_ats
        if kwh is None or not isinstance(record, Reading):
            return same and kwh is None and not isinstance(record, Reading)
        return same and (record.building_id, record.meter, record.meter_reading) == (building, meter, kwh)


def _microseconds(moment):
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds


class FileJudge:
    """The reader of data folders against the judge's own reading of each file."""

    def __init__(self, path):
        self._folder = csv_files.make_folder(path)

    def judge(self, random):
        """Outcome (accepted, refused, crash, wrong accept, wrong refusal) and the file."""
        ending, content, is_valid = csv_files.make_file(random)
        for other in (self._folder.path / "Sensors").iterdir():
            other.unlink()
        (self._folder.path / "Sensors" / f"new_consumptions.{ending}").write_bytes(content)
        try:
            chunks = list(self._folder.readings("replay"))
        except DataFolderError:
            return ("wrong refusal" if is_valid else "refused"), content
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return f"crash: {type(error).__name__}", content
        right = csv_files.agree(csv_files.rows_of(chunks), csv_files.meaning_of(content, ending))
        return ("accepted" if right else "wrong accept"), content

    def judge_other_file(self, random):
        """Metadata and weather: no crash, no number that is none or endless."""
        name, content, is_valid = csv_files.make_other_file(random)
        file = self._folder.path / f"{name}.csv"
        file.write_bytes(content)
        folder = DataFolder(self._folder.path, self._folder.interval)
        try:
            rows = [*folder.sites.values(), *folder.buildings.values(), *folder.meters.values()]
            numbers = [value for row in rows for _, value in row if isinstance(value, int | float)]
            numbers += folder.weather().drop(columns="timestamp").stack().dropna().tolist()
        except DataFolderError:
            return ("wrong refusal" if is_valid else "refused"), (name, content)
        except Exception as error:  # noqa: BLE001 - that there is none is what is tested
            return f"crash: {type(error).__name__}", (name, content)
        finally:
            file.write_text(csv_files.OTHER_FILES[name])
        return ("accepted" if all(map(math.isfinite, numbers)) else "wrong accept"), (name, content)
