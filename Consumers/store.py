"""What a consumer wants of the place that its records go to, and calls to it that may hang without harm.

A store may be slow, absent, or hang in the middle of a query. One call is made at a time, each in the background.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from Consumers.batching import Batch
from Consumers.dead_letter_limit import DeadLetterLimit
from Consumers.dead_letters import DeadLetters
from Consumers.decoding import Message, Partition
from Sensor_core.errors import RetriableError
from Setup.background import answer_of, in_background
from Setup.lifecycle import Backoff, Stop
from Setup.metrics import WRITE_TIME

logger = logging.getLogger(__name__)
T = TypeVar("T")

ANSWER_WITHIN_S = 2.0
LEAVE_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Position:
    """Where a store stands in a partition: the next offset it wants (None: it has none yet) and its clock."""

    next_offset: int | None
    clock: datetime | None


Refuse = Callable[[list[tuple[Message, str]]], None]
"""Makes dead letters of messages, each with a reason, and returns when they are acknowledged."""


class Store(Protocol):
    """Where records go, together with the offsets that say how far."""

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """Where to read on; raises RetriableError while the store does not answer."""

    def limit(self, waiting: Mapping[Partition, int]) -> int | None:
        """The last step that may be written now, or None for no limit; also asked now and then while nothing waits.

        Args:
            waiting: The step that waits first in each of this consumer's partitions where one waits.

        Raises:
            RetriableError: The store does not answer.
            FencedError: The store has lost its offsets.
        """

    def write(self, batch: Batch, refuse: Refuse) -> None:
        """Store a batch and its offsets, all or nothing.

        Args:
            batch: What to store.
            refuse: Takes the messages that the store refuses for good; called before the commit.

        Raises:
            RetriableError: Nothing was stored; waiting may help.
            FencedError: The offsets are not where this consumer left them; nothing was stored.
        """


class StoreCalls:
    """Questions to a store, which wait for a moment only, and writes, which are repeated until they succeed.

    Once the process is to stop, a write that fails is not repeated, and none is begun after it.

    Attributes:
        is_retrying: Whether the last attempt to write failed.
    """

    def __init__(self, store: Store, dead_letters: DeadLetters, dead_letter_limit: DeadLetterLimit, stop: Stop) -> None:
        self._store = store
        self._stop = stop
        self._dead_letters = dead_letters
        self._dead_letter_limit = dead_letter_limit
        self._asked: Future[Any] | None = None
        self._writing: Future[Batch] | None = None
        self.is_retrying = False

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way; there is never a second one."""
        return self._writing is not None or (self._asked is not None and not self._asked.done())

    def positions(self, partitions: Iterable[Partition]) -> dict[Partition, Position]:
        """As in ``Store``; also raises RetriableError where the answer does not come in time."""
        return self._ask(self._store.positions, partitions)

    def limit(self, waiting: Mapping[Partition, int]) -> int | None:
        """As in ``Store``; also raises RetriableError where the answer does not come in time."""
        return self._ask(self._store.limit, waiting)

    def _ask(self, question: Callable[..., T], *arguments: object) -> T:
        """Put a question to the store; an answer that comes too late is left alone, and asked for anew."""
        if self.is_busy:
            raise RetriableError("the store is busy")
        asked = in_background(question, *arguments)
        self._asked = asked
        return answer_of(asked, "the store", ANSWER_WITHIN_S)

    def begin_to_write(self, batch: Batch) -> None:
        """Write a batch in the background, as often as it takes."""
        self._writing = in_background(self._write, batch)

    def written(self, within_s: float = 0.0) -> Batch | None:
        """The batch whose write has ended, told once; None if none has.

        Raises:
            FencedError: It was not written: the offsets are not where this consumer left them.
        """
        if self._writing is None or not wait([self._writing], timeout=within_s).done:
            return None
        if isinstance(self._writing.exception(), RetriableError):
            return None
        writing, self._writing = self._writing, None
        return writing.result()

    @WRITE_TIME.time()
    def _write(self, batch: Batch) -> Batch:
        backoff = Backoff()
        while True:
            try:
                self._dead_letters.publish(batch.refused)
                batch.refused = []  # they are safe, whatever becomes of the rest
                self._store.write(batch, partial(self._refuse, batch))
            except RetriableError as error:
                self.is_retrying = True
                pause_s = backoff.next_s()
                logger.warning("will write again in %.1f s: %s", pause_s, error, extra={"event": "write_retried"})
                if self._stop.wait(pause_s):
                    raise
            else:
                self.is_retrying = False
                return batch

    def _refuse(self, batch: Batch, refused: list[tuple[Message, str]]) -> None:
        self._dead_letter_limit.check_batch(len(batch.records), refused)
        self._dead_letters.publish(refused)

    def leave(self) -> None:
        """Give calls a last short time, and leave what hangs behind."""
        wait([call for call in (self._writing, self._asked) if call is not None], timeout=LEAVE_AFTER_S)
