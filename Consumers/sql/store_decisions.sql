-- What was issued is never overwritten: the first write wins.
INSERT INTO decisions SELECT * FROM staged_decisions
ORDER BY site_id, meter, issued_at, window_h, made_at
ON CONFLICT (site_id, meter, issued_at, window_h) DO NOTHING;
