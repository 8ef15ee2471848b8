-- An issued forecast is never overwritten: the first write wins.
INSERT INTO forecasts SELECT * FROM staged_forecasts
ORDER BY building_id, meter, issued_at
ON CONFLICT (building_id, meter, issued_at) DO NOTHING;
