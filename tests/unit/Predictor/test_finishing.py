"""The second pass: coherent, calibrated by what it has seen, blind to what comes, and itself again after a restart."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from Predictor.forecasting.finishing import Finisher
from Predictor.forecasting.forecaster import Forecaster, MeterQuantiles, RawForecast
from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.testing import ORIGIN, make_meters, make_weather, working_week
from Predictor.forecasting.total_model import TotalModel
from Predictor.issuing import aggregate_forecasts
from Sensor_core.forecast import AGGREGATE_LEVELS
from Sensor_core.interval import Interval
from Training_scripts.dataset import EnergyHistory

MEDIAN = AGGREGATE_LEVELS.index(0.5)
Q10, Q90 = AGGREGATE_LEVELS.index(0.1), AGGREGATE_LEVELS.index(0.9)
TRUSTING = TotalModel(trust=((0.4,) * 4, (0.4,) * 4))


def noisy_history(days=60, meters=8, spread=2.0, interval=None, seed=0):
    interval = interval or Interval()
    known, sites = make_meters(meters)
    first = (ORIGIN - 24 * days) * interval.steps_per_hour
    steps = 2 * days * interval.steps_per_day
    load = 50 + working_week(known, sites, interval, first, steps)
    noise = np.random.default_rng(seed).normal(0, spread, load.shape)
    return EnergyHistory(interval, sites, known, first, load + noise, make_weather(sites, 2 * days * 24)), load


def raw_of(history, load, origin, half_width=1.0, direct=np.nan):
    """A forecast that knows the load without its noise, with intervals of a given width."""
    horizon = history.interval.horizon
    median = load[:, origin - history.first + 1 :][:, :horizon].astype(np.float32)
    quantiles = MeterQuantiles(median - half_width, median, median + half_width, ("full",) * len(median), "m")
    hierarchy = Hierarchy.of(history.meters, history.sites)
    return RawForecast(quantiles, np.full((len(hierarchy), horizon), direct))


def run(finisher, history, load, origins, **raw):
    return [finisher.finish(history.snapshot(origin), raw_of(history, load, origin, **raw)) for origin in origins]


def bits(issue):
    parts = [issue.meters.stacked(), issue.totals.quantiles, *issue.courses]
    return b"".join(part.tobytes() for part in parts)


def coverage(history, issues):
    inside = [(history.truth(i.step) >= i.meters.q10) & (history.truth(i.step) <= i.meters.q90) for i in issues]
    return np.mean(inside)


@pytest.mark.parametrize(
    ("every", "half_width"), [(1, 1.5), (6, 1.5), (6, 5.0)], ids=["narrow, every hour", "narrow", "wide"]
)
def test_intervals_learn_to_cover_80_percent_however_often_a_forecast_is_made(every, half_width):
    history, load = noisy_history()
    issues = run(Finisher(TotalModel()), history, load, range(ORIGIN, ORIGIN + 24 * 18, every), half_width=half_width)
    last_week = [issue for issue in issues if issue.step >= ORIGIN + 24 * 12]
    assert coverage(history, issues[:1]) != pytest.approx(0.8, abs=0.1)
    assert coverage(history, last_week) == pytest.approx(0.8, abs=0.05)


def test_totals_learn_their_own_width():
    history, load = noisy_history()
    issues = run(Finisher(TotalModel()), history, load, range(ORIGIN, ORIGIN + 24 * 30, 6), half_width=0.5)
    hierarchy = Hierarchy.of(history.meters, history.sites)
    late = [issue for issue in issues if issue.step >= ORIGIN + 24 * 20]
    inside = []
    for issue in late:
        came = hierarchy.add(history.truth(issue.step))
        inside.append((came >= issue.totals.quantiles[:, Q10]) & (came <= issue.totals.quantiles[:, Q90]))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.06)


def test_totals_are_covered_better_soon_where_errors_have_grown():
    history, load = noisy_history()
    change = ORIGIN + 24 * 28
    readings = history.readings_kwh.copy()
    grown = slice(change - history.first, None)
    readings[:, grown] = load[:, grown] + 3 * (readings - load)[:, grown]
    calm = replace(history, readings_kwh=readings)
    issues = run(Finisher(TotalModel()), calm, load, range(ORIGIN, change + 24 * 12, 6))
    hierarchy = Hierarchy.of(history.meters, history.sites)
    inside = []
    for issue in (issue for issue in issues if issue.step >= change + 24 * 6):
        came = hierarchy.add(calm.truth(issue.step))
        inside.append((came >= issue.totals.quantiles[:, Q10]) & (came <= issue.totals.quantiles[:, Q90]))
    assert np.mean(inside) > 0.6  # 0.49 by the quantiles of the paths alone


def test_published_totals_are_the_sums_of_published_meters():
    history, load = noisy_history()
    hierarchy = Hierarchy.of(history.meters, history.sites)
    for issue in run(Finisher(TRUSTING), history, load, range(ORIGIN, ORIGIN + 60, 6), direct=210.0):
        medians = issue.meters.q50.astype(np.float64)
        np.testing.assert_allclose(issue.totals.quantiles[:, MEDIAN], hierarchy.add(medians), rtol=1e-12)
        assert (np.diff(issue.totals.quantiles, axis=1) >= 0).all()
        assert (issue.meters.q10 <= issue.meters.q50).all()
        assert (issue.meters.q50 <= issue.meters.q90).all()
        assert (issue.meters.q10 >= 0).all()


def test_nothing_after_the_origin_changes_a_bit_of_what_is_issued_or_learned():
    history, load = noisy_history()
    origins = range(ORIGIN, ORIGIN + 24 * 4, 6)
    poison = history.readings_kwh.copy()
    poison[:, origins[-1] - history.first + 1 :] = 1e6
    poisoned = replace(history, readings_kwh=poison)
    finishers = Finisher(TRUSTING), Finisher(TRUSTING)
    clean, other = (run(f, h, load, origins)[-1] for f, h in zip(finishers, (history, poisoned), strict=True))
    assert bits(clean) == bits(other)
    assert finishers[0].state() == finishers[1].state()


def test_a_finisher_that_was_stored_goes_on_as_if_it_never_stopped():
    history, load = noisy_history()
    first, second = range(ORIGIN, ORIGIN + 24 * 4, 6), range(ORIGIN + 24 * 4, ORIGIN + 24 * 7, 6)
    finisher = Finisher(TRUSTING)
    run(finisher, history, load, first)
    heir = Finisher(TRUSTING)
    heir.restore(finisher.state())
    issues, inherited = (run(f, history, load, second) for f in (finisher, heir))
    assert [bits(issue) for issue in issues] == [bits(issue) for issue in inherited]
    assert finisher.state() == heir.state()


def test_a_state_from_before_totals_had_factors_is_taken_over():
    history, load = noisy_history()
    finisher, heir = Finisher(TRUSTING), Finisher(TRUSTING)
    run(finisher, history, load, range(ORIGIN, ORIGIN + 24 * 4, 6))
    state = finisher.state()
    del state["total_factors"]
    heir.restore(state)
    run(heir, history, load, range(ORIGIN + 24 * 4, ORIGIN + 24 * 5, 6))
    assert heir.state()["total_factors"]
    for own, inherited in zip(finisher._memory.paths(0), heir._memory.paths(0), strict=True):
        np.testing.assert_array_equal(inherited[: len(own)], own)


def test_the_same_hour_twice_gives_the_same_result_and_an_earlier_one_is_refused():
    history, load = noisy_history()
    finisher = Finisher(TRUSTING)
    issue = run(finisher, history, load, range(ORIGIN, ORIGIN + 24 * 3, 6))[-1]
    state = finisher.state()
    assert bits(run(finisher, history, load, [issue.step])[0]) == bits(issue)
    assert finisher.state() == state
    with pytest.raises(ValueError, match="in order"):
        run(finisher, history, load, [issue.step - 1])


def test_late_readings_count_when_they_come():
    history, load = noisy_history(spread=5.0)
    origins = range(ORIGIN, ORIGIN + 24 * 10, 6)

    def learned(hours_late):
        finisher = Finisher(TotalModel())
        for origin in origins:
            snapshot = history.snapshot(origin)
            readings = snapshot.readings_kwh.copy()
            if hours_late:
                readings[:, -hours_late:] = np.nan
            finisher.finish(replace(snapshot, readings_kwh=readings), raw_of(history, load, origin))
        issue = run(finisher, history, load, [origins[-1] + 1])[0]
        return float((issue.meters.q90 - issue.meters.q10).mean())

    assert learned(12) == pytest.approx(learned(0), rel=0.15)
    assert learned(12) > 3


def test_meters_may_come_go_stand_still_and_fall_silent():
    history, _ = noisy_history(meters=8)
    readings = history.readings_kwh.copy()
    readings[1] = 0.0
    readings[2, 30 * 24 :] = 7.0
    readings[3, 70 * 24 :] = np.nan
    readings[4] = np.nan
    messy = replace(history, readings_kwh=readings)
    finisher = Finisher(TRUSTING)
    forecaster = Forecaster()
    for origin in range(ORIGIN, ORIGIN + 24 * 5, 6):
        snapshot = messy.snapshot(origin)
        kept = np.arange(8 if origin < ORIGIN + 48 else 6)
        meters = type(snapshot.meters)(
            *(getattr(snapshot.meters, name)[kept] for name in type(snapshot.meters).__dataclass_fields__)
        )
        part = replace(snapshot, meters=meters, readings_kwh=snapshot.readings_kwh[kept])
        issue = finisher.finish(part, forecaster.raw(part))
        assert np.isfinite(issue.meters.stacked()).all()
        assert np.isfinite(issue.totals.quantiles).all()
        assert (issue.totals.quantiles >= 0).all()
        assert len(list(issue.decisions({3: 100.0}, datetime(2026, 1, 1, tzinfo=UTC)))) == 2 * len(issue.totals.meter)


def test_meters_not_heard_of_for_five_weeks_are_in_no_total():
    history, load = noisy_history(meters=8)
    readings = history.readings_kwh.copy()
    readings[[1, 3, 7], : 60 * 24 + 1] = np.nan  # of electricity one, and all that count heat
    issue = run(Finisher(TRUSTING), replace(history, readings_kwh=readings), load, [ORIGIN])[0]
    assert issue.meters.q50.shape == (8, 48)
    assert issue.totals.meters == (4, 1, 0, 5, 0)
    assert issue.totals.meter == (0, 0, 3, 0, 3)
    electricity = issue.meters.q50[[0, 2, 4, 5, 6]].astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(issue.totals.quantiles[3, MEDIAN], electricity)
    made_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert {decision.meter for decision in issue.decisions({}, made_at)} == {0}
    assert [total.meters for total in aggregate_forecasts(issue.totals, "m", made_at, made_at)] == [4, 1, 5]


def test_quarter_hours_are_finished_as_well():
    history, load = noisy_history(days=40, meters=4, interval=Interval(900))
    issues = run(Finisher(TRUSTING), history, load, range(ORIGIN * 4, ORIGIN * 4 + 96 * 3, 24))
    assert issues[-1].meters.q50.shape == (4, 192)
    widths = [float((issue.meters.q90 - issue.meters.q10).mean()) for issue in (issues[0], issues[-1])]
    assert widths[1] > widths[0]


def test_no_meter_at_all_is_no_error():
    history, load = noisy_history(meters=0)
    issue = run(Finisher(TRUSTING), history, load, [ORIGIN])[0]
    assert issue.totals.meter == ()
    assert list(issue.decisions({}, datetime(2026, 1, 1, tzinfo=UTC))) == []


def test_a_model_forecasts_totals_directly(model, history):
    raw = Forecaster(model).raw(history.snapshot(ORIGIN))
    assert np.isnan(raw.direct_totals_kwh).all()
    weights = np.zeros_like(model.linear.weights).tolist()
    knowing = replace(model, card=type(model.card)(**{f: getattr(model.card, f) for f in model.card.__struct_fields__}
                                                   | {"totals": TotalModel(weights=weights)}))  # fmt: skip
    direct = Forecaster(knowing).raw(history.snapshot(ORIGIN)).direct_totals_kwh
    came = Hierarchy.of(history.meters, history.sites).add(history.truth(ORIGIN))
    assert np.abs(direct - came).mean() < 0.15 * came.mean()
