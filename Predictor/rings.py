"""Reads the history rings of all meters at once."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np

from Predictor.forecasting.snapshot import Floats
from Setup.buildings_info import SLOT
from Setup.redis_client import METERS_KEY, RING_PREFIX, Client, curable_errors
from Setup.settings import Settings


@dataclass(frozen=True)
class Past:
    """Readings of M meters over the last W steps.

    Attributes:
        meters: Pairs of building id and meter code, sorted.
        readings_kwh: Shape ``(M, W)``, the last column is the origin; NaN where nothing was known. [kWh]
    """

    meters: list[tuple[int, int]]
    readings_kwh: Floats

    def without(self, meters: set[tuple[int, int]]) -> Self:
        """Leave out some meters."""
        kept = [row for row, meter in enumerate(self.meters) if meter not in meters]
        return replace(self, meters=[self.meters[row] for row in kept], readings_kwh=self.readings_kwh[kept])


class Rings:
    """The history rings in Redis."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._client = client
        self._slots = settings.ring_steps
        self._steps = settings.history_steps

    def read(self, origin: int, known_at: datetime) -> Past:
        """What was known at ``known_at`` of the steps up to ``origin``: later slots stay out of sight.

        Returns:
            Every meter that had shown itself by then.

        Raises:
            RetriableError: Redis does not answer.
        """
        with curable_errors():
            names = sorted(self._client.smembers(METERS_KEY), key=_meter_id)
            rings = self._client.mget([RING_PREFIX.encode() + name for name in names]) if names else []
        size = self._slots * SLOT.itemsize
        packed = b"".join((ring or b"").ljust(size, b"\0") for ring in rings)
        slots = np.frombuffer(packed, dtype=SLOT).reshape(len(names), self._slots)
        step = slots["step"]
        known = (step > 0) & (step <= origin) & (slots["known_at"] <= known_at.timestamp())
        wanted = np.arange(origin - self._steps + 1, origin + 1)
        place = wanted % self._slots
        visible = known[:, place] & (step[:, place] == wanted)
        readings = np.where(visible, slots["kwh"][:, place], np.nan)
        seen = np.asarray(known.any(axis=1))
        meters = [_meter_id(name) for name, is_seen in zip(names, seen.tolist(), strict=True) if is_seen]
        return Past(meters, readings[seen])


def _meter_id(name: bytes) -> tuple[int, int]:
    building_id, meter = name.split(b":")
    return int(building_id), int(meter)
