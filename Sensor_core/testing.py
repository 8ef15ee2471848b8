"""For tests: builders of records, and a clock that is moved by hand."""

from datetime import UTC, datetime, timedelta

from Sensor_core.reading import Reading

FIRST_HOUR = datetime(2016, 9, 1, tzinfo=UTC)


def make_reading(
    *, building_id: int = 1, meter: int = 0, hour: int = 0, kwh: float = 10.0, known_after_h: float = 1.0
) -> Reading:
    """A reading ``hour`` hours after ``FIRST_HOUR``, known ``known_after_h`` hours after its own start."""
    timestamp = FIRST_HOUR + timedelta(hours=hour)
    return Reading(building_id, meter, timestamp, kwh, timestamp + timedelta(hours=known_after_h))


class HandClock:
    """A clock that stands still until it is moved; callable as a wall clock."""

    def __init__(self, now: datetime = FIRST_HOUR) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """What time it is."""
        return self.now

    def move(self, **amount: float) -> None:
        """Move forward, by the arguments of timedelta."""
        self.now += timedelta(**amount)
