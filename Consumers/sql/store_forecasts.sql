-- An issued forecast is never overwritten: the first write wins, in one batch as well. One that comes after intervals
-- that it forecasts were scored makes their days due again.
WITH inserted AS (
    INSERT INTO forecasts SELECT * FROM staged_forecasts
    ORDER BY building_id, meter, issued_at, made_at
    ON CONFLICT (building_id, meter, issued_at) DO NOTHING
    RETURNING building_id, meter, issued_at
)
INSERT INTO rescoring (building_id, meter, day)
SELECT DISTINCT building_id, meter, date_trunc('day', issued_at) + later * interval '1 day'
FROM inserted CROSS JOIN generate_series(0, 2) AS later
WHERE issued_at < (SELECT closed_until FROM scoring_state);
