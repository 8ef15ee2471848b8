"""What is to be simulated: size, span, metering interval and seed."""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from Sensor_core.interval import SECONDS_PER_HOUR, Interval

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


class Stream(IntEnum):
    """What a random stream is for: each has its own, so that more buildings leave the others as they are."""

    WEATHER = 1
    BUILDING = 2
    METER = 3


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One simulation.

    Attributes:
        seed: The only source of chance.
        sites: Number of sites.
        buildings: Number of buildings, dealt to the sites in turn.
        start: First interval's start, UTC, on a full hour.
        split: Where the history ends and the replay begins, UTC, on a full hour.
        end: Past the last interval, UTC, on a full hour.
        interval: The metering interval.
    """

    seed: int
    sites: int
    buildings: int
    start: datetime
    split: datetime
    end: datetime
    interval: Interval

    def __post_init__(self) -> None:
        if not self.start < self.split < self.end:
            raise ValueError(
                f"--split {self.split:%Y-%m-%d} does not lie between "
                f"--start {self.start:%Y-%m-%d} and --end {self.end:%Y-%m-%d}"
            )
        if self.sites < 1 or self.buildings < self.sites:
            raise ValueError(f"{self.buildings} buildings do not fill {self.sites} sites")

    @property
    def times_s(self) -> Integers:
        """Start of every interval [s since 1970-01-01T00:00Z]."""
        return np.arange(*self._span_s, self.interval.seconds, dtype=np.int64)

    @property
    def hours_s(self) -> Integers:
        """Start of every hour [s since 1970-01-01T00:00Z]."""
        return np.arange(*self._span_s, SECONDS_PER_HOUR, dtype=np.int64)

    @property
    def history_steps(self) -> int:
        """How many intervals the history has."""
        return self.interval.step_of(self.split) - self.interval.step_of(self.start)

    @property
    def history_hours(self) -> int:
        """How many hours the history has."""
        return self.history_steps // self.interval.steps_per_hour

    @property
    def years(self) -> float:
        """Length of the span in years."""
        return (self.end - self.start).total_seconds() / (365.25 * 24 * SECONDS_PER_HOUR)

    @property
    def _span_s(self) -> tuple[int, int]:
        return int(self.start.timestamp()), int(self.end.timestamp())

    def random(self, stream: Stream, *numbers: int) -> np.random.Generator:
        """The random stream of one site, building or meter."""
        return np.random.default_rng([self.seed, stream, *numbers])
