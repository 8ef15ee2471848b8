"""The hours that wait for a forecast: a Redis stream, read in order by the one predictor that has the lease."""

import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from Sensor_core.errors import FencedError, RetriableError
from Setup.cache_filling import FILLED
from Setup.redis_client import CLOSED_KEY, LEASE_KEY, STATE_KEY, Client, curable_errors

LEASE_MS: Final = 10_000
_RENEW: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


@dataclass(frozen=True)
class ClosedHour:
    """A step whose readings are complete.

    Attributes:
        entry: ID in the stream.
        step: The step.
        known_at: What had become known until then may be used, UTC.
    """

    entry: bytes
    step: int
    known_at: datetime


class ClosedHours:
    """The stream of closed hours."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token = uuid.uuid4().hex
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)

    def lead(self) -> bool:
        """Take or renew the lease; whoever has it forecasts, the others stand by.

        Raises:
            RetriableError: Redis does not answer.
        """
        with curable_errors():
            return bool(self._renew(keys=[LEASE_KEY], args=[self._token, LEASE_MS]))

    def resign(self) -> None:
        """Give the lease back; while Redis is away it runs out by itself."""
        with suppress(RetriableError), curable_errors():
            self._release(keys=[LEASE_KEY], args=[self._token])

    def next(self, wait_ms: int) -> ClosedHour | None:
        """The oldest hour without a forecast, whoever took it before: it stays in the stream until it is done.

        Raises:
            RetriableError: Redis does not answer.
        """
        with curable_errors():
            entries = _entries(self._client.xread({CLOSED_KEY: "0"}, count=1, block=wait_ms))
        if not entries:
            return None
        entry, fields = entries[0]
        known_at = datetime.fromtimestamp(float(fields[b"known_at"]), tz=UTC)
        return ClosedHour(entry, int(entry.split(b"-")[0]), known_at)

    def done(self, hour: ClosedHour) -> None:
        """Take an hour whose forecasts are published out of the stream.

        Raises:
            RetriableError: Redis does not answer: the hour will be forecast again, with the same result.
            FencedError: Redis was emptied meanwhile, or another predictor has done the hour.
        """
        with curable_errors():
            if not self._client.xdel(CLOSED_KEY, hour.entry):
                raise FencedError("the closed hour is not there any more")


def filling_that_closed(client: Client, hour: ClosedHour) -> bytes:
    """Name of the cache's filling, which has to have this hour closed.

    An hour that was taken before Redis was emptied must not be forecast from rings that do not reach it yet: they would
    be filled, and still be followed up to the hour. It will close again.

    Raises:
        RetriableError: Redis does not answer, is not filled, or has not closed the hour.
    """
    with curable_errors():
        filling, closed = client.hmget(STATE_KEY, FILLED, "closed")
    if filling is None or closed is None or int(closed) < hour.step:
        raise RetriableError("Redis was emptied; the hour will close again")
    return bytes(filling)


def _entries(answer: object) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The entries of one stream in an XREAD answer, which is a list or a mapping by protocol version."""
    if not answer:
        return []
    if isinstance(answer, dict):
        entries = answer[CLOSED_KEY.encode()]
        return entries[0] if entries and isinstance(entries[0], list) else entries
    return answer[0][1]  # type: ignore[index,no-any-return]
