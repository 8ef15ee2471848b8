-- Which of these were replayed before; nobody else replays them until this transaction ends.
SELECT topic, "partition", "offset", replayed_at
FROM dead_letters
WHERE (topic, "partition", "offset") IN %(origins)s
ORDER BY topic, "partition", "offset"
FOR UPDATE;
