"""What a run shows: a live view in a terminal, or one line every few seconds."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from Setup.embedded.monitor import Counts, Progress
from Setup.embedded.service import State, Status

PLAIN_EVERY_S: Final = 5.0
LIVE_EVERY_S: Final = 0.5
_NOTHING: Final = "-"
_COLOURS: Final = {State.RUNNING: "green", State.WAITING: "red", State.DONE: "blue", State.STOPPED: "dim"}


@dataclass(frozen=True)
class Addresses:
    """Where a user reaches the run.

    Attributes:
        kafka: Bootstrap servers.
        postgres: Host and port.
        redis: Host and port.
        psql: A command to copy, which opens the database on the read-only role.
        logs: Folder of the logs.
    """

    kafka: str
    postgres: str
    redis: str
    psql: str
    logs: str


@dataclass(frozen=True)
class Facts:
    """All that a view shows at one moment.

    Attributes:
        headline: What the run is doing, in a few words.
        addresses: Where it is reached.
        services: One status a service.
        progress: Where the pipeline stands, if known.
        counts: What is stored, if known.
        history_readings: Readings that were stored before the replay began.
        problem: Why there is no newer answer, or an empty text.
    """

    headline: str
    addresses: Addresses
    services: tuple[Status, ...]
    progress: Progress | None
    counts: Counts | None
    history_readings: int
    problem: str = ""


class View(Protocol):
    """Shows a run; ``show`` is called between entering and leaving it, ``event`` at any time."""

    def event(self, text: str) -> None:
        """Show that something happened, in one line or a few."""

    def show(self, facts: Facts) -> None:
        """Show how things stand; may be called more often than is shown."""

    def __enter__(self) -> Self:
        """Begin to show."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the screen as it is."""


class PlainView:
    """Lines for a log: events at once, the facts every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown_at: float | None = None

    def event(self, text: str) -> None:
        """Print it."""
        _print(self._console, text)

    def show(self, facts: Facts) -> None:
        """Print the addresses once, and a line of facts if the last one is old enough."""
        if self._shown_at is None:
            for name, value in _address_rows(facts.addresses):
                self.event(f"{name}: {value}")
        if self._shown_at is None or time.monotonic() - self._shown_at >= PLAIN_EVERY_S:
            self._shown_at = time.monotonic()
            self.event(plain_line(facts))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up: lines stay."""


class LiveView:
    """A block of the terminal that is drawn anew twice a second, below the lines that tell of events."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._shown_at = float("-inf")

    def event(self, text: str) -> None:
        """Print it above the block."""
        _print(self._console, text)

    def show(self, facts: Facts) -> None:
        """Draw anew if the last drawing is old enough."""
        if time.monotonic() - self._shown_at >= LIVE_EVERY_S:
            self._shown_at = time.monotonic()
            self._live.update(drawing(facts), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def plain_line(facts: Facts) -> str:
    """The facts in one line."""
    parts = [f"{name} {value}" for name, value in _fact_rows(facts)]
    down = [f"{s.name} {s.state.value}" for s in facts.services if s.state is State.WAITING]
    return "; ".join([facts.headline, *parts, *down, *filter(None, [facts.problem])])


def drawing(facts: Facts) -> RenderableType:
    """The facts as a block of the terminal."""
    return Group(
        Text(),
        Text(facts.headline, style="bold"),
        _two_columns(_fact_rows(facts)),
        Text(),
        _service_table(facts.services),
        Text(),
        _two_columns(_address_rows(facts.addresses)),
        Text(facts.problem, style="red"),
    )


def _fact_rows(facts: Facts) -> list[tuple[str, str]]:
    progress, counts = facts.progress, facts.counts
    waiting = progress.waiting_messages if progress else None
    stored = counts.readings - facts.history_readings if counts else None
    published = stored + waiting if stored is not None and waiting is not None else None
    skill = counts.skill if counts else None
    return [
        ("stored until", _hour(progress.stored_until if progress else None)),
        ("forecast until", _hour(progress.forecast_until if progress else None)),
        ("readings", f"{_number(published)} published, {_number(stored)} stored, {_number(waiting)} waiting"),
        ("forecasts", f"{_number(counts.forecasts if counts else None)} stored"),
        ("dead letters", _number(counts.dead_letters if counts else None)),
        ("skill", _NOTHING if skill is None else f"{skill:+.1%} one step ahead, over repeating the newest reading"),
    ]


def _address_rows(addresses: Addresses) -> list[tuple[str, str]]:
    return [
        ("Kafka", addresses.kafka),
        ("Postgres", addresses.postgres),
        ("Redis", addresses.redis),
        ("logs", addresses.logs),
        ("psql", addresses.psql),
    ]


def _two_columns(rows: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value, overflow="fold"))
    return table


def _service_table(services: Iterable[Status]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("service", "state", "process", "up", "restarts"):
        table.add_column(title, justify="left" if title in {"service", "state"} else "right")
    for status in services:
        table.add_row(
            status.name,
            Text(status.state.value, style=_COLOURS[status.state]),
            _NOTHING if status.pid is None else str(status.pid),
            _NOTHING if status.up_s is None else _duration(status.up_s),
            str(status.restarts),
        )
    return table


def _hour(moment: datetime | None) -> str:
    return _NOTHING if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _number(count: int | None) -> str:
    return _NOTHING if count is None else f"{count:,}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _print(console: Console, text: str) -> None:
    console.print(f"{_clock()} {text}", markup=False, highlight=False, soft_wrap=True)
