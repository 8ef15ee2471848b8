"""The ladder: every meter gets a forecast, however little is known of it.

Full model, model without weather, the meter's own profile, persistence, its peers: each step needs less
than the one before, and a forecast's ``quality`` names the step that made it. A meter in its first day goes
half way along with its peers.
"""

import warnings
from statistics import NormalDist
from typing import Final

import numpy as np

from Predictor.forecasting.features import FeatureMatrix
from Predictor.forecasting.snapshot import Flags, Floats32, Ints, Meters, Snapshot
from Sensor_core.weather import QUANTITY_NAMES

LADDER: Final = ("full", "no_weather", "profile", "persistence", "peers")
FULL, NO_WEATHER, PROFILE, PERSISTENCE, PEERS = range(len(LADDER))

MODEL_NEEDS_H: Final = 72
"""Hours of believable past that the model needs. [h]"""
PROFILE_NEEDS_H: Final = 24
STANDSTILL_H: Final = 48
"""A meter that has not moved for so long is expected to stay where it is. [h]"""

Z_80: Final = NormalDist().inv_cdf(0.9)
"""Half-width of a normal distribution's 80 % interval in standard deviations."""
_LEAST_SPREAD: Final = 0.05
_PERSISTENCE_SPREAD: Final = 0.3
_STANDSTILL_SPREAD: Final = 0.05
_PEERS_LOW, _PEERS_HIGH = 0.3, 2.5
_MOVED_LOW, _MOVED_HIGH = 0.5, 1.7
_READING_HALF_LIFE_H: Final = 8.0
"""Age at which a reading of a meter's first day counts half. [h]"""
_PEERS_SHARE: Final = 0.5
"""How far a meter in its first day is expected to go along with its peers, in the long run."""
_PEERS_AFTER_H: Final = 4.0
_MOST_MOVE: Final = 5.0

INTENSITY_KWH_PER_M2: Final = (0.017, 0.020, 0.020, 0.012)
"""An hour's energy of a commercial building by meter code, where not even a peer is known. [kWh/m²]

Electricity: 150 kWh/m² a year, near the mean of the US commercial buildings survey (CBECS 2018).
"""
TYPICAL_FLOOR_AREA_M2: Final = 3000.0


def can_be_modelled(features: FeatureMatrix) -> Flags:
    """Meters of which enough is known for the model, shape ``(M,)``."""
    return np.asarray(
        (features.known_h >= MODEL_NEEDS_H)
        & (features.still_h < STANDSTILL_H)
        & ~np.isnan(features.scale_kwh)
        & ~np.isnan(features.anchor_kwh).all(axis=1)
    )


def has_weather(snapshot: Snapshot) -> Flags:
    """Meters whose site has a temperature forecast for every hour, shape ``(M,)``."""
    temperature_c = snapshot.weather_forecast[:, :, QUANTITY_NAMES.index("air_temperature_c")]
    known: Flags = np.all(~np.isnan(temperature_c), axis=1)
    return known[snapshot.meters.site]


def without_model(snapshot: Snapshot, features: FeatureMatrix) -> tuple[Floats32, Ints]:
    """Forecast every meter by the lower steps of the ladder.

    Returns:
        Quantiles 10, 50 and 90 % [kWh] of shape ``(3, M, horizon)``, all finite, and each meter's step of
        the ladder.
    """
    quantiles = np.full((3, *features.anchor_kwh.shape), np.nan, dtype=np.float32)
    step = np.full(len(snapshot.meters), PEERS)
    for rung, usable, forecast in (
        (PERSISTENCE, ~np.isnan(features.reading_kwh), _persistence(features)),
        (PROFILE, _has_profile(features), _profile(features)),
    ):
        quantiles[:, usable] = forecast[:, usable]
        step[usable] = rung
    unknown = step == PEERS
    for row in np.flatnonzero((step == PERSISTENCE) & (features.still_h < STANDSTILL_H) & (features.reading_kwh > 0)):
        known, site = step == PROFILE, snapshot.meters.site
        near = _alike(snapshot.meters, known & (site == site[row]), int(row))
        peers = near if near.any() else _alike(snapshot.meters, known, int(row))
        course = _moved_with_peers(snapshot, features.reading_kwh[row], quantiles[1], int(row), peers)
        if course is not None:
            quantiles[:, row] = np.outer([_MOVED_LOW, 1, _MOVED_HIGH], course)
            step[row] = PEERS
    if unknown.any():
        middle = _peers(snapshot.meters, quantiles[1], unknown, snapshot.interval.steps_per_hour)
        quantiles[:, unknown] = np.stack([_PEERS_LOW * middle, middle, _PEERS_HIGH * middle])
    return quantiles, step


def _has_profile(features: FeatureMatrix) -> Flags:
    return np.asarray(
        (features.known_h >= PROFILE_NEEDS_H) & (features.still_h < STANDSTILL_H) & ~np.isnan(features.scale_kwh)
    )


def _profile(features: FeatureMatrix) -> Floats32:
    scale = features.scale_kwh[:, None]
    middle = np.where(np.isnan(features.anchor_kwh), scale, features.anchor_kwh)
    spread = np.where(np.isnan(features.spread_kwh), _PERSISTENCE_SPREAD * scale, features.spread_kwh)
    half = Z_80 * np.maximum(spread, _LEAST_SPREAD * scale)
    return np.stack([middle - half, middle, middle + half])


def _persistence(features: FeatureMatrix) -> Floats32:
    still = features.still_h >= STANDSTILL_H
    spread = np.where(still, _STANDSTILL_SPREAD, _PERSISTENCE_SPREAD).astype(np.float32)
    factors = 1 + np.stack([-Z_80 * spread, 0 * spread, Z_80 * spread])
    course = factors * features.reading_kwh
    return np.repeat(course[:, :, None], features.anchor_kwh.shape[1], axis=2).astype(np.float32)


def _moved_with_peers(
    snapshot: Snapshot, reading_kwh: float, middle: Floats32, row: int, peers: Flags
) -> Floats32 | None:
    """Move a meter's first readings half as far as its peers move from those hours on; None if no peer says how."""
    per_hour = snapshot.interval.steps_per_hour
    day = np.s_[-snapshot.interval.steps_per_day :]
    own, theirs, level = snapshot.readings_kwh[row, day], snapshot.readings_kwh[peers, day], middle[peers].mean(axis=1)
    weight = np.where(own > 0, np.power(0.5, np.arange(len(own))[::-1] / per_hour / _READING_HALF_LIFE_H), 0)
    known = ~np.isnan(theirs) * weight
    usable = (level > 0) & known.any(axis=1)
    if not usable.any():
        return None
    now = (np.nan_to_num(theirs) * known)[usable].sum(axis=1) / level[usable]
    then = (middle[peers][usable] / level[usable, None]).mean(axis=0)
    if not now.any():
        return None
    usual = np.nan_to_num(own) @ weight / weight.sum()
    moved = usual * np.clip(then * known[usable].sum() / now.sum(), 0, _MOST_MOVE)
    share = _PEERS_SHARE * (1 - np.exp(-np.arange(1, len(moved) + 1) / per_hour / _PEERS_AFTER_H))
    return np.asarray(reading_kwh + share * (moved - reading_kwh), dtype=np.float32)


def _alike(meters: Meters, known: Flags, row: int) -> Flags:
    """Other meters of the same code, of the same use if there are any."""
    peers = known & (meters.meter == meters.meter[row])
    alike: Flags = peers & (meters.primary_use == meters.primary_use[row])
    return alike if alike.any() else peers


def _peers(meters: Meters, middle: Floats32, unknown: Flags, steps_per_hour: int) -> Floats32:
    """Median course of peers, by floor area."""
    courses = np.empty((int(unknown.sum()), middle.shape[1]), dtype=np.float32)
    for place, row in enumerate(np.flatnonzero(unknown)):
        courses[place] = _course_of(meters, middle, _alike(meters, ~unknown, int(row)), int(row), steps_per_hour)
    return courses


def _course_of(meters: Meters, middle: Floats32, peers: Flags, meter: int, steps_per_hour: int) -> Floats32:
    area = meters.floor_area_m2[meter]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a median of nothing but gaps is NaN
        if not np.isnan(area):
            by_area = np.nanmedian(middle[peers] / meters.floor_area_m2[peers, None], axis=0) * area
        else:
            by_area = np.full(middle.shape[1], np.nan)
        plain = np.nanmedian(middle[peers], axis=0) if peers.any() else by_area
    course = np.where(np.isnan(by_area), plain, by_area)
    usual = INTENSITY_KWH_PER_M2[int(meters.meter[meter])] / steps_per_hour
    usual *= TYPICAL_FLOOR_AREA_M2 if np.isnan(area) else area
    return np.where(np.isnan(course), usual, course).astype(np.float32)
