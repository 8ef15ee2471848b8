"""Large CSV files, a block at a time, as typed columns with the number of each row's line.

A block is parsed by Arrow into the types that it should have. Only where that fails, the same block is read as
text, and each cell that is not of its type is found and named.
"""

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as arrow_csv

from Sensor_core.errors import DataFolderError

Kind = Literal["whole", "number", "text"]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Advance = Callable[[int], None]
"""Told how many bytes of the file, as it lies on the disk, were read since the last call."""

BLOCK_BYTES: Final = 1 << 24
_ARROW_TYPES: Final = {"whole": pa.int64(), "number": pa.float64(), "text": pa.dictionary(pa.int32(), pa.string())}
_REASONS: Final[Mapping[Kind, str]] = {"whole": "is not a whole number", "number": "is not a number"}
_NOT_A_NUMBER: Final = ("nan", "+nan", "-nan", "null", "none", "na", "n/a")


@dataclass(frozen=True)
class Bad:
    """Cells that cannot be parsed: places in the block's rows, the texts found there, and what they are not."""

    rows: Ints
    texts: Sequence[str]
    reason: str


@dataclass(frozen=True)
class Column:
    """One column of a block.

    Attributes:
        cells: Numbers, or codes into ``texts``.
        texts: Distinct texts; empty for numbers.
        empty: Where a number's cell is empty, or None where no cell is.
        bad: Cells that are not of the column's kind; their value is 0 or NaN.
    """

    cells: npt.NDArray[Any]
    texts: Sequence[str] = ()
    empty: Bools | None = None
    bad: Bad | None = None

    @property
    def where_empty(self) -> Bools:
        """Which cells are empty."""
        return np.zeros(len(self.cells), dtype=bool) if self.empty is None else self.empty

    @property
    def where_bad(self) -> Bools:
        """Which cells cannot be parsed."""
        bad = np.zeros(len(self.cells), dtype=bool)
        if self.bad is not None:
            bad[self.bad.rows] = True
        return bad


@dataclass(frozen=True)
class Block:
    """Some rows of a file.

    Attributes:
        lines: Number of each row's line; the header is line 1.
        columns: The columns asked for.
        ragged: Lines with too few or too many cells, with their text; they are not among the rows.
        blank: How many lines hold nothing; they are not among the rows.
    """

    lines: Ints
    columns: Mapping[str, Column]
    ragged: Sequence[tuple[int, str]] = field(default=())
    blank: int = 0


def header_of(file: Path) -> list[str]:
    """Names in the first line.

    Raises:
        DataFolderError: It is no text, or a name stands there twice.
    """
    try:
        with _open(file) as (stream, _):
            names = _names(stream.readline())
    except (OSError, EOFError) as error:
        raise DataFolderError(f"{file} cannot be read: {error}") from None
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataFolderError(f"{file}, line 1: column {twice!r} stands there twice")
    return names


def require_columns(file: Path, names: Sequence[str], *needed: str) -> None:
    """Check a header.

    Raises:
        DataFolderError: A column is missing.
    """
    for column in needed:
        if column not in names:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")  # noqa: PLR2004 - fits a line
            raise DataFolderError(f"{file}, line 1: column {column} is missing (there are: {shown or 'none'})")


def read_blocks(file: Path, kinds: Mapping[str, Kind], advance: Advance = lambda _bytes: None) -> Iterator[Block]:
    """Read some columns of a file.

    Args:
        file: CSV with a header, plain or gzipped.
        kinds: The columns wanted, and of which kind they are.
        advance: Told of the progress.

    Raises:
        DataFolderError: The file cannot be read to its end.
    """
    with _open(file) as (stream, raw):
        names = _names(stream.readline())
        first_line, reached = 2, 0
        for text in _texts(file, stream):
            block = _typed(text, names, kinds, first_line)
            yield block
            first_line += len(block.lines) + len(block.ragged) + block.blank
            advance(raw.tell() - reached)
            reached = raw.tell()


class _open:  # noqa: N801 - used like a function
    """Opens a file as bytes, beside the file on the disk, whose position is the progress."""

    def __init__(self, file: Path) -> None:
        self._raw = file.open("rb")
        zipped = file.suffix == ".gz"
        self._stream = cast("IO[bytes]", gzip.GzipFile(fileobj=self._raw)) if zipped else self._raw

    def __enter__(self) -> tuple[IO[bytes], IO[bytes]]:
        return self._stream, self._raw

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()


def _names(line: bytes) -> list[str]:
    return next(csv.reader([line.decode("utf-8-sig", errors="replace").rstrip("\r\n")]), [])


def _texts(file: Path, stream: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, about ``BLOCK_BYTES`` at a time; the last one ends in a line feed, too."""
    rest = b""
    try:
        while chunk := stream.read(BLOCK_BYTES):
            end = chunk.rfind(b"\n") + 1
            if end:
                yield rest + chunk[:end]
            rest = chunk[end:] if end else rest + chunk
    except (OSError, EOFError) as error:
        raise DataFolderError(f"{file} cannot be read to its end: {error}") from None
    if rest:
        yield rest + b"\n"


def _typed(text: bytes, names: list[str], kinds: Mapping[str, Kind], first_line: int) -> Block:
    convert = arrow_csv.ConvertOptions(
        column_types={name: _ARROW_TYPES[kind] for name, kind in kinds.items()},
        include_columns=list(kinds),
        null_values=[""],
    )
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text),
            arrow_csv.ReadOptions(column_names=names),
            arrow_csv.ParseOptions(ignore_empty_lines=False),
            convert,
        )
    except pa.ArrowInvalid:
        return _searched(text, names, kinds, first_line)
    whole = (name for name, kind in kinds.items() if kind == "whole")
    if table.num_rows != text.count(b"\n") or any(table[name].null_count for name in whole):
        return _searched(text, names, kinds, first_line)
    lines = np.arange(first_line, first_line + table.num_rows)
    return Block(lines, {name: _column(table[name], kind) for name, kind in kinds.items()})


def _column(cells: pa.ChunkedArray, kind: Kind) -> Column:
    if kind == "text":
        cells = cells.unify_dictionaries().combine_chunks()
        return Column(cells.indices.to_numpy(), cells.dictionary.to_pylist())
    empty = cells.is_null().to_numpy() if cells.null_count else None
    return Column(cells.to_numpy(), empty=empty)


def _searched(text: bytes, names: list[str], kinds: Mapping[str, Kind], first_line: int) -> Block:
    """The same as text, every line for itself, with the cells that are not what they should be."""
    ragged: list[tuple[int, str]] = []

    def skip(row: Any) -> str:
        ragged.append((first_line - 1 + row.number, row.text))
        return "skip"

    cells = arrow_csv.read_csv(
        pa.BufferReader(text.decode("utf-8", errors="replace").encode()),
        arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) * 3 + 1),
        arrow_csv.ParseOptions(ignore_empty_lines=False, quote_char=False, invalid_row_handler=skip),
        arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
    )
    lines = np.delete(
        np.arange(first_line, first_line + cells.num_rows + len(ragged)), [line - first_line for line, _ in ragged]
    )
    frame = cells.to_pandas().apply(lambda column: column.str.strip().str.strip('"'))
    blank = (frame == "").all(axis=1).to_numpy() if len(names) > 1 else np.zeros(len(frame), dtype=bool)
    frame = frame[~blank]
    columns = {name: _parsed(frame[name], kind) for name, kind in kinds.items()}
    return Block(lines[~blank], columns, ragged, int(blank.sum()))


def _parsed(texts: "pd.Series[str]", kind: Kind) -> Column:
    if kind == "text":
        codes, distinct = pd.factorize(texts)
        return Column(codes, list(distinct))
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    empty = (texts == "").to_numpy()
    if kind == "number":
        broken = np.isnan(numbers) & ~empty & ~texts.str.lower().isin(_NOT_A_NUMBER).to_numpy()
    else:
        broken = ~(np.abs(numbers) < 2**53) | (numbers != np.floor(numbers))
        numbers = np.where(broken, 0, numbers).astype(np.int64)
    rows = np.flatnonzero(broken)
    return Column(numbers, (), empty, Bad(rows, texts.iloc[rows].tolist(), _REASONS[kind]) if rows.size else None)
