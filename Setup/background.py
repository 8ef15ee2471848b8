"""Calls that may hang without harm: each is made in a thread that the process does not wait for when it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from Sensor_core.errors import RetriableError

T = TypeVar("T")


def in_background(function: Callable[..., T], *arguments: object) -> Future[T]:
    """Call a function; what it returns or raises is in the future."""
    future: Future[T] = Future()

    def call() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=call, name=getattr(function, "__name__", "background"), daemon=True).start()
    return future


def answer_of(call: Future[T], who: str, within_s: float) -> T:
    """The result of a call that somebody has to answer soon.

    Raises:
        RetriableError: It takes longer; the call goes on.
    """
    if not wait([call], timeout=within_s).done:
        raise RetriableError(f"no answer from {who} within {within_s:g} s")
    return call.result()
