"""Structured logs: one event name each, as JSON lines in containers and as text in a terminal."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, service, level, event, text, and whatever ``extra`` holds."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "service": self._service,
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(service: str, level: str, style: Literal["json", "text"]) -> None:
    """Send this process's logs to standard error.

    Client libraries are heard from WARNING on: they report each reconnection at INFO.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(service)
        if style == "json"
        else logging.Formatter(f"%(asctime)s {service} %(levelname)s %(message)s", datefmt="%H:%M:%S")
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for library in ("kafka", "urllib3"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # On a busy machine the client warns of each of its own tasks that took over 0.1 s.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
