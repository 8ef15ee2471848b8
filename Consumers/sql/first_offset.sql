-- The first batch of a partition.
INSERT INTO consumer_offsets (topic, "partition", next_offset, clock)
VALUES (%(topic)s, %(partition)s, %(end)s, %(clock)s)
ON CONFLICT (topic, "partition") DO NOTHING;
