"""What the second pass has learned, kept in a Redis hash: it outlives the predictor, and moves on with the lease."""

import logging
from typing import Final

from Predictor.forecasting.finishing import Finisher
from Predictor.forecasting.total_model import TotalModel
from Setup.redis_client import LEARNED_KEY, Client, curable_errors

logger = logging.getLogger(__name__)

_ORIGIN: Final = b"origin"


class LearnedState:
    """A finisher whose state follows Redis. Where Redis has none, it goes on with its own, or with the model's dump."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._written: dict[bytes, bytes] = {}
        self._finisher = Finisher(TotalModel())

    def finisher(self, model: TotalModel, step: int) -> Finisher:
        """The finisher for an hour.

        Args:
            model: What the forecaster knows of totals.
            step: The hour's step.

        Raises:
            RetriableError: Redis does not answer.
        """
        with curable_errors():
            stored = self._client.hget(LEARNED_KEY, _ORIGIN)
        if stored is None:
            self._written = {}
        elif stored != self._written.get(_ORIGIN):
            self._load()
        if self._finisher.origin is not None and self._finisher.origin > step:
            logger.warning("intervals start anew: what was learned is of later hours", extra={"event": "state_dropped"})
            self._finisher = Finisher(model)
        self._finisher.model = model
        return self._finisher

    def _load(self) -> None:
        with curable_errors():
            self._written = self._client.hgetall(LEARNED_KEY)
        self._finisher = Finisher(TotalModel())
        parts = {name.decode(): document for name, document in self._written.items() if name != _ORIGIN}
        try:
            self._finisher.restore(parts)
        except (ValueError, KeyError) as error:
            logger.warning("intervals start anew: %s", error, extra={"event": "state_dropped"})
            self._finisher = Finisher(TotalModel())

    def save(self) -> None:
        """Write what has changed since the last time.

        Raises:
            RetriableError: Redis does not answer.
        """
        state = {name.encode(): document for name, document in self._finisher.state().items()}
        state[_ORIGIN] = str(self._finisher.origin).encode()
        changed = {name: document for name, document in state.items() if self._written.get(name) != document}
        gone = self._written.keys() - state.keys()
        if not changed:
            return
        with curable_errors():
            pipeline = self._client.pipeline().hset(LEARNED_KEY, mapping=changed)
            (pipeline.hdel(LEARNED_KEY, *gone) if gone else pipeline).execute()
        self._written = state
