"""Which truths were seen before: each counts once, when it is first known, however late."""

from typing import Final, Self

import numpy as np

from Predictor.forecasting.packing import Arrays
from Predictor.forecasting.snapshot import Flags, Floats, Ints
from Sensor_core.interval import HORIZON_H, Interval

SETTLE_H: Final = 24
"""For how long a late reading still counts. [h]"""


class Seen:
    """The newest steps of R series up to an origin, and which of them have been taken."""

    def __init__(self) -> None:
        self.origin: int | None = None
        self._seen: Flags = np.zeros((0, 0), dtype=bool)

    def fits(self, interval: Interval) -> bool:
        """Whether it counts the steps of this interval."""
        return len(self._seen.T) == width_of(interval)

    def follow(self, place: Ints, interval: Interval) -> None:
        """Put the series in another order: ``place`` has the old row of each, -1 for a new one."""
        if self.fits(interval) and len(self._seen):
            self._seen = self._seen[place] & (place >= 0)[:, None]
        else:
            self._seen = np.zeros((len(place), width_of(interval)), dtype=bool)

    def take(self, values: Floats, origin: int) -> tuple[Floats, int]:
        """Take what is new.

        Args:
            values: Shape ``(R, any)``, the last column is the origin; NaN where nothing is known.
            origin: Not before the newest one.

        Returns:
            What was not taken before of the newest steps, and NaN elsewhere, shape ``(R, width)``; and the steps since
            the newest origin, 0 at the first one, of which nothing is new.
        """
        width = self._seen.shape[1]
        recent = _last(values, width)
        elapsed = width if self.origin is None else origin - self.origin
        seen = np.zeros_like(self._seen)
        seen[:, : max(0, width - elapsed)] = self._seen[:, elapsed:]
        is_first, self.origin = self.origin is None, origin
        known = ~np.isnan(recent)
        self._seen = seen | known
        new = np.where(seen | is_first, np.nan, recent)
        return new, 0 if is_first else elapsed

    def arrays(self) -> Arrays:
        """The state; the origin must be there."""
        return {
            "origin": np.array(self.origin),
            "seen": np.packbits(self._seen, axis=1),
            "width": np.array(self._seen.shape[1]),
        }

    @classmethod
    def of(cls, arrays: Arrays) -> Self:
        """What ``arrays`` gave."""
        seen = cls()
        seen.origin = int(arrays["origin"])
        seen._seen = np.unpackbits(arrays["seen"], axis=1, count=int(arrays["width"])).astype(bool)
        return seen


def width_of(interval: Interval) -> int:
    """How many steps back a truth counts."""
    return (HORIZON_H + SETTLE_H) * interval.steps_per_hour


def _last(values: Floats, width: int) -> Floats:
    recent = values[:, -width:] if width else values[:, :0]
    return np.pad(recent, ((0, 0), (width - recent.shape[1], 0)), constant_values=np.nan)
