"""What the integration tests of a stalled client cannot bring about without leaks: a broker that is away."""

from kafka import TopicPartition
from kafka.errors import KafkaTimeoutError

from Consumers.stall import STALL_S, StallDetector

PARTITION = TopicPartition("readings", 0)


class ClientWithoutBroker:
    def end_offsets(self, partitions, timeout_ms):
        raise KafkaTimeoutError(f"no answer about {partitions} in {timeout_ms} ms")


def test_a_consumer_whose_broker_is_away_has_not_stalled():
    now_s = 0.0
    detector = StallDetector(ClientWithoutBroker(), clock=lambda: now_s)
    while now_s < 10 * STALL_S:
        now_s += 1
        detector.polled(0, lambda: [PARTITION])
