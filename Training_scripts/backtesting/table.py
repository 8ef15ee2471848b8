"""``forecasts.parquet``: a row a series, origin and lead time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from Predictor.forecasting.fallback import LADDER
from Predictor.forecasting.snapshot import NO_SITE, Ints
from Sensor_core.interval import HORIZON_H, SECONDS_PER_HOUR
from Training_scripts.backtesting.rolling import Rolled
from Training_scripts.backtesting.totals import members
from Training_scripts.dataset import EnergyHistory

_UTC: Final = pa.timestamp("us", tz="UTC")
_US: Final = 1_000_000
_ORIGINS_A_GROUP: Final = 24
SCHEMA: Final = pa.schema(
    {
        "level": pa.string(),
        "site_id": pa.int32(),
        "building_id": pa.int32(),
        "meter": pa.int8(),
        "issued_at": _UTC,
        "lead_h": pa.int16(),
        "valid_at": _UTC,
        "q10": pa.float64(),
        "q50": pa.float64(),
        "q90": pa.float64(),
        "quality": pa.string(),
        "model": pa.string(),
    }
)
"""Energies in kWh. A meter's row names its site; a site's has no building, the grid's no site either."""

LEVELS: Final = ("meter", "site", "grid")


def write_forecasts(
    file: Path, history: EnergyHistory, origins: Sequence[int], models: Sequence[str], rolled: Rolled
) -> None:
    """Write all forecasts; the file appears when it is whole.

    Args:
        file: Where to.
        history: What was forecast.
        origins: Steps of the origins, in order.
        models: Name of the model at each origin.
        rolled: The forecasts. A total's quality is that of the worst meter in it.
    """
    names = list(dict.fromkeys(models))
    part = file.with_name(file.name + ".part")
    fixed = _series(history, rolled)
    seconds = np.array(origins, dtype=np.int64) * history.interval.seconds
    which = np.array([names.index(model) for model in models], dtype=np.int32)
    with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for begin in range(0, len(origins), _ORIGINS_A_GROUP):
            rows = slice(begin, begin + _ORIGINS_A_GROUP)
            models_here = _text(which[rows].repeat(fixed["level"].size * HORIZON_H), names)
            writer.write_table(_group(history, rolled, rows, seconds[rows], fixed).append_column("model", models_here))
    part.replace(file)


def _series(history: EnergyHistory, rolled: Rolled) -> dict[str, NDArray[np.int32]]:
    """What describes each meter and total; -1 is null."""
    meters, totals = history.meters, len(rolled.total_site)
    site_ids = np.array([-1 if site == NO_SITE else site for site in history.sites.site_id])
    is_grid = [site is None for site in rolled.total_site]
    columns = {
        "level": [*[0] * len(meters), *(2 if grid else 1 for grid in is_grid)],
        "site_id": [*site_ids[meters.site], *(-1 if site is None else site for site in rolled.total_site)],
        "building_id": [*meters.building_id, *[-1] * totals],
        "meter": [*meters.meter, *rolled.total_meter],
    }
    return {name: np.array(values, dtype=np.int32) for name, values in columns.items()}


def _group(
    history: EnergyHistory, rolled: Rolled, rows: slice, seconds: Ints, fixed: dict[str, NDArray[np.int32]]
) -> pa.Table:
    shape = (len(seconds), len(fixed["level"]), HORIZON_H)
    lead_h = np.arange(1, HORIZON_H + 1)

    def spread(values: NDArray[np.integer], axis: int) -> NDArray[np.integer]:
        others = tuple(position for position in range(len(shape)) if position != axis)
        return np.broadcast_to(np.expand_dims(values, others), shape).ravel()

    quantiles = np.concatenate([rolled.meters[rows], rolled.totals[rows]], axis=2)
    columns = {
        "level": _text(spread(fixed["level"], 1), LEVELS),
        "site_id": _number(spread(fixed["site_id"], 1)),
        "building_id": _number(spread(fixed["building_id"], 1)),
        "meter": spread(fixed["meter"], 1),
        "issued_at": spread(seconds * _US, 0),
        "lead_h": spread(lead_h, 2),
        "valid_at": (spread(seconds, 0) + spread(lead_h, 2) * SECONDS_PER_HOUR) * _US,
        "q10": quantiles[:, 0].ravel(),
        "q50": quantiles[:, 1].ravel(),
        "q90": quantiles[:, 2].ravel(),
        "quality": _text(_qualities(rolled, rows, history).repeat(HORIZON_H), LADDER),
    }
    return pa.table({name: pa.array(column).cast(SCHEMA.field(name).type) for name, column in columns.items()})


def _qualities(rolled: Rolled, rows: slice, history: EnergyHistory) -> NDArray[np.int8]:
    quality = rolled.quality[rows]
    totals = zip(rolled.total_site, rolled.total_meter, strict=True)
    worst = [quality[:, members(history, site, meter)].max(axis=1) for site, meter in totals]
    return np.concatenate([quality, np.stack(worst, axis=1)], axis=1).ravel()


def _text(codes: NDArray[np.integer], names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(list(names))).cast(pa.string())


def _number(values: NDArray[np.integer]) -> pa.Array:
    return pa.array(values, mask=values < 0)
