"""Who uses a building, when and how much: uses with their habits, and buildings drawn from them."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from Sensor_core.building import Building
from Sensor_core.reading import CHILLED_WATER, ELECTRICITY, HOT_WATER

SHARE_WITH_PLANT: Final = 0.25
"""Share of buildings that a district plant cools or heats: each with a meter of its own."""


class Use(NamedTuple):
    """Habits that buildings of one use share.

    Attributes:
        primary_use: ASHRAE's name.
        share: How common it is.
        w_per_m2: Usual mean electric load per floor area. [W/m²]
        base: Load of an empty building over that of a full one.
        opens: Hour at which half of the people have come.
        closes: Hour at which half of them have left.
        saturday: Attendance on Saturdays, 1 on workdays.
        sunday: Attendance on Sundays and public holidays.
        in_break: Attendance while schools are closed.
        evening: Height of an evening at home, on top of the day.
    """

    primary_use: str
    share: float
    w_per_m2: float
    base: float
    opens: float
    closes: float
    saturday: float
    sunday: float
    in_break: float
    evening: float


USES: Final = (
    Use("Education", 0.38, 10, 0.34, 7.5, 17.5, 0.22, 0.14, 0.5, 0.0),
    Use("Office", 0.26, 13, 0.38, 7.3, 18.0, 0.20, 0.12, 0.97, 0.0),
    Use("Lodging/residential", 0.10, 8, 0.45, 6.8, 21.5, 1.05, 1.1, 0.9, 0.6),
    Use("Entertainment/public assembly", 0.08, 12, 0.35, 10.0, 21.5, 1.1, 0.8, 0.95, 0.2),
    Use("Healthcare", 0.05, 25, 0.62, 6.8, 18.5, 0.65, 0.55, 1.0, 0.0),
    Use("Public services", 0.04, 12, 0.45, 7.5, 17.0, 0.4, 0.3, 1.0, 0.0),
    Use("Retail", 0.04, 16, 0.30, 8.5, 20.5, 1.0, 0.6, 1.0, 0.0),
    Use("Parking", 0.02, 4, 0.55, 6.5, 20.0, 0.8, 0.7, 1.0, 0.3),
    Use("Manufacturing/industrial", 0.02, 22, 0.40, 6.0, 17.5, 0.3, 0.15, 0.95, 0.0),
    Use("Food sales and service", 0.01, 30, 0.40, 7.5, 21.0, 1.0, 0.8, 1.0, 0.2),
)


@dataclass(frozen=True, kw_only=True)
class BuildingTraits:
    """One building: its metadata and what makes it differ from others of its use.

    Attributes:
        building: The row of ``building_metadata.csv``.
        use: Habits of its kind.
        mean_kw: Electric load that it has on average, before weather.
        base: Load of the empty building over that of the full one.
        opens: Hour at which half of the people have come.
        closes: Hour at which half of them have left.
        ramp_h: How long they take to come or leave.
        weekend: Factor on its kind's weekend attendance.
        in_break: Attendance while schools are closed.
        cooling_per_k: Growth of the electric load, over its mean, per kelvin above the balance temperature.
        heating_per_k: The same below it.
        balance_c: Outdoor temperature at which it needs neither cooling nor heating. [°C]
        lag_h: Time constant of its walls.
        draught: Heat that passes its walls, over that of the usual building.
        taps: Hot water that its people draw, over that of the usual building; 0 without taps on the meter.
        noise: Relative size of fast, daily and seasonal deviations.
        meters: Its meter codes.
    """

    building: Building
    use: Use
    mean_kw: float
    base: float
    opens: float
    closes: float
    ramp_h: float
    weekend: float
    in_break: float
    cooling_per_k: float
    heating_per_k: float
    balance_c: float
    lag_h: float
    draught: float
    taps: float
    noise: tuple[float, float, float]
    meters: tuple[int, ...]


def draw_building(building_id: int, site_id: int, random: np.random.Generator) -> BuildingTraits:
    """Draw one building.

    Args:
        building_id: Its number.
        site_id: Where it stands.
        random: The building's own random stream.
    """
    shares = np.array([use.share for use in USES])
    use = USES[random.choice(len(USES), p=shares / shares.sum())]
    building = _metadata(building_id, site_id, use, random)
    area_m2 = building.floor_area_m2 or 0.0
    cooled, heated = (bool(drawn) for drawn in random.uniform(size=2) < SHARE_WITH_PLANT)
    size = float(np.exp(random.normal(0.05, 0.85)))
    return BuildingTraits(
        building=building,
        use=use,
        mean_kw=area_m2 * use.w_per_m2 * float(np.exp(random.normal(0.0, 0.85))) / 1000,
        base=_spread_share(use.base, random.normal(0.25, 1.2)),
        opens=use.opens + random.normal(0.0, 0.7),
        closes=use.closes + random.normal(0.0, 1.0),
        ramp_h=random.uniform(0.5, 3.2),
        weekend=float(np.clip(random.normal(0.9, 0.4), 0.1, 1.8)),
        in_break=float(np.clip(use.in_break + random.normal(0.0, 0.12), 0.15, 1.1)),
        cooling_per_k=0.0 if cooled else float(random.exponential(0.012)),
        heating_per_k=float(random.exponential(0.02)) if random.uniform() < 0.15 else 0.0,  # noqa: PLR2004
        balance_c=random.uniform(13.0, 18.0),
        lag_h=random.uniform(3.0, 30.0),
        draught=float(np.exp(random.normal(-0.6, 0.8))),
        taps=float(random.exponential(1.2)) if random.uniform() < 0.6 else 0.0,  # noqa: PLR2004
        noise=(0.028 * size, 0.06 * size, 0.13 * size),
        meters=(ELECTRICITY, *[CHILLED_WATER] * cooled, *[HOT_WATER] * heated),
    )


def _spread_share(share: float, logits: float) -> float:
    """Move a share between 0 and 1 along the logistic curve."""
    return float(1 / (1 + (1 / share - 1) * np.exp(-logits)))


def _metadata(building_id: int, site_id: int, use: Use, random: np.random.Generator) -> Building:
    square_feet = round(float(np.exp(random.normal(np.log(38_000), 1.05))) + 2_000)
    year_built, floors = random.integers(1900, 2016), 1 + random.poisson(square_feet**0.25 / 4)
    blank_year, blank_floors = random.uniform(size=2) < (0.35, 0.5)
    return Building(
        building_id=building_id,
        site_id=site_id,
        primary_use=use.primary_use,
        square_feet=square_feet,
        year_built=None if blank_year else int(year_built),
        floor_count=None if blank_floors else int(floors),
    )
