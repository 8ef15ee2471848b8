"""The metering interval and its arithmetic: the only place that knows how long an hour is.

A *step* is the number of whole intervals since 1970-01-01T00:00Z. A reading's timestamp labels the
**start** of its interval, so step ``s`` is complete at ``start_of(s + 1)``.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

SECONDS_PER_HOUR = 3600
HORIZON_H = 48
"""How far ahead forecasts reach. [h]"""


@dataclass(frozen=True)
class Interval:
    """A metering interval that divides the hour."""

    seconds: int = SECONDS_PER_HOUR

    def __post_init__(self) -> None:
        if self.seconds <= 0 or SECONDS_PER_HOUR % self.seconds:
            raise ValueError(f"a metering interval of {self.seconds} s does not divide the hour")

    @property
    def steps_per_hour(self) -> int:
        """Intervals in an hour: 1 for hourly meters, 4 for quarter-hourly ones."""
        return SECONDS_PER_HOUR // self.seconds

    @property
    def steps_per_day(self) -> int:
        """Intervals in 24 hours."""
        return 24 * self.steps_per_hour

    @property
    def horizon(self) -> int:
        """Lead times of one forecast: 48 hours in steps."""
        return HORIZON_H * self.steps_per_hour

    def is_on_grid(self, timestamp: datetime) -> bool:
        """Whether an interval starts at this moment."""
        return timestamp.microsecond == 0 and int(timestamp.timestamp()) % self.seconds == 0

    def step_of(self, timestamp: datetime) -> int:
        """The step that this moment lies in."""
        return int(timestamp.timestamp() // self.seconds)

    def start_of(self, step: int) -> datetime:
        """When the step starts, UTC."""
        return datetime.fromtimestamp(step * self.seconds, tz=UTC)

    def end_of(self, step: int) -> datetime:
        """When the step is over, UTC."""
        return self.start_of(step + 1)
