"""Kinds of command-line values that several commands take."""

import argparse
from datetime import UTC, datetime


def utc_time(text: str) -> datetime:
    """Parse a time of the command line; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2016-11-15T00:00") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
