"""Stops a run's engines when the process that started them is gone, however it went.

Run as a child of that process with a pipe as standard input, which ends when the parent does; a parent
that has stopped its engines itself ends the guard.
"""

import sys
from pathlib import Path

from Setup.embedded.state_folder import StateFolder


def main() -> None:
    """Wait for the parent's end, then stop what it left, unless a new run does."""
    folder = StateFolder(Path(sys.argv[1]))
    sys.stdin.buffer.read()
    if folder.inherit():
        folder.end_leftovers()
        folder.release()


if __name__ == "__main__":
    main()
