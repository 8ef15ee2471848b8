-- A page of the dead letters that a selection names, in the order of their origins.
SELECT topic, "partition", "offset", consumer, reason, noticed_at, replayed_at, key, payload, headers
FROM dead_letters
WHERE (%(topic)s IS NULL OR topic = %(topic)s)
  AND (%(reason)s IS NULL OR position(lower(%(reason)s) IN lower(reason)) > 0)
  AND (%(since)s IS NULL OR noticed_at >= %(since)s)
  AND (%(until)s IS NULL OR noticed_at < %(until)s)
  AND (%(partition)s IS NULL OR ("partition" = %(partition)s AND "offset" = %(offset)s))
  AND (%(after_topic)s IS NULL
       OR (topic, "partition", "offset") > (%(after_topic)s, %(after_partition)s, %(after_offset)s))
ORDER BY topic, "partition", "offset"
LIMIT %(page)s;
