"""Issuing on real engines: what reaches the topics, and what is kept for judging the next hour's readings."""

from datetime import timedelta

import numpy as np
import pytest
from kafka import TopicPartition

from Predictor.forecasting.forecaster import MeterQuantiles
from Predictor.forecasting.hierarchy import Totals
from Predictor.forecasting.testing import make_meters
from Predictor.issuing import Hourly, Issuer, aggregate_forecasts, meter_forecasts
from Sensor_core import anomaly, forecast
from Sensor_core.anomaly import Anomaly
from Sensor_core.decision import DECISION_SCHEMA, Decision
from Sensor_core.decision import decode as decision_of
from Sensor_core.errors import RetriableError
from Sensor_core.testing import FIRST_HOUR
from Setup.kafka_initialization import SCHEMA_HEADER, make_consumer
from Setup.publisher import Publisher
from Setup.redis_client import RedisUser, make_client

pytestmark = pytest.mark.integration
COUNT, HORIZON = 3, 48
MADE_AT = FIRST_HOUR + timedelta(hours=1, seconds=2)
STEP = 409_000


@pytest.fixture
def meters():
    return make_meters(COUNT)[0]


@pytest.fixture
def quantiles():
    course = np.arange(COUNT * HORIZON, dtype=np.float32).reshape(COUNT, HORIZON) / 3
    return MeterQuantiles(course, course + 1, course + 2, ("full", "profile", "peers"), "model-1")


@pytest.fixture
def publisher(settings):
    publisher = Publisher(settings, "test")
    yield publisher
    publisher.close()


@pytest.fixture
def issuer(settings, publisher, redis_client):
    return Issuer(settings, publisher, redis_client)


def messages_of(settings, topic):
    consumer = make_consumer(settings, None)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    expected = sum(consumer.end_offsets(partitions).values())
    messages = []
    while len(messages) < expected:
        messages += [message for batch in consumer.poll(500).values() for message in batch]
    consumer.close()
    return messages


def schema(message):
    return dict(message.headers)[SCHEMA_HEADER]


def test_forecasts_totals_decisions_and_anomalies_are_published_as_their_readers_take_them(
    settings, issuer, meters, quantiles
):
    levels = np.cumsum(np.ones((2, len(forecast.AGGREGATE_LEVELS), HORIZON)), axis=1)
    totals = Totals(site_id=(7, None), meter=(0, 0), meters=(2, 3), quantiles=levels)
    strange = Anomaly(
        building_id=1, meter=0, timestamp=FIRST_HOUR, detected_at=MADE_AT, kind="flat_line", meter_reading=5.0,
        expected=None, score=20.0,
    )  # fmt: skip
    decision = Decision(
        site_id=7, meter=0, issued_at=FIRST_HOUR, made_at=MADE_AT, model=quantiles.model, window_h=24,
        peak_at=FIRST_HOUR + timedelta(hours=9), peak_probability=0.75, peak_q10_kw=1.0, peak_q50_kw=2.0,
        peak_q90_kw=3.0, limit_kw=5.0, limit_probability=0.25, reserve_kw=0.5,
    )  # fmt: skip
    hourly = Hourly(
        meters=meter_forecasts(meters, quantiles, FIRST_HOUR, MADE_AT),
        totals=aggregate_forecasts(totals, quantiles.model, FIRST_HOUR, MADE_AT),
        decisions=[decision],
        anomalies=[strange],
    )
    issuer.publish(hourly)
    published = messages_of(settings, settings.topic_predictions)
    (decided,) = [message for message in published if schema(message) == DECISION_SCHEMA]
    assert decision_of(decided.value, settings.interval) == decision
    messages = {message.key: message for message in published if message is not decided}
    keys = [b"%d:%d" % pair for pair in zip(meters.building_id.tolist(), meters.meter.tolist(), strict=True)]
    assert messages.keys() == {*keys, b"total:7:0", b"total:-1:0"}
    decoded = {key: forecast.decode(schema(m), m.value, settings.interval) for key, m in messages.items()}
    for place, key in enumerate(keys):
        issued = decoded[key]
        assert (issued.issued_at, issued.made_at, issued.model) == (FIRST_HOUR, MADE_AT, "model-1")
        assert issued.quality == quantiles.quality[place]
        for course, expected in zip((issued.q10, issued.q50, issued.q90), quantiles.stacked()[:, place], strict=True):
            np.testing.assert_allclose(course, expected, atol=0.5e-4)
    grid = decoded[b"total:-1:0"]
    assert (grid.site_id, grid.meters, grid.q02[0], grid.q98[-1]) == (None, 3, 1.0, 9.0)
    assert decoded[b"total:7:0"].site_id == 7
    (found,) = messages_of(settings, settings.topic_anomalies)
    assert anomaly.decode(schema(found), found.value, settings.interval) == strange


def test_the_next_hour_finds_what_this_one_expected_of_it(issuer, meters, quantiles):
    issuer.remember(STEP, meters, quantiles)
    expected = issuer.remembered(STEP, meters)
    for values, name in ((expected.q10, "q10"), (expected.q50, "q50"), (expected.q90, "q90")):
        np.testing.assert_array_equal(values, getattr(quantiles, name)[:, 0])


def test_a_meter_that_the_issue_before_did_not_have_is_expected_to_count_anything(issuer, meters, quantiles):
    fewer = type(meters)(*(getattr(meters, name)[1:] for name in meters.__dataclass_fields__))
    later = MeterQuantiles(quantiles.q10[1:], quantiles.q50[1:], quantiles.q90[1:], quantiles.quality[1:], "m")
    issuer.remember(STEP, fewer, later)
    expected = issuer.remembered(STEP, meters)
    assert np.isnan(expected.q50[0])
    np.testing.assert_array_equal(expected.q50[1:], quantiles.q50[1:, 0])


def test_only_the_issue_of_the_hour_asked_for_is_remembered(issuer, meters, quantiles):
    assert issuer.remembered(STEP, meters) is None
    issuer.remember(STEP, meters, quantiles)
    issuer.remember(STEP + 1, meters, quantiles)
    assert issuer.remembered(STEP, meters) is None
    assert issuer.remembered(STEP + 1, meters) is not None


def test_a_redis_that_does_not_answer_says_that_waiting_may_help(settings, publisher, meters, quantiles):
    issuer = Issuer(
        settings, publisher, make_client(settings.model_copy(update={"redis_port": 9}), RedisUser.PREDICTOR)
    )
    for call in (lambda: issuer.remember(STEP, meters, quantiles), lambda: issuer.remembered(STEP, meters)):
        with pytest.raises(RetriableError):
            call()
