"""Weather as it was known when: observations that came late or were revised, forecasts as a provider issued them."""

from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np

from Predictor.forecasting.snapshot import Flags, Floats32, Ints
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Sensor_core.weather import FORECAST_LASTS_H, QUANTITY_NAMES

GRACE_S: Final = SECONDS_PER_HOUR
"""An hour is forecast within the hour after it: an observation that became known by then was there. [s]"""


@dataclass(frozen=True)
class LateWeather:
    """Every version of the observations of which one came late, in the order of becoming known.

    Attributes:
        site: Position in ``Sites``, shape ``(N,)``.
        hour: Whole hours since 1970.
        known_s: When the version became known, in seconds since 1970.
        values: What it says, shape ``(N, 7)``.
    """

    site: Ints
    hour: Ints
    known_s: Ints
    values: Floats32

    @classmethod
    def among(cls, versions: Self) -> Self:
        """Those of all versions, whatever their order."""
        versions = versions.where(np.argsort(versions.known_s, kind="stable"))
        cell = versions.site * (versions.hour.max(initial=0) + 1) + versions.hour
        is_late = versions.known_s > (versions.hour + 1) * SECONDS_PER_HOUR + GRACE_S
        return versions.where(np.isin(cell, cell[is_late]))

    def where(self, kept: Flags | Ints) -> Self:
        """Keep some of them."""
        return replace(self, **{field.name: getattr(self, field.name)[kept] for field in fields(self)})

    def known_at(self, moment_s: int) -> Flags:
        """Which were there for the forecasts made at a moment."""
        return self.known_s <= moment_s + GRACE_S

    def as_known(self, weather: Floats32, first_hour: int, moment_s: int) -> Floats32:
        """Put what was known at a moment into weather of shape ``(S, hours, 7)`` that has the last word of all."""
        here = self.where((self.hour >= first_hour) & (self.hour < first_hour + weather.shape[1]))
        if not len(here.hour):
            return weather
        weather = weather.copy()
        weather[here.site, here.hour - first_hour] = np.nan
        known = here.where(here.known_at(moment_s))
        weather[known.site, known.hour - first_hour] = known.values
        return weather


@dataclass(frozen=True)
class IssuedWeather:
    """Forecasts of a provider, in the order of their issue.

    Attributes:
        site: Position in ``Sites``, shape ``(N,)``.
        hour: The newest closed hour when it was made, in hours since 1970.
        values: Of the 48 hours after it, shape ``(N, 48, 7)``.
    """

    site: Ints
    hour: Ints
    values: Floats32

    def instead_of(self, outlook: Floats32, hour: int, known: int) -> Floats32:
        """What the predictor went by: the newest forecast of each site while it lasts, else the outlook.

        Args:
            outlook: For sites without one, shape ``(S, 48, 7)``.
            hour: The hour of the origin; the forecasts are for those after it.
            known: The newest hour that is over.
        """
        first, stop = np.searchsorted(self.hour, (known - FORECAST_LASTS_H, known + 1))
        course = outlook.copy()
        for row in range(first, stop):
            passed = hour - int(self.hour[row])
            course[self.site[row]] = np.nan
            course[self.site[row], : HORIZON_H - passed] = self.values[row, passed:]
        return course

    def until(self, known: int) -> Self:
        """Those that were there when an hour was over."""
        stop = np.searchsorted(self.hour, known + 1)
        return replace(self, site=self.site[:stop], hour=self.hour[:stop], values=self.values[:stop])


_NONE: Final = np.array([], dtype=np.int64)
NO_LATE_WEATHER: Final = LateWeather(_NONE, _NONE, _NONE, np.zeros((0, len(QUANTITY_NAMES)), dtype=np.float32))
NO_ISSUED_WEATHER: Final = IssuedWeather(_NONE, _NONE, np.zeros((0, HORIZON_H, len(QUANTITY_NAMES)), dtype=np.float32))
