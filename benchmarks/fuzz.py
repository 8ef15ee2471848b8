"""Feeds the readers of messages and files with seeded nonsense, and judges every answer.

    python benchmarks/fuzz.py [--inputs 1000000] [--seed 1] [--only messages|other topics|files|other files]

A crash is any error but the declared one; a wrong accept is what an independent reader refuses or reads otherwise; a
wrong refusal is of what was left valid. The table has the counts; every kind of failure is shown once with its input.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import track

ROOT = Path(__file__).resolve().parent.parent
SHARES = {"messages": 0.85, "other topics": 0.13, "files": 0.015, "other files": 0.005}
PROPER = {"accepted", "refused"}


def main() -> int:
    """Run it; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="how many (default: 1000000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the inputs (default: 1)")
    parser.add_argument("--only", choices=SHARES, help="only these")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.fuzz.judging import FileJudge, MessageJudge

    with tempfile.TemporaryDirectory() as folder:
        messages, files = MessageJudge(), FileJudge(Path(folder))
        judges = {
            "messages": messages.judge, "other topics": messages.judge_other_topic,
            "files": files.judge, "other files": files.judge_other_file,
        }  # fmt: skip
        print(f"{'':14}{'inputs':>10}{'accepted':>10}{'refused':>10}{'wrong':>8}{'crashes':>8}{'s':>8}")
        failures: dict[str, object] = {}
        for name, share in SHARES.items():
            if options.only in {None, name}:
                count = options.inputs if options.only else round(options.inputs * share)
                failures |= _run(name, judges[name], count, random.Random(options.seed))
    for kind, example in failures.items():
        print(f"\n{kind}, for example:\n{str(example)[:2000]}")
    return 1 if failures else 0


def _run(name: str, judge: object, count: int, source: random.Random) -> dict[str, object]:
    started, outcomes, failures = time.monotonic(), Counter[str](), {}
    console = Console(stderr=True)
    for _ in track(range(count), name, console=console, disable=not console.is_terminal, transient=True):
        outcome, example = judge(source)  # type: ignore[operator]
        outcomes[outcome] += 1
        if outcome not in PROPER:
            failures.setdefault(f"{name}: {outcome}", example)
    crashes = sum(number for outcome, number in outcomes.items() if outcome.startswith("crash"))
    wrong = count - crashes - outcomes["accepted"] - outcomes["refused"]
    counts = (count, outcomes["accepted"], outcomes["refused"], wrong, crashes, time.monotonic() - started)
    print("{:14}{:>10,}{:>10,}{:>10,}{:>8,}{:>8,}{:>8.0f}".format(name, *counts), flush=True)
    return failures


if __name__ == "__main__":
    sys.exit(main())
