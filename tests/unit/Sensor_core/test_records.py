"""Forecasts, weather, anomalies and metadata: their wire format and their invariants."""

from datetime import timedelta

import msgspec
import pytest
from pydantic import ValidationError

from Sensor_core import anomaly, decision, forecast, weather
from Sensor_core.building import Building, Meter, Site
from Sensor_core.errors import InvalidRecordError
from Sensor_core.forecast import AGGREGATE_QUANTILES, AggregateForecast, MeterForecast
from Sensor_core.interval import Interval
from Sensor_core.testing import FIRST_HOUR
from Sensor_core.weather import QUANTITY_NAMES, WeatherForecast, WeatherObservation

HOURLY = Interval()
COURSE = [float(lead) for lead in range(48)]


def make_meter_forecast(**changes):
    fields = {
        "building_id": 1, "meter": 0, "issued_at": FIRST_HOUR, "made_at": FIRST_HOUR, "model": "m",
        "quality": "full", "q10": COURSE, "q50": COURSE, "q90": COURSE,
    }  # fmt: skip
    return MeterForecast(**(fields | changes))


def test_forecasts_come_back_as_they_were_sent():
    meter = make_meter_forecast()
    assert forecast.decode(forecast.METER_FORECAST_SCHEMA, msgspec.json.encode(meter), HOURLY) == meter
    total = AggregateForecast(
        site_id=None, meter=0, issued_at=FIRST_HOUR, made_at=FIRST_HOUR, model="m", meters=3,
        **dict.fromkeys(AGGREGATE_QUANTILES, COURSE),
    )  # fmt: skip
    assert forecast.decode(forecast.AGGREGATE_FORECAST_SCHEMA, msgspec.json.encode(total), HOURLY) == total


@pytest.mark.parametrize(
    "changes",
    [
        {"q50": COURSE[:47]},
        {"q10": [*COURSE[:47], -0.1]},
        {"quality": "guess"},
        {"model": ""},
        {"issued_at": FIRST_HOUR + timedelta(minutes=1)},
    ],
)
def test_a_forecast_that_breaks_its_promises_is_refused(changes):
    payload = msgspec.json.encode(make_meter_forecast(**changes))
    with pytest.raises(InvalidRecordError):
        forecast.decode(forecast.METER_FORECAST_SCHEMA, payload, HOURLY)


def test_a_quarter_hourly_forecast_has_192_lead_times():
    payload = msgspec.json.encode(make_meter_forecast(q10=COURSE * 4, q50=COURSE * 4, q90=COURSE * 4))
    assert forecast.decode(forecast.METER_FORECAST_SCHEMA, payload, Interval(900))


def test_weather_comes_back_as_it_was_sent_with_what_was_not_measured():
    observation = WeatherObservation(
        site_id=1, timestamp=FIRST_HOUR, known_at=FIRST_HOUR, source="test", air_temperature_c=-3.5
    )
    assert weather.decode(weather.OBSERVATION_SCHEMA, msgspec.json.encode(observation)) == observation
    outlook = WeatherForecast(
        site_id=1, issued_at=FIRST_HOUR, source="test", **dict.fromkeys(QUANTITY_NAMES, [None] * 48)
    )
    assert weather.decode(weather.FORECAST_SCHEMA, msgspec.json.encode(outlook)) == outlook


def test_anomalies_come_back_as_they_were_sent():
    found = anomaly.Anomaly(
        building_id=1, meter=0, timestamp=FIRST_HOUR, detected_at=FIRST_HOUR, kind="flat_line",
        meter_reading=7.0, expected=None, score=24.0,
    )  # fmt: skip
    assert anomaly.decode(anomaly.ANOMALY_SCHEMA, msgspec.json.encode(found), HOURLY) == found


@pytest.mark.parametrize("decode", [weather.decode, lambda s, p: forecast.decode(s, p, HOURLY),
                                    lambda s, p: anomaly.decode(s, p, HOURLY)])  # fmt: skip
def test_an_unknown_schema_is_refused_everywhere(decode):
    with pytest.raises(InvalidRecordError, match=r"unknown schema 'reading\.v9'"):
        decode(b"reading.v9", b"{}")


@pytest.mark.parametrize(
    "decode",
    [
        lambda p: forecast.decode(forecast.METER_FORECAST_SCHEMA, p, HOURLY),
        lambda p: forecast.decode(forecast.AGGREGATE_FORECAST_SCHEMA, p, HOURLY),
        lambda p: decision.decode(p, HOURLY),
        lambda p: weather.decode(weather.OBSERVATION_SCHEMA, p),
        lambda p: weather.decode(weather.FORECAST_SCHEMA, p),
        lambda p: anomaly.decode(anomaly.ANOMALY_SCHEMA, p, HOURLY),
    ],
)
def test_what_nests_too_deeply_is_refused_everywhere(decode):
    with pytest.raises(InvalidRecordError, match="recursion depth"):
        decode(b'{"more":' + b"[" * 5000 + b"]" * 5000 + b"}")


def test_units_become_kwh():
    assert Meter(building_id=1, unit="kBTU").kwh_per_count == pytest.approx(0.29307, rel=1e-5)
    assert Meter(building_id=1, unit="MWh", multiplier=0.5).kwh_per_count == 500
    assert Meter(building_id=1, unit="GJ").kwh_per_count == pytest.approx(277.7778)
    with pytest.raises(ValidationError, match="is not one of kWh"):
        Meter(building_id=1, unit="horsepower")


def test_metadata_is_checked_and_areas_become_square_metres():
    assert Building(building_id=1, site_id=0, square_feet=1000).floor_area_m2 == pytest.approx(92.903)
    assert Building(building_id=1, site_id=0).floor_area_m2 is None
    place = {"site_id": 1, "latitude": 51.5, "longitude": -0.1, "country": "GB"}
    assert Site(time_zone="Europe/London", **place).stamps == "utc"
    with pytest.raises(ValidationError, match="IANA"):
        Site(time_zone="Europe/Londen", **place)


def make_decision(**changes):
    fields = {
        "site_id": None, "meter": 0, "issued_at": FIRST_HOUR, "made_at": FIRST_HOUR, "model": "m", "window_h": 24,
        "peak_at": FIRST_HOUR + timedelta(hours=9), "peak_probability": 0.7, "peak_q10_kw": 1.0, "peak_q50_kw": 2.0,
        "peak_q90_kw": 3.0, "limit_kw": None, "limit_probability": None, "reserve_kw": 0.5,
    }  # fmt: skip
    return decision.Decision(**(fields | changes))


@pytest.mark.parametrize("changes", [{}, {"site_id": 3, "limit_kw": 5.0, "limit_probability": 0.25, "window_h": 48}])
def test_decisions_come_back_as_they_were_sent(changes):
    sent = make_decision(**changes)
    assert decision.decode(msgspec.json.encode(sent), HOURLY) == sent


@pytest.mark.parametrize(
    "changes",
    [
        {"window_h": 25},
        {"peak_probability": 1.01},
        {"reserve_kw": -1.0},
        {"peak_at": FIRST_HOUR + timedelta(minutes=1)},
        {"issued_at": FIRST_HOUR + timedelta(minutes=1)},
    ],
)
def test_a_decision_that_breaks_its_promises_is_refused(changes):
    with pytest.raises(InvalidRecordError):
        decision.decode(msgspec.json.encode(make_decision(**changes)), HOURLY)
