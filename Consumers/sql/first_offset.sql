-- The first batch of a partition.
INSERT INTO consumer_offsets (topic, "partition", next_offset, clock, arrived_at)
VALUES (%(topic)s, %(partition)s, %(end)s, %(clock)s, to_timestamp(%(arrived_s)s))
ON CONFLICT (topic, "partition") DO NOTHING;
