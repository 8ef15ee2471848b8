"""Stops a consumer that would divert too much: a systemic fault is no dead letter.

A message or two that can never be stored go their way and the stream goes on. When a publisher changes its format, or
a consumer has the wrong interval, everything would: then the consumer ends with an error, neither what it has just read
nor its offsets are stored, and a start with the fault removed goes on there. A start without is no new chance: it looks
back on what was diverted before.
"""

from collections import deque
from collections.abc import Sequence

from Consumers.decoding import Message
from Sensor_core.errors import EnergyError


class TooManyDeadLettersError(EnergyError):
    """More messages than the limit allows can never be stored."""


class DeadLetterLimit:
    """The share of each topic's last messages that may become dead letters.

    Args:
        share: The greatest share that is still in order, 0 to 1.
        window: How many messages are looked back on; until a topic has had so many, the rest counts as valid.
    """

    def __init__(self, share: float, window: int) -> None:
        self._share = share
        self._window = window
        self._polls: dict[str, deque[tuple[int, int]]] = {}

    @property
    def look_back(self) -> int:
        """How many messages before the first one to be judged are to be looked at; none where all may be refused."""
        return self._window if self._share < 1 else 0

    def look_at(self, topic: str, messages: int, refused: int) -> None:
        """Count messages that an earlier run has judged."""
        self._count(topic, messages, refused)

    def check(self, topic: str, messages: int, refused: Sequence[tuple[Message, str]]) -> None:
        """Count the messages of one poll.

        Raises:
            TooManyDeadLettersError: Too many of the last ones can never be stored.
        """
        seen, invalid = self._count(topic, messages, len(refused))
        if refused:
            self._judge(f"the last {{}} messages of {topic}", max(seen, self._window), invalid, refused)

    def _count(self, topic: str, messages: int, refused: int) -> tuple[int, int]:
        polls = self._polls.setdefault(topic, deque())
        polls.append((messages, refused))
        seen = sum(count for count, _ in polls)
        while seen - polls[0][0] >= self._window:
            seen -= polls.popleft()[0]
        return seen, sum(invalid for _, invalid in polls)

    def check_batch(self, messages: int, refused: Sequence[tuple[Message, str]]) -> None:
        """Judge one batch by itself.

        Raises:
            TooManyDeadLettersError: The store refuses too much of it for good.
        """
        self._judge("{} messages to be stored", max(messages, self._window), len(refused), refused)

    def _judge(self, what: str, messages: int, invalid: int, refused: Sequence[tuple[Message, str]]) -> None:
        if invalid > self._share * messages:
            raise TooManyDeadLettersError(
                f"{invalid} of {what.format(messages)} can never be stored, one because: {refused[-1][1]}. They are not"
                " stored, nor moved past. Cure the cause and start again; or let them all become dead letters, to be"
                " replayed later: DEAD_LETTER_LIMIT=1"
            )
