"""What training learns about totals: their own linear model, how far to trust it, and how wide they spread."""

from typing import Final

import msgspec
import numpy as np

from Predictor.forecasting.calibration import LEAD_GROUPS
from Predictor.forecasting.fallback import Z_80, can_be_modelled
from Predictor.forecasting.features import build_features
from Predictor.forecasting.hierarchy import Hierarchy
from Predictor.forecasting.linear import LinearMember
from Predictor.forecasting.scenarios import LEVELS_Z
from Predictor.forecasting.snapshot import Floats, Ints, Snapshot
from Predictor.forecasting.total_meters import as_meters, counted

CORRELATION: Final = 0.2
"""Of meters' errors in the unit that residuals of totals are counted in; how many units, the residuals say.

Flat on validation between 0.1 and 0.4 (pinball loss within 1 %).
"""
_GROUPS: Final = len(LEAD_GROUPS)


class TotalModel(msgspec.Struct, frozen=True, kw_only=True):
    """Learned from a model's trials; the defaults know nothing.

    Attributes:
        weights: What a total's linear weights have beyond the meters', by block of lead times; empty if nothing.
        trust: In the direct forecast of a total against the sum of its meters, sites' and the grid's, by lead group.
        width: Half-width of 80 % intervals in units of ``spread``, likewise.
    """

    weights: list[list[float]] = []
    trust: tuple[tuple[float, ...], tuple[float, ...]] = ((0.0,) * _GROUPS,) * 2
    width: tuple[tuple[float, ...], tuple[float, ...]] = ((1.0,) * _GROUPS,) * 2

    def trust_of(self, hierarchy: Hierarchy, lead_group: Ints) -> Floats:
        """Trust in each total's direct forecast, shape ``(T, horizon)``."""
        return np.asarray(np.array(self.trust)[hierarchy.is_grid.astype(np.int64)][:, lead_group])

    def levels_of(self, hierarchy: Hierarchy) -> Floats:
        """Normalised quantiles of totals' residuals, shape ``(T, 9, groups)``."""
        width = np.array(self.width)[hierarchy.is_grid.astype(np.int64)]
        return np.asarray(width[:, None] * (LEVELS_Z / Z_80)[:, None])


def direct_forecast(snapshot: Snapshot, line: LinearMember | None, model: TotalModel) -> Floats:
    """Forecast totals as meters of their own, those with a short past left out.

    Args:
        snapshot: What is known of the meters.
        line: The meters' linear member.
        model: What totals have beyond it.

    Returns:
        Shape ``(T, horizon)``; NaN where there is no forecast. [kWh]
    """
    hierarchy = Hierarchy.of(snapshot.meters, snapshot.sites)
    horizon = snapshot.interval.horizon
    if line is None or not model.weights or not len(hierarchy):
        return np.full((len(hierarchy), horizon), np.nan)
    features = build_features(as_meters(snapshot, hierarchy.only(counted(snapshot.readings_kwh))))
    own = LinearMember(line.weights + np.array(model.weights))
    deviation = own.predict(features.inputs).reshape(-1, horizon)
    direct = features.anchor_kwh + features.scale_kwh[:, None] * deviation
    return np.where(can_be_modelled(features)[:, None], np.maximum(direct, 0), np.nan)


def spread_of(hierarchy: Hierarchy, half_width: Floats) -> Floats:
    """Give the unit of totals' residuals [kWh] from meters' half-widths of shape ``(M, horizon)``."""
    together, apart = hierarchy.add(half_width), hierarchy.add(np.square(half_width))
    return np.sqrt(CORRELATION * np.square(together) + (1 - CORRELATION) * apart)
