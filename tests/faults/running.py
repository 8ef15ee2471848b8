"""One run: a stream through a stack, harm at a random moment of it, and what is left when all is quiet."""

import random
import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.faults.checker import Findings, check, published_again
from tests.faults.expected import Expected
from tests.faults.faults import Fault
from tests.faults.publishing import PublishingThread
from tests.faults.stack import Stack, wait_until
from tests.faults.stream import Stream
from tests.faults.tables import Before, Found

PACE_S = 0.25


@dataclass
class Outcome:
    """What a run ended in."""

    findings: Findings
    expected: Expected
    found: Found
    recovered_after_s: list[float] = field(default_factory=list)
    published_again: int = 0


def run(stack: Stack, stream: Stream, fault: Fault | None, *, pace_s: float = PACE_S) -> Outcome:
    """Publish the stream, do the harm, wait until nothing waits, and check."""
    rng = random.Random(stream.seed)
    stream.write_data_folder(stack.data)
    with ExitStack() as surroundings:
        stack.prepare()
        if fault is not None and fault.around is not None:
            surroundings.enter_context(fault.around(stack))
        stack.start()
        before = Before.of(stack)
        publishing = PublishingThread(stream, stack.settings, pace_s)
        try:
            wait_until(lambda: stack.has_forecast(stream.start_of(0)), stack, "the first forecasts")
            recovered = [_harm(stack, fault, rng, publishing)] if fault else []
            publishing.finish()
        finally:
            publishing.give_up()
        wait_until(stack.is_quiet, stack, "quiet")
        findings, expected, found = check(stack, before)
        return Outcome(findings, expected, found, recovered, published_again(stack, expected))


def started(stack: Stack, stream: Stream) -> Before:
    """Start the pipeline on the stream's data folder, with nothing published yet."""
    stream.write_data_folder(stack.data)
    stack.prepare()
    stack.start()
    return Before.of(stack)


def _harm(stack: Stack, fault: Fault, rng: random.Random, publishing: PublishingThread) -> float:
    """Do the harm at a random moment; how long it took to recover."""
    time.sleep(rng.uniform(0, 4))
    return recovery_s(stack, fault.harm(stack, rng), publishing)


def recovery_s(stack: Stack, over_at: float, publishing: PublishingThread) -> float:
    """Wait until what was published when the harm was over is stored and forecast; how long it took from then."""
    newest = publishing.newest_hour
    ends = {p: end for p, end in stack.end_offsets().items() if p[0] in stack.settings.consumption_topics}
    wait_until(lambda: stack.has_stored(ends) and stack.has_forecast(newest), stack, "recovery")
    return time.monotonic() - over_at
