"""How a service starts, retries and stops."""

import argparse
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from Sensor_core.errors import (
    DataFolderError,
    EnergyError,
    RetriableError,
    SettingsError,
    StoppedError,
    UnreachableError,
)
from Setup.metrics import HEALTH, RETRIES, served
from Setup.passwords import warning
from Setup.settings import Settings, load_settings
from Setup.telemetry import configure_logging

logger = logging.getLogger(__name__)
T = TypeVar("T")

SETTINGS_ERROR, DATA_ERROR = 2, 65
"""Exit codes that a restart does not change; the second is EX_DATAERR of sysexits.h."""

Stop = threading.Event
"""Set when the process was asked to end."""


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = Stop()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            sys.exit(128 + number)
        stop.set()

    previous = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def run_service(name: str, run: Callable[[Settings, Stop], None], *, stopped_waiting: int = 0) -> int:
    """Read settings, run the service until it ends or is told to, and turn errors into an exit code.

    Args:
        name: The service, for its log.
        run: Runs it; told by the event to end.
        stopped_waiting: The exit code where it was told to end while it waited for another service.

    Returns:
        0 after a clean stop, 1 after an error that this program knows (one line on standard error), 2 for
        wrong settings, 65 for a wrong data folder (no restart cures these two), 70 for one that it does not know
        (with its traceback in the log).
    """
    try:
        settings = load_settings()
        configure_logging(name, settings.log_level, settings.log_format)
        if known := warning(settings):
            logger.warning(known, extra={"event": "known_passwords"})
    except EnergyError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return SETTINGS_ERROR
    try:
        with served(settings.metrics_host, settings.metrics_port), stop_on_signals() as stop:
            run(settings, stop)
    except StoppedError as error:
        logger.info("stopped: %s", error, extra={"event": "service_stopped"})
        return stopped_waiting
    except EnergyError as error:
        logger.error("%s", error, extra={"event": "service_failed"})  # noqa: TRY400 - its text says it all
        return _exit_code(error)
    except Exception:
        logger.exception("unexpected error", extra={"event": "service_crashed"})
        return 70
    logger.info("stopped", extra={"event": "service_stopped"})
    return 0


def _exit_code(error: EnergyError) -> int:
    if isinstance(error, SettingsError):
        return SETTINGS_ERROR
    return DATA_ERROR if isinstance(error, DataFolderError) else 1


def service_arguments(description: str, arguments: list[str] | None) -> argparse.Namespace:
    """Parse the command line of a service that has no options of its own."""
    parser = argparse.ArgumentParser(description=description, epilog="Settings are read from .env.")
    return parser.parse_args(arguments)


class Backoff:
    """Waiting times that grow and scatter: decorrelated jitter between 0.1 and 15 s.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    FIRST_S = 0.1
    LONGEST_S = 15.0

    def __init__(self) -> None:
        self._previous_s = self.FIRST_S

    def next_s(self) -> float:
        """The next time to wait [s]."""
        RETRIES.inc()
        upper = min(self.LONGEST_S, 3 * self._previous_s)
        self._previous_s = random.uniform(self.FIRST_S, upper)  # noqa: S311 - no secret
        return self._previous_s

    def reset(self) -> None:
        """Start short again, after a success."""
        self._previous_s = self.FIRST_S


def wait_for(what: str, where: str, attempt: Callable[[], T], *, deadline_s: float, stop: Stop | None = None) -> T:
    """Attempt until it succeeds.

    Args:
        what: The service, for the error's text.
        where: The address that was looked at, without secrets.
        attempt: Raises RetriableError while the service does not answer.
        deadline_s: How long to try [s].
        stop: Ends the wait at once.

    Raises:
        UnreachableError: The deadline passed.
        StoppedError: The process was told to stop.
    """
    deadline = time.monotonic() + deadline_s
    backoff, told_to_stop = Backoff(), stop or Stop()
    while True:
        try:
            return attempt()
        except RetriableError as error:
            pause_s = backoff.next_s()
            logger.debug("waiting for %s at %s", what, where, extra={"event": "waiting"})
            if time.monotonic() + pause_s > deadline:
                raise UnreachableError(
                    f"{what} cannot be reached at {where} within {deadline_s:g} s: {error}"
                ) from error
            if told_to_stop.wait(pause_s):
                raise StoppedError(f"told to end while waiting for {what} at {where}: {error}") from error


class Heartbeat:
    """Says about once a second that a loop still turns, which is what ``/live`` answers."""

    EVERY_S = 1.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock

    def beat(self) -> None:
        """Say that the loop turns."""
        HEALTH.turn()

    def wait(self, seconds: float, stop: Stop) -> bool:
        """Go on beating while there is nothing to do.

        Returns:
            Whether the process was told to stop, which ends the wait.
        """
        until = self._clock() + seconds
        while not stop.is_set():
            self.beat()
            left_s = until - self._clock()
            if left_s <= 0:
                return False
            stop.wait(min(left_s, self.EVERY_S))
        return True
