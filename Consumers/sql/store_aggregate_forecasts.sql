-- An issued forecast is never overwritten: the first write wins.
INSERT INTO aggregate_forecasts SELECT * FROM staged_aggregate_forecasts
ORDER BY site_id, meter, issued_at, made_at
ON CONFLICT (site_id, meter, issued_at) DO NOTHING;
