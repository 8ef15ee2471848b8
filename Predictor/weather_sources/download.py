"""One HTTP answer within bounds: of time, of attempts and of size."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import requests
import urllib3

from Sensor_core.errors import InvalidRecordError, RetriableError
from Setup.lifecycle import Backoff

_CHUNK_BYTES: Final = 64 * 1024
_EXCERPT_BYTES: Final = 200


@dataclass(frozen=True)
class Bounds:
    """How long to wait for an answer, and how much of it to take.

    Attributes:
        connect_s: For a connection. [s]
        silence_s: Between two packets. [s]
        total_s: For everything, repeats included. [s]
        attempts: Requests at most.
        size_bytes: Length of the answer, unpacked.
    """

    connect_s: float = 3.0
    silence_s: float = 5.0
    total_s: float = 20.0
    attempts: int = 3
    size_bytes: int = 8 * 1024 * 1024


class Downloader:
    """Fetches documents; errors name no address, since it may hold a key."""

    def __init__(self, bounds: Bounds | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
        self._bounds = bounds or Bounds()
        self._sleep = sleep

    def get(self, url: str, query: Mapping[str, str]) -> bytes:
        """Fetch a document; what waiting may cure is tried again.

        Raises:
            RetriableError: The server is out, overloaded or too slow.
            InvalidRecordError: It refused the request, names another address, or answers too much.
        """
        deadline = time.monotonic() + self._bounds.total_s
        backoff = Backoff()
        for _ in range(self._bounds.attempts - 1):
            try:
                return self._attempt(url, query, deadline)
            except RetriableError:
                pause_s = backoff.next_s()
                if time.monotonic() + pause_s >= deadline:
                    raise
                self._sleep(pause_s)
        return self._attempt(url, query, deadline)

    def _attempt(self, url: str, query: Mapping[str, str], deadline: float) -> bytes:
        timeouts = (self._bounds.connect_s, self._bounds.silence_s)
        try:
            # The library reads the whole body of whatever redirects it, and knows no bounds.
            with requests.get(url, params=query, timeout=timeouts, stream=True, allow_redirects=False) as response:
                _check_status(response)
                return self._body(response, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise RetriableError(type(error).__name__) from None

    def _body(self, response: requests.Response, deadline: float) -> bytes:
        body = bytearray()
        # iter_content would wait for a whole chunk, however slowly it drips.
        while chunk := response.raw.read1(_CHUNK_BYTES, decode_content=True):
            body += chunk
            if len(body) > self._bounds.size_bytes:
                raise InvalidRecordError(f"the answer is longer than {self._bounds.size_bytes} bytes")
            if time.monotonic() > deadline:
                raise RetriableError(f"the answer took longer than {self._bounds.total_s:g} s")
        return bytes(body)


def _check_status(response: requests.Response) -> None:
    status = response.status_code
    if status == HTTPStatus.OK:
        return
    if response.is_redirect:
        raise InvalidRecordError(f"HTTP status {status}, the address has changed: correct OPEN_METEO_URL")
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise RetriableError(f"HTTP status {status}")
    said = response.raw.read1(_EXCERPT_BYTES, decode_content=True).decode(errors="replace")
    raise InvalidRecordError(f"HTTP status {status}: {said}")
