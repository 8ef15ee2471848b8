"""What an import dropped, repaired or noticed, and why: every single case goes on file, counts go on the screen."""

import csv
import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from rich.table import Table

from Training_scripts.simulation.data_folder import open_text

Action = Literal["dropped", "repaired", "noted"]
"""``dropped`` is in no output, ``repaired`` is there otherwise than in the file, ``noted`` was left as it is."""
Case = tuple[int, str, str]
"""Line (1 is the header), column, and the text that was found there."""

REPORT: Final = "report.json"
CASES: Final = "report_cases.csv.gz"
_EXAMPLES: Final = 10


@dataclass
class Finding:
    """One reason in one file.

    Attributes:
        file: Name of the file.
        action: What was done about it.
        reason: Why.
        count: How many cases there are.
        examples: The first few.
    """

    file: str
    action: Action
    reason: str
    count: int = 0
    examples: list[Case] = field(default_factory=list)


class Findings:
    """Counts cases by file and reason, and writes each one into ``report_cases.csv.gz`` as it comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, dict[str, int]] = {}
        self._findings: dict[tuple[str, Action, str], Finding] = {}
        self._stack = ExitStack()
        stream = self._stack.enter_context(open_text(folder / CASES))
        self._cases = csv.writer(stream, lineterminator="\n")
        self._cases.writerow(("file", "action", "reason", "line", "column", "value"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, file: str, action: Action, reason: str, cases: Iterable[Case]) -> None:
        """Take cases of one reason."""
        known = self._findings.get((file, action, reason)) or Finding(file, action, reason)
        for case in cases:
            known.count += 1
            if known.count <= _EXAMPLES:
                known.examples.append(case)
            self._cases.writerow((file, action, reason, *case))
        if known.count:
            self._findings[file, action, reason] = known

    def count_rows(self, file: str, **counts: int) -> None:
        """Add to the numbers of rows that were read from a file, and kept."""
        known = self.rows.setdefault(file, {})
        for name, count in counts.items():
            known[name] = known.get(name, 0) + count

    def sorted(self) -> list[Finding]:
        """Findings by file, in the order in which they came up."""
        files = list(dict.fromkeys(finding.file for finding in self._findings.values()))
        return sorted(self._findings.values(), key=lambda finding: files.index(finding.file))

    def write(self, facts: Mapping[str, object]) -> None:
        """Write ``report.json``: the facts, the rows read and kept of each file, and the findings."""
        findings = [
            {
                "file": found.file,
                "action": found.action,
                "reason": found.reason,
                "count": found.count,
                "examples": [
                    {"line": line, "column": column, "value": value} for line, column, value in found.examples
                ],
            }
            for found in self.sorted()
        ]
        report = {**facts, "rows": self.rows, "findings": findings}
        (self.folder / REPORT).write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def table(self) -> Table:
        """The findings for a terminal."""
        table = Table(title="dropped, repaired, noted", title_justify="left")
        for name in ("file", "what", "why", "cases", "first case"):
            table.add_column(name, justify="right" if name == "cases" else "left", overflow="fold")
        for found in self.sorted():
            line, column, value = found.examples[0]
            first = f"line {line}, {column}: {value}" if line else f"{column}: {value}"
            table.add_row(found.file, found.action, found.reason, f"{found.count:,}", first)
        return table
