"""What the second pass has learned, kept in a Redis hash: it outlives the predictor, and moves on with the lease.

Every few hours the lasting part of it is copied to Postgres, from where a new predictor takes it if Redis has none.
"""

import logging
from collections.abc import Mapping
from typing import Final

from Predictor.forecasting.finishing import Finisher
from Predictor.forecasting.total_model import TotalModel
from Predictor.learned_copy import LearnedCopy
from Sensor_core.errors import FencedError
from Sensor_core.interval import Interval
from Setup.redis_client import LEARNED_KEY, Client, curable_errors

logger = logging.getLogger(__name__)

COPY_EVERY_H: Final = 6
"""Distance of the hours after which Postgres gets a copy. [h]"""
_ORIGIN: Final = b"origin"
_SAVE: Final = """
if (redis.call('HGET', KEYS[1], 'origin') or '') ~= ARGV[1] then return 0 end
local last_changed = tonumber(ARGV[2])
redis.call('HSET', KEYS[1], unpack(ARGV, 3, last_changed))
if last_changed < #ARGV then redis.call('HDEL', KEYS[1], unpack(ARGV, last_changed + 1)) end
return 1
"""
"""A predictor that froze in mid-hour may find that another one has gone on: its own state is old then."""


class LearnedState:
    """A finisher whose state follows Redis. Where Redis has none, it goes on with its own, or with the copy."""

    def __init__(self, client: Client, copy: LearnedCopy, interval: Interval) -> None:
        self._client = client
        self._copy = copy
        self._interval = interval
        self._copy_due = 0
        self._written: dict[bytes, bytes] = {}
        self._finisher = Finisher(TotalModel())
        self._save = client.register_script(_SAVE)

    def finisher(self, model: TotalModel, step: int) -> Finisher:
        """The finisher for an hour.

        Args:
            model: What the forecaster knows of totals.
            step: The hour's step.

        Raises:
            RetriableError: Redis does not answer, or Postgres does not where its copy is needed.
        """
        with curable_errors():
            stored = self._client.hget(LEARNED_KEY, _ORIGIN)
        if stored is None:
            self._written = {}
            if self._finisher.origin is None:
                self._restore(self._copy.read())
        elif stored != self._written.get(_ORIGIN):
            self._load()
        if self._is_ahead_of(step):  # hours were closed again, by energy-cache rebuild say: the copy may be older
            self._restore(self._copy.read())
        if self._is_ahead_of(step):
            logger.warning("intervals start anew: what was learned is of later hours", extra={"event": "state_dropped"})
            self._finisher, self._copy_due = Finisher(model), 0
        self._finisher.model = model
        return self._finisher

    def _is_ahead_of(self, step: int) -> bool:
        return self._finisher.origin is not None and self._finisher.origin > step

    def _load(self) -> None:
        with curable_errors():
            self._written = self._client.hgetall(LEARNED_KEY)
        self._restore({name.decode(): document for name, document in self._written.items() if name != _ORIGIN})

    def _restore(self, parts: Mapping[str, bytes]) -> None:
        self._finisher = Finisher(TotalModel())
        try:
            self._finisher.restore(parts)
        except (ValueError, KeyError) as error:
            logger.warning("intervals start anew: %s", error, extra={"event": "state_dropped"})
            self._finisher = Finisher(TotalModel())

    def save(self) -> None:
        """Write what has changed since the last time.

        Raises:
            RetriableError: Redis does not answer.
            FencedError: Redis has something else than this predictor went on from.
        """
        parts = self._finisher.state()
        state = {name.encode(): document for name, document in parts.items()}
        state[_ORIGIN] = str(self._finisher.origin).encode()
        changed = {name: document for name, document in state.items() if self._written.get(name) != document}
        if not changed:
            return
        fields = [each for field in changed.items() for each in field]
        gone = self._written.keys() - state.keys()
        with curable_errors():
            is_saved = self._save(
                keys=[LEARNED_KEY], args=[self._written.get(_ORIGIN, b""), 2 + len(fields), *fields, *gone]
            )
        if not is_saved:
            raise FencedError("another predictor has learned meanwhile, or Redis was emptied")
        self._written = state
        self._copy_if_due(parts)

    def _copy_if_due(self, parts: Mapping[str, bytes]) -> None:
        origin = self._finisher.origin
        if origin is None or origin < self._copy_due:
            return
        self._copy_due = origin + COPY_EVERY_H * self._interval.steps_per_hour
        self._copy.write(parts, self._interval.start_of(origin))
