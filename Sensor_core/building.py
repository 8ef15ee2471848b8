"""Sites, buildings and meters: what is known of them beside their readings.

Rows of ``sites.csv``, ``building_metadata.csv`` and ``meters.csv`` are validated by these models; energy
units become kWh at the publisher, floor area becomes m² when metadata is loaded.
"""

from collections.abc import Mapping
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator

M2_PER_SQUARE_FOOT: Final = 0.09290304
KWH_PER_UNIT: Final[Mapping[str, float]] = {
    "kWh": 1.0,
    "MWh": 1000.0,
    "Wh": 0.001,
    "kBTU": 0.29307107017222,
    "MMBTU": 293.07107017222,
    "therm": 29.307107017222,
    "MJ": 1 / 3.6,
    "GJ": 1 / 0.0036,
    "ton-hour": 3.51685284206667,
}
"""Energy of one unit. [kWh] (International Table BTU, ton of refrigeration = 12,000 BTU/h)"""

Stamps = Literal["utc", "local", "standard"]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Site(_Row):
    """A place with one weather and one local time.

    ``stamps`` says how the site's readings are stamped in files: ``utc``; ``local`` with daylight saving, the
    first of a doubled hour is summer time; ``standard``, local time without daylight saving.
    """

    site_id: int = Field(ge=0, lt=2**31)
    time_zone: str
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    country: str = Field(pattern="^[A-Z]{2}$")
    stamps: Stamps = "utc"
    limit_kw: float | None = Field(default=None, gt=0)

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is not an IANA time zone such as Europe/London") from None
        return name


class Building(_Row):
    """A building's metadata, in the ASHRAE data set's terms."""

    building_id: int = Field(ge=0, lt=2**31)
    site_id: int = Field(ge=0, lt=2**31)
    primary_use: str = "Other"
    square_feet: float | None = Field(default=None, gt=0)
    year_built: int | None = Field(default=None, ge=1000, le=2100)
    floor_count: int | None = Field(default=None, ge=1, le=300)

    @property
    def floor_area_m2(self) -> float | None:
        """Gross floor area [m²]."""
        return None if self.square_feet is None else self.square_feet * M2_PER_SQUARE_FOOT


class Meter(_Row):
    """A meter's unit in the files; a meter that ``meters.csv`` does not name counts kWh."""

    building_id: int = Field(ge=0, lt=2**31)
    meter: int = Field(default=0, ge=0, le=3)
    unit: str = "kWh"
    multiplier: float = Field(default=1.0, gt=0)
    external_id: str | None = None

    @field_validator("unit")
    @classmethod
    def _unit_is_known(cls, unit: str) -> str:
        if unit not in KWH_PER_UNIT:
            raise ValueError(f"is not one of {', '.join(KWH_PER_UNIT)}")
        return unit

    @property
    def kwh_per_count(self) -> float:
        """Factor from the file's number to energy [kWh]."""
        return KWH_PER_UNIT[self.unit] * self.multiplier
