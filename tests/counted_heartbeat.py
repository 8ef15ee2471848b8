"""A heartbeat that tells how often it beat."""

from Setup.lifecycle import Heartbeat


class CountedHeartbeat(Heartbeat):
    count = 0

    def beat(self) -> None:
        self.count += 1
