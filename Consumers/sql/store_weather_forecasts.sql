-- A weather forecast is kept as issued: the first write wins.
INSERT INTO weather_forecasts SELECT * FROM staged_weather_forecasts
ORDER BY site_id, issued_at, source
ON CONFLICT (site_id, issued_at, source) DO NOTHING;
