-- A crash may have sent one twice: its origin names it.
INSERT INTO dead_letters SELECT * FROM staged_dead_letters
ORDER BY topic, "partition", "offset"
ON CONFLICT (topic, "partition", "offset") DO NOTHING;
