UPDATE dead_letters SET replayed_at = clock_timestamp() WHERE (topic, "partition", "offset") IN %(origins)s;
