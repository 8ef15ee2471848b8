"""Files of readings, from valid to absurd, and what they say by a reader of their own."""

import csv
import io
import math
import re
from calendar import timegm

from Sensor_core.interval import Interval
from Setup.data_folder import DataFolder
from tests.fuzz.messages import END_S, FIRST_S, _days_of

HEADER = ["building_id", "meter", "timestamp", "meter_reading"]
SITES = "site_id,time_zone,latitude,longitude,country,stamps\n1,Europe/London,51.5,-0.1,GB,utc\n"
BUILDINGS = "site_id,building_id\n1,10\n1,11\n"
METERS = "building_id,meter,unit,multiplier\n11,2,MWh,1\n"
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
]  # fmt: skip
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.0*)?)?)?(?:Z|([+-])(\d\d):?(\d\d))?", re.ASCII
)


def make_folder(path):
    """A data folder without readings."""
    (path / "Sensors").mkdir()
    for name, text in {"sites": SITES, "building_metadata": BUILDINGS, "meters": METERS}.items():
        (path / f"{name}.csv").write_text(text)
    return DataFolder(path, Interval())


def make_file(random):
    """Content of a file, and whether it is valid as it stands."""
    rows = [list(HEADER)]
    for _ in range(random.randrange(1, 5)):
        hour = f"{random.randrange(1, 29):02} {random.randrange(24):02}:00:00"
        rows.append(
            [random.choice(("10", "11", "99")), str(random.randrange(4)), f"2016-09-{hour}", f"{random.random()}"]
        )
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
        is_stamp = column == 2
        row[column] = random.choice(STAMPS if is_stamp else NUMBERS)


def _change_bytes(content, random):
    place = random.randrange(len(content))
    text = content.decode()
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
        (int(row.building_id), int(row.meter), row.timestamp.value // 10**9, float(row.meter_reading_kwh))
        for chunk in chunks
        for row in chunk.itertuples()
    ]


def agree(rows, meaning):
    """Whether both say the same; the fast parser of numbers may be off by the last bit."""
    if meaning is None or [row[:3] for row in rows] != [other[:3] for other in meaning]:
        return False
    return all(math.isclose(row[3], other[3], rel_tol=1e-13) for row, other in zip(rows, meaning, strict=True))


def meaning_of(content):
    """What a file says: (building, meter, seconds since 1970, kWh) of each row that is no hole; None: refuse it."""
    try:
        text = content.decode("utf-8-sig")
        lines = list(csv.reader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error):
        return None
    lines = [line for line in lines if len(line) > 1 or "".join(line).strip()]
    if not lines or any(lines[0].count(name) != 1 for name in ("building_id", "timestamp", "meter_reading")):
        return None
    if lines[0].count("meter") > 1 or any(len(line) > len(lines[0]) for line in lines):
        return None
    meanings = [_row(dict(zip(lines[0], line, strict=False)), "meter" in lines[0]) for line in lines[1:]]
    if None in meanings:
        return None
    return [meaning for meaning in meanings if not math.isnan(meaning[3])]


def _row(row, has_meter):
    building, meter = _whole(row.get("building_id")), _whole(row.get("meter")) if has_meter else 0
    seconds, number = _seconds(row.get("timestamp")), _number(row.get("meter_reading"))
    if building is None or not 0 <= building < 2**31 or meter not in {0, 1, 2, 3} or seconds is None or number is None:
        return None
    kwh = number * (1000 if (building, meter) == (11, 2) else 1)
    return None if math.isinf(kwh) or kwh < 0 or kwh > 1e9 else (building, meter, seconds, kwh)


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


def _seconds(text):
    match = _STAMP.fullmatch(text or "")
    if match is None:
        return None
    year, month, day = map(int, match.groups()[:3])
    hour, minute, second = (int(part or 0) for part in match.groups()[3:6])
    sign, offset_h, offset_min = match.groups()[6:]
    if not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month) or hour > 23 or minute > 59 or second > 59:
        return None
    if sign and (int(offset_h) > 23 or int(offset_min) > 59):
        return None
    offset_s = (int(offset_h) * 3600 + int(offset_min) * 60) * (1 if sign == "+" else -1) if sign else 0
    seconds = timegm((year, month, day, hour, minute, second)) - offset_s
    return seconds if FIRST_S <= seconds < END_S and seconds % 3600 == 0 else None
