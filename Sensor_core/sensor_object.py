"""A sensor: one meter's readings as an ordered stream, whoever publishes them."""

from datetime import datetime
from typing import Protocol

from Sensor_core.reading import Reading


class ReadingPublisher(Protocol):
    """Where a sensor's readings go."""

    def publish(self, reading: Reading) -> None:
        """Take one reading; raises RetriableError where an earlier one was not acknowledged."""


class Sensor:
    """One meter. What it measures is published in the order in which it becomes known."""

    def __init__(self, building_id: int, meter: int, publisher: ReadingPublisher) -> None:
        self.building_id = building_id
        self.meter = meter
        self._publisher = publisher

    def measure(self, timestamp: datetime, meter_reading_kwh: float, known_at: datetime) -> None:
        """Publish the energy counted in one interval.

        Args:
            timestamp: Start of the interval, UTC.
            meter_reading_kwh: Energy counted in it. [kWh]
            known_at: When this value became known, UTC.
        """
        self._publisher.publish(Reading(self.building_id, self.meter, timestamp, meter_reading_kwh, known_at))
