"""Files of a data folder, from valid to absurd, and what those of readings say by a reader of their own."""

import csv
import gzip
import io
import math
import re
import zlib
from calendar import timegm, weekday
from fractions import Fraction

import pandas as pd

from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from tests.fuzz.messages import END_S, FIRST_S, _days_of

HEADER = ["building_id", "meter", "timestamp", "meter_reading"]
SITES = """site_id,time_zone,latitude,longitude,country,stamps,limit_kw
1,Europe/London,51.5,-0.1,GB,utc,
2,Europe/Berlin,52.5,13.4,DE,local,100
3,Europe/Berlin,52.5,13.4,DE,standard,
"""
BUILDINGS = "site_id,building_id,square_feet,year_built,floor_count\n1,10,100,1990.0,2\n1,11,,,\n2,12,,,\n3,13,,,\n"
LOCAL, STANDARD = 12, 13
METERS = "building_id,meter,unit,multiplier\n11,2,MWh,1\n"
WEATHER = """site_id,timestamp,air_temperature,dew_temperature,precip_depth_1_hr,sea_level_pressure,wind_direction
1,2016-09-02 00:00:00,15.5,,-1,1012.5,180
1,2016-09-02 00:53:00,15,9,0,-9999,0
2,2016-09-02 00:00:00,,9,0,1000,360
"""
OTHER_FILES = {"sites": SITES, "building_metadata": BUILDINGS, "meters": METERS, "weather": WEATHER}
MISSING = {
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
NUMBERS = [
    "NaN", "inf", "-inf", "Infinity", "1e999", "-1", "-0.0", "1e9", "1000000001", "1e300", "abc", "1,5", "1.5.2",
    "0x1F",
    "1_000", " 7", "7 ", "+7", "False", ".5", "5.", "1e", "\u0667", "9" * 400, "", "NA", "null", "True", "'7'", "7\0",
    "#7",
    '"7"', '"7', "-7", "1e-999", "12345678901234567890", "2147483648", "4", "-2147483649", "4611686018427387904", "3.0",
]  # fmt: skip
STAMPS = [
    "2016-09-02", "2016-09-02T00:00:00Z", "2016-09-02 05:30:00+05:30", "2016-09-02 00:00:00.000", "2016-09-02 00:17:00",
    "2016-09-02 24:00:00", "2016-02-30 00:00:00", "7/1/2016", "2016-09", "2016", "20160902", "9999-12-31 23:00:00",
    "1970-01-01 00:00:00", "1677-01-01 00:00:00", "2262-04-12 00:00:00", "2300-01-01 00:00:00", "2600-12-23 00:00:00",
    "0001-01-01 00:00:00",
    "2100-01-01 00:00:00", "2099-12-31 23:00:00", "1989-12-31 23:00:00", "1990-01-01 00:00:00", "yesterday", "now",
    "today", "NaT", "", "1472774400", "2016-09-02 00:00:00 Europe/London", "2016-09-02T00:00:00EST", "2016-W35-5",
    "2016-09-02 00:00:60", "\u0662\u0660\u0661\u0666-09-02 00:00:00", "2016-09-02 00:00:00+24:00", "2016-09-02\0",
    "2016-10-30 02:00:00", "2016-10-30 02:00:00+01:00", "2016-03-27 02:00:00", "2016-03-27 03:00:00",
    "2050-03-27 02:00:00",
]  # fmt: skip
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d*))?)?)?(Z|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def make_folder(path):
    """A data folder without readings."""
    (path / "Sensors").mkdir()
    for name, text in OTHER_FILES.items():
        (path / f"{name}.csv").write_text(text)
    return DataFolder(path, Interval())


def make_file(random):
    """Ending and content of a file of readings, and whether it is valid as it stands."""
    is_known = random.random() < 0.5
    rows = [HEADER + ["known_at"] * is_known]
    for _ in range(random.randrange(1, 5)):
        hour = f"{random.randrange(1, 29):02} {random.randrange(24):02}:00:00"
        stamp = random.choice((f"2016-09-{hour}", f"2016-09-{hour}", "2016-10-30 02:00:00"))
        row = [random.choice(("10", "11", "12", "13", "99")), str(random.randrange(4)), stamp, f"{random.random()}"]
        rows.append(row + [random.choice(("", f"2016-09-{hour}.25", f"2016-09-{hour}+02:00"))] * is_known)
    content, is_valid = _changed(rows, random)
    if random.random() < 0.8:
        return "csv", content, is_valid
    packed = gzip.compress(content, mtime=0)
    return ("csv.gz", _change_bytes(packed, random), False) if random.random() < 0.3 else ("csv.gz", packed, is_valid)


def make_other_file(random):
    """Name and content of another file of the folder, and whether it is valid as it stands."""
    name = random.choice(list(OTHER_FILES))
    return name, *_changed([line.split(",") for line in OTHER_FILES[name].splitlines()], random)


def _changed(rows, random):
    """Content of a file with some changes, and whether there are none."""
    changes = random.choice((0, 1, 1, 1, 2, 4))
    for _ in range(changes):
        _change_row(rows, random)
    content = "".join(",".join(row) + "\n" for row in rows).encode()
    if changes and random.random() < 0.2:
        content = _change_bytes(content, random)
    return content, not changes


def _change_row(rows, random):
    row = rows[random.randrange(len(rows))]
    how = random.randrange(10)
    if how == 0 and row:
        del row[random.randrange(len(row))]
    elif how == 1:
        row.insert(random.randrange(len(row) + 1), random.choice(NUMBERS))
    elif how == 2:
        rows.insert(random.randrange(len(rows) + 1), random.choice(([""], list(HEADER), ["# comment"], ['"'], [" "])))
    elif how == 3:
        random.shuffle(rows[0])
    elif row:
        column = random.randrange(len(row))
        is_stamp = column in {2, 4} and random.random() < 0.9
        row[column] = random.choice(STAMPS if is_stamp else NUMBERS)


def _change_bytes(content, random):
    place = random.randrange(len(content))
    text = content.decode("latin-1")
    return random.choice((
        lambda: content[:place],
        lambda: content[:place] + bytes([random.randrange(256)]) + content[place + 1 :],
        lambda: content[:place] + bytes(random.randrange(256) for _ in range(3)) + content[place:],
        lambda: b"\xef\xbb\xbf" + content,
        lambda: text.encode("utf-16"),
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content.replace(b"\n", b"\r"),
        lambda: content.replace(b",", b";"),
        lambda: b"",
        lambda: content.rstrip(b"\n"),
        lambda: bytes(random.randrange(256) for _ in range(random.randrange(200))),
    ))()  # fmt: skip


def rows_of(chunks):
    """What the reader says, as ``meaning_of`` says it."""
    return [
        (
            int(row.building_id), int(row.meter), row.timestamp.value // 10**9,
            None if row.known_at is pd.NaT else row.known_at.value // 1000, float(row.meter_reading_kwh),
        )
        for chunk in chunks
        for row in chunk.itertuples()
    ]  # fmt: skip


def agree(rows, meaning):
    """Whether both say the same; the fast parser of numbers may be off by the last bit."""
    if meaning is None or [row[:-1] for row in rows] != [other[:-1] for other in meaning]:
        return False
    return all(math.isclose(row[-1], other[-1], rel_tol=1e-13) for row, other in zip(rows, meaning, strict=True))


def meaning_of(content, ending="csv"):
    """What a file says in each row that is no hole, or None: refuse it.

    A row: building, meter, seconds since 1970, microseconds since 1970 at which it was known (None: not given), kWh.
    """
    try:
        text = (gzip.decompress(content) if ending == "csv.gz" else content).decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error, EOFError, OSError, zlib.error):
        return None
    lines = [line for line in lines if len(line) > 1 or "".join(line).strip()]
    if not lines or any(lines[0].count(name) != 1 for name in ("building_id", "timestamp", "meter_reading")):
        return None
    if (
        lines[0].count("meter") > 1
        or lines[0].count("known_at") > 1
        or any(len(line) > len(lines[0]) for line in lines)
    ):
        return None
    doubled = set()
    meanings = [_row(dict(zip(lines[0], line, strict=False)), "meter" in lines[0], doubled) for line in lines[1:]]
    if None in meanings:
        return None
    return [meaning for meaning in meanings if not math.isnan(meaning[-1])]


def _row(row, has_meter, doubled):
    building, meter = _whole(row.get("building_id")), _whole(row.get("meter")) if has_meter else 0
    number, known_at = _number(row.get("meter_reading")), row.get("known_at")
    if building is None or not 0 <= building < 2**31 or meter not in {0, 1, 2, 3} or number is None:
        return None
    seconds = _utc(row.get("timestamp"), building, meter, doubled)
    known_at_us = None
    if known_at is not None and known_at not in MISSING:
        known_at_s, _ = _moment(known_at)
        if known_at_s is None or not FIRST_S <= known_at_s < END_S:
            return None
        known_at_us = math.floor(known_at_s * 10**6)
    kwh = number * (1000 if (building, meter) == (11, 2) else 1)
    if seconds is None or seconds % 3600 or not FIRST_S <= seconds < END_S or math.isinf(kwh) or kwh < 0 or kwh > 1e9:
        return None
    return building, meter, int(seconds), known_at_us, kwh


def _utc(text, building, meter, doubled):
    """Seconds since 1970 of a stamp, in Berlin's time for two of the buildings: EU rules since 1996."""
    wall, has_zone = _moment(text)
    if wall is None or has_zone or building not in {LOCAL, STANDARD}:
        return wall
    winter = wall - 3600
    if building == STANDARD:
        return winter
    year = int(wall // 86_400 / 365.2425) + 1970
    begin, end = (timegm((year, month, 31 - (weekday(year, month, 31) + 1) % 7, 1, 0, 0)) for month in (3, 10))
    if begin <= winter < begin + 3600:
        return None
    if end <= winter < end + 3600:
        seen = (building, meter, wall) in doubled
        doubled.add((building, meter, wall))
        return winter if seen else winter - 3600
    return winter - 3600 if begin <= winter < end else winter


def _whole(text):
    number = math.nan if text is None or text in MISSING else _number(text)
    return int(number) if number is not None and math.isfinite(number) and number == int(number) else None


def _number(text):
    if text is None or text in MISSING:
        return math.nan
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _moment(text):
    """Seconds since 1970, None where it is no time, and whether it says its zone."""
    match = _STAMP.fullmatch(text or "")
    if match is None:
        return None, False
    year, month, day = map(int, match.groups()[:3])
    hour, minute, second = (int(part or 0) for part in match.groups()[3:6])
    fraction, zone, sign, offset_h, offset_min = match.groups()[6:]
    if not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month) or hour > 23 or minute > 59 or second > 59:
        return None, False
    if sign and (int(offset_h) > 23 or int(offset_min) > 59):
        return None, False
    offset_s = (int(offset_h) * 3600 + int(offset_min) * 60) * (1 if sign == "+" else -1) if sign else 0
    part = Fraction(int(fraction), 10 ** len(fraction)) if fraction else 0
    return timegm((year, month, day, hour, minute, second)) - offset_s + part, bool(zone)
