"""energy-run as a user starts it: a process in a folder with settings, followed by its output and its psql line."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
ENERGY_RUN = SCRIPTS / "energy-run"


def prepare_workspace(folder: Path) -> None:
    """Give a folder outside of the project what a run needs beside a data folder."""
    shutil.copy(ROOT / ".env", folder / ".env")
    shutil.copytree(ROOT / "Predictor" / "model", folder / "Predictor" / "model")


class RunningPipeline:
    """energy-run as a process whose output is followed; a context manager that leaves nothing running."""

    def __init__(
        self, workspace: Path, *options: str, data: Path | str = "data", settings: Mapping[str, str] | None = None
    ) -> None:
        self._output = workspace / "output.txt"
        self._workspace = workspace
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [ENERGY_RUN, "--data", data, "--state", "state", *options],
                cwd=workspace,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={n: v for n, v in os.environ.items() if n != "DATA_DIR"} | dict(settings or {}),
            )

    def output(self) -> str:
        return self._output.read_text()

    def wait_for(self, pattern: str, within_s: float = 120) -> re.Match[str]:
        deadline = time.monotonic() + within_s
        while True:
            found = re.search(pattern, self.output())
            if found:
                return found
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.1)

    def wait_for_end(self, within_s: float = 180) -> int:
        return self.process.wait(within_s)

    def ask(self, statement: str) -> str:
        """Ask the database by the command that the run offers to copy."""
        command = re.search(r"psql: (.+)", self.output()).group(1)
        return subprocess.run(
            [command, "-Atc", statement], cwd=self._workspace, capture_output=True, text=True, check=True
        ).stdout.strip()

    def ask_until(self, statement: str, expected: str, within_s: float = 120) -> None:
        deadline = time.monotonic() + within_s
        while (answer := self.ask(statement)) != expected:
            assert time.monotonic() < deadline, f"{statement}: {answer}, not {expected}\n{self.output()}"
            time.sleep(0.5)

    def service(self, script: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if any(a.endswith(f"/{script}") for a in child.cmdline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
