"""Messages for the decoder, from valid to absurd, and what they say by a reader of their own.

The judge shares nothing with the pipeline: the standard library's JSON reader, made strict, a regular expression for
stamps, and whole microseconds.
"""

import json
import re
from calendar import timegm
from fractions import Fraction
from math import isfinite

CLOCK_S = timegm((2016, 9, 10, 0, 0, 0))
MAX_AHEAD_S = 48 * 3600
FIRST_S, END_S = timegm((1990, 1, 1, 0, 0, 0)), timegm((2100, 1, 1, 0, 0, 0))
MAX_BYTES = 64 * 1024
READING = {
    "building_id": "39",
    "meter": "0",
    "timestamp": '"2016-09-02T00:00:00Z"',
    "meter_reading": "123.4",
    "known_at": '"2016-09-02T01:00:00Z"',
}
TICK = {"timestamp": READING["timestamp"], "known_at": READING["known_at"]}
NUMBERS = [
    "NaN", "Infinity", "-Infinity", "nan", "1e999", "-1e999", "1e-999", "-0", "-0.0", "0", "-1", "-1e-300", "1e9",
    "1000000000.0000001", "1000000001", "1e300", "3", "4", "1.0", "1.5", "2147483647", "2147483648", "-2147483648",
    "9" * 30, "9" * 400, "9" * 5000, "0.1", "0." + "3" * 400, "01", "+1", ".5", "5.", "1_000", "0x10", "1e", "--1",
    '"12"', '"NaN"', "true", "false", "null", "[1]", "{}", "[]", '""', "1 2", "'1'", "\u0661", "1\u0000", "",
]  # fmt: skip
STAMPS = [
    "2016-09-02T00:00:00+00:00", "2016-09-02T05:30:00+05:30", "2016-09-01T19:00:00-05:00", "2016-09-02T00:00:00-00:00",
    "2016-09-02T00:00:00", "2016-09-02 00:00:00Z", "2016-09-02t00:00:00z", "2016-09-02T00:00:00.000Z",
    "2016-09-02T00:00:00.0000009Z", "2016-09-01T23:59:59.9999999Z", "2016-09-02T00:00:00.5Z", "2016-09-02T00:17:00Z",
    "2016-09-02T24:00:00Z", "2016-09-02T23:59:60Z", "2016-02-30T00:00:00Z", "2016-13-01T00:00:00Z",
    "2015-02-29T00:00:00Z", "2016-09-02T00:00:00+24:00", "2016-09-02T00:00:00+23:59", "2016-09-02T00:00:00+0530",
    "2016-09-02T00:00:00+05", "2016-09-02T00:00Z", "2016-09-02", "20160902T000000Z", "2016-W35-5", "yesterday", "",
    "1989-12-31T23:00:00Z", "1990-01-01T00:00:00Z", "2099-12-31T23:00:00Z", "2100-01-01T00:00:00Z",
    "9999-12-31T23:00:00Z", "0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "99999-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "-2016-09-02T00:00:00Z", "2016-09-12T00:00:00Z",
    "2016-09-12T01:00:00Z", "2026-09-02T00:00:00Z", "2016-09-02T00:00:00 Z", " 2016-09-02T00:00:00Z",
    "2016-09-02T00:00:00Z ", "2016-09-02T00:00:00Z\\n", "\u0662\u0660\u0661\u0666-09-02T00:00:00Z",
    "2016-09-02T00:00:00Europe/London", "2016-09-02T00:00:00EST", "2016-09-02T00:00:00." + "0" * 300 + "Z",
]  # fmt: skip
SCHEMAS = [None, b"reading.v1", b"reading.v1", b"reading.v1", b"reading.v1", b"tick.v1", b"tick.v1"]
STRANGE_SCHEMAS = [b"", b"reading.v2", b"Reading.v1", b"reading.v1\0", b"\xff\xfe", b"x" * 1000]
_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):?(\d\d))", re.ASCII
)
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def make_message(random):
    """Schema, payload, and whether it is valid as it stands."""
    schema = random.choice(SCHEMAS)
    fields = dict(TICK if schema == b"tick.v1" else READING)
    for name in fields:
        if random.random() < 0.3:
            fields[name] = _valid_value(name, random)
    changes = random.choice((0, 1, 1, 1, 2, 4))
    for _ in range(changes):
        _change_field(fields, random)
    payload = ("{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}").encode()
    if changes and random.random() < 0.3:
        payload = _change_bytes(payload, random)
    if changes and random.random() < 0.1:
        schema = random.choice(STRANGE_SCHEMAS)
    return schema, payload, not changes


def _valid_value(name, random):
    if name == "building_id":
        return str(random.randrange(2**31))
    if name == "meter":
        return str(random.randrange(4))
    if name == "meter_reading":
        return repr(random.choice((random.random(), random.uniform(0, 1e9), random.randrange(10**9))))
    hour = random.randrange(FIRST_S // 3600, CLOCK_S // 3600)
    return f'"{_iso(hour * 3600)}"'


def _iso(seconds):
    days, rest = divmod(seconds, 86_400)
    year = 1970
    while days >= 365 + _is_leap(year):
        days -= 365 + _is_leap(year)
        year += 1
    month = 1
    while days >= _days_of(year, month):
        days -= _days_of(year, month)
        month += 1
    return f"{year:04}-{month:02}-{days + 1:02}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}Z"


def _change_field(fields, random):
    name = random.choice(list(fields)) if fields else "x"
    how = random.randrange(8)
    if how == 0:
        fields.pop(name, None)
    elif how == 1:
        depth = random.choice((1, 10, 900, 5000, 30_000))
        fields["more"] = random.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth, "[" * depth))
    elif how == 2:
        fields[random.choice(("extra", "\u00e9", "\\u0000", name + " ", name.upper(), f'{name}":1,"{name}'))] = (
            random.choice(NUMBERS)
        )
    elif name in {"timestamp", "known_at"} and how < 7:
        fields[name] = f'"{random.choice(STAMPS)}"'
    else:
        fields[name] = random.choice(NUMBERS)


def _change_bytes(payload, random):
    text = payload.decode()
    place = random.randrange(len(payload))
    return random.choice((
        lambda: payload[:place],
        lambda: payload[place:],
        lambda: payload[:place] + bytes([random.randrange(256)]) + payload[place + 1 :],
        lambda: payload[:place] + bytes(random.randrange(256) for _ in range(3)) + payload[place:],
        lambda: b"\xef\xbb\xbf" + payload,
        lambda: text.encode("utf-16"),
        lambda: text.encode("utf-16-le"),
        lambda: text.encode("utf-32"),
        lambda: text.encode("latin-1", errors="replace"),
        lambda: payload + payload,
        lambda: payload + b" " * random.choice((1, MAX_BYTES)),
        lambda: b"\n\t " + payload + b"\r\n",
        lambda: b"[" + payload + b"]",
        lambda: b"",
        lambda: bytes(random.randrange(256) for _ in range(random.randrange(100))),
        lambda: json.dumps(text).encode(),
    ))()  # fmt: skip


def meaning_of(schema, payload, interval_s=3600):
    """What a message says: (building, meter, timestamps, kWh, known ats); None if it must be refused.

    Moments are sets of microseconds since 1970: a fraction beyond them may be cut or rounded.
    """
    if schema not in {None, b"reading.v1", b"tick.v1"} or not payload or len(payload) > MAX_BYTES:
        return None
    fields = strict_object(payload)
    if fields is None:
        return None
    timestamps = {us for us in _moments(fields.get("timestamp")) if us % (interval_s * 10**6) == 0}
    known_ats = _moments(fields.get("known_at"))
    if schema == b"tick.v1":
        return (None, None, timestamps, None, known_ats) if timestamps and known_ats else None
    timestamps = {us for us in timestamps if us <= (CLOCK_S + MAX_AHEAD_S) * 10**6}
    building, meter, kwh = (_number(fields.get(name)) for name in ("building_id", "meter", "meter_reading"))
    if building is None or not 0 <= building < 2**31 or building % 1:
        return None
    if meter not in {0, 1, 2, 3} or kwh is None or not 0 <= kwh <= 10**9:
        return None
    return (building, meter, timestamps, float(kwh), known_ats) if timestamps and known_ats else None


def strict_object(payload):
    """The JSON object in these bytes, numbers as text; None if it is none by RFC 8259.

    What is no UTF-8 becomes a sign that no known field has: in an unknown one it is tolerated, as all of that is.
    """

    def refuse(_constant):
        raise ValueError

    try:
        fields = json.loads(
            payload.decode("utf-8", errors="replace"), parse_constant=refuse, parse_float=_Number, parse_int=_Number
        )
    except (ValueError, RecursionError):
        return _flat_object(payload)
    return fields if isinstance(fields, dict) else None


def _flat_object(payload):
    """What nests too deeply for the standard library's reader: the fields before the nested one, which comes last."""
    head, separator, rest = payload.partition(b',"more":')
    if not separator or not re.fullmatch(rb'(?:\[+\]+|(?:\{"a":)+1\}+)\}', rest):
        return None
    opened = rest.count(b"[") or rest.count(b"{")
    closed = rest[:-1].count(b"]") or rest[:-1].count(b"}")
    return strict_object(head + b"}") if opened == closed else None


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


def _number(value):
    if not isinstance(value, _Number):
        return None
    approximately = float(value)
    return Fraction(approximately) if isfinite(approximately) else None


def _moments(text):
    match = _RFC_3339.fullmatch(text) if isinstance(text, str) and not isinstance(text, _Number) else None
    if match is None:
        return set()
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, offset_h, offset_min = match.groups()[6:]
    if not 1 <= month <= 12 or not 1 <= day <= _days_of(year, month) or hour > 23 or minute > 59 or second > 59:
        return set()
    offset_s = (int(offset_h) * 3600 + int(offset_min) * 60) * (1 if sign == "+" else -1) if sign else 0
    if sign and (int(offset_h) > 23 or int(offset_min) > 59):
        return set()
    whole = timegm((year, month, day, hour, minute, second)) - offset_s
    exact = (whole + (Fraction(int(fraction), 10 ** len(fraction)) if fraction else 0)) * 10**6
    found = {exact // 1, round(exact)}
    return {int(us) for us in found if FIRST_S * 10**6 <= us < END_S * 10**6}


def _is_leap(year):
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _days_of(year, month):
    return _MONTH_DAYS[month - 1] + (month == 2 and _is_leap(year))
