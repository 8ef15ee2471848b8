"""Ends a run's services when the process that started them is gone, however it went.

Run as a child of that process with a pipe as standard input, on which it is told the process number of each
service; the pipe ends when the parent does. A parent that has stopped its services itself leaves nothing to end.
"""

import sys
from collections.abc import Iterable, Iterator

import psutil

from Setup.embedded.state_folder import kill_tree

GRACE_S = 5.0


def main() -> None:
    """Listen until the parent's end, then end what it left."""
    services = list(_announced(sys.stdin))
    left = [service for service in services if service.is_running()]
    for service in left:
        service.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=GRACE_S)
    for service in stubborn:
        kill_tree(service)


def _announced(lines: Iterable[str]) -> Iterator[psutil.Process]:
    for line in lines:
        try:
            yield psutil.Process(int(line))
        except psutil.NoSuchProcess:
            continue


if __name__ == "__main__":
    main()
