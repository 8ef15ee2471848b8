-- Compare and set: only who knows where the partition stands may move it.
UPDATE consumer_offsets
SET next_offset = %(end)s, clock = greatest(clock, %(clock)s), stored_at = clock_timestamp(),
    arrived_at = to_timestamp(%(arrived_s)s)
WHERE topic = %(topic)s AND "partition" = %(partition)s AND next_offset = %(start)s;
