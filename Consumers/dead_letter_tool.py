"""Lists dead letters, shows them, and puts them back on the topics that they came from.

To repair: `show --json > letters.jsonl`, correct the payloads, `replay --file letters.jsonl`. A dead letter is
replayed once, unless --force says otherwise.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec

from Consumers.dead_letter_archive import DeadLetterArchive, Letter, Origin, Selection, name_of
from Consumers.dead_letters import Text, to_bytes
from Sensor_core.errors import EnergyError
from Sensor_core.reading import UNDECODABLE
from Setup.postgres import Role, connect, curable_errors
from Setup.publisher import Publisher
from Setup.settings import Settings, load_settings

_BYTES_A_LINE = 16


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Returns:
        0, or 1 after an error, told in one line on standard error.
    """
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        with curable_errors():
            connection = connect(settings, Role.POSTGRES_CONSUMER)
            try:
                options.command(settings, DeadLetterArchive(connection), options)
            finally:
                connection.close()
    except (EnergyError, OSError) as error:
        print(f"energy-dead-letters: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="energy-dead-letters", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="list|show|replay")

    def add(name: str, command: Callable[..., None], text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        sub.add_argument("--topic", help="only of this topic")
        sub.add_argument("--reason", metavar="TEXT", help="only those whose reason has this text in it")
        sub.add_argument("--since", type=_time, metavar="TIME", help="only noticed at or after this time (UTC)")
        sub.add_argument("--until", type=_time, metavar="TIME", help="only noticed before this time (UTC)")
        return sub

    origin = {"type": _origin, "nargs": "?", "metavar": "TOPIC/PARTITION/OFFSET"}
    add("list", _list, "counts by reason, and the dead letters").add_argument(
        "--limit", type=int, default=20, metavar="N", help="list so many of them (default: 20)"
    )
    show = add("show", _show, "one dead letter, or all that the options select")
    show.add_argument("origin", **origin)  # type: ignore[arg-type]
    show.add_argument("--json", action="store_true", help="as JSON lines, to be repaired and replayed")
    replay = add("replay", _replay, "put dead letters back on their topics, each once")
    replay.add_argument("origin", **origin)  # type: ignore[arg-type]
    replay.add_argument("--file", type=Path, metavar="FILE", help="those in this file of show --json, as repaired")
    replay.add_argument("--all", action="store_true", help="all that wait")
    replay.add_argument("--force", action="store_true", help="also those that were replayed before")
    return parser


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2016-09-02T00:00") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _origin(text: str) -> Origin:
    try:
        topic, partition, offset = text.rsplit("/", 2)
        return topic, int(partition), int(offset)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not TOPIC/PARTITION/OFFSET") from None


def _selection(options: argparse.Namespace) -> Selection:
    topic, partition, offset = getattr(options, "origin", None) or (options.topic, None, None)
    return Selection(topic, partition, offset, options.reason, options.since, options.until)


def _list(_settings: Settings, archive: DeadLetterArchive, options: argparse.Namespace) -> None:
    kinds = archive.kinds(_selection(options))
    total, waiting = sum(kind.count for kind in kinds), sum(kind.waiting for kind in kinds)
    print(f"{total:,} dead letters, {waiting:,} of them not replayed")
    for kind in kinds:
        print(f"{kind.count:>9,}  {_printable(kind.topic)}  {kind.last:%Y-%m-%d %H:%M}  {_printable(kind.reason)}")
    if total and options.limit:
        print()
    for letter in islice(archive.letters(_selection(options)), max(0, options.limit)):
        mark = "replayed" if letter.replayed_at else "waiting "
        print(f"{_name(letter)}  {letter.noticed_at:%Y-%m-%d %H:%M}  {mark}  {_printable(letter.reason)}")


def _show(_settings: Settings, archive: DeadLetterArchive, options: argparse.Namespace) -> None:
    shown = 0
    for letter in archive.letters(_selection(options)):
        print(msgspec.json.encode(letter).decode() if options.json else "\n".join(_described(letter)))
        shown += 1
    if not shown and options.origin:
        raise EnergyError(f"there is no dead letter {name_of(options.origin)}")


def _replay(settings: Settings, archive: DeadLetterArchive, options: argparse.Namespace) -> None:
    selection = _selection(options)
    if options.file is None and not options.all and selection == Selection():
        raise EnergyError("say which: TOPIC/PARTITION/OFFSET, --topic, --reason, --since, --until, --file or --all")
    letters = archive.letters(selection) if options.file is None else read_letters(options.file)
    publisher = Publisher(settings, "dead_letters")
    try:
        topics = [*settings.consumption_topics, settings.topic_predictions]
        topics += [settings.topic_weather, settings.topic_anomalies]
        outcome = archive.replay(letters, publisher, topics, force=options.force)
    finally:
        publisher.close()
    if options.origin and not outcome.replayed + outcome.replayed_before:
        raise EnergyError(f"there is no dead letter {name_of(options.origin)}")
    before = f"; {outcome.replayed_before:,} had been before (--force: again)" if outcome.replayed_before else ""
    print(f"{outcome.replayed:,} replayed{before}")


def read_letters(file: Path) -> Iterator[Letter]:
    """Dead letters as ``show --json`` wrote them.

    Raises:
        EnergyError: A line is none.
    """
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=Letter)
                except UNDECODABLE as error:
                    raise EnergyError(f"{file}, line {number}: {error}") from None


def _described(letter: Letter) -> Iterable[str]:
    yield _name(letter)
    yield f"  reason    {_printable(letter.reason)}"
    yield f"  consumer  {_printable(letter.consumer)}, {letter.noticed_at}"
    yield f"  replayed  {letter.replayed_at or 'no'}"
    yield from _value("key", letter.key)
    for name, value in letter.headers:
        yield from _value(f"header {name}", value)
    yield from _value("payload", letter.payload)


def _value(name: str, text: Text) -> Iterable[str]:
    value = to_bytes(text)
    if value is None:
        yield f"  {_printable(name)}: none"
    elif isinstance(text, str):
        yield f"  {_printable(name)}: {_printable(text)}"
    else:
        yield f"  {_printable(name)}: {len(value):,} bytes"
        for start in range(0, len(value), _BYTES_A_LINE):
            part = value[start : start + _BYTES_A_LINE]
            letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)  # noqa: PLR2004 - ASCII
            yield f"    {start:08x}  {part.hex(' '):<{3 * _BYTES_A_LINE - 1}}  {letters}"


def _name(letter: Letter) -> str:
    return _printable(name_of(letter.origin))


def _printable(text: str) -> str:
    """Text of unknown origin without what a terminal would obey."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


if __name__ == "__main__":
    sys.exit(main())
