-- A reading is reported once for each kind of anomaly.
INSERT INTO anomalies SELECT * FROM staged_anomalies
ORDER BY building_id, meter, "timestamp", kind, detected_at
ON CONFLICT (building_id, meter, "timestamp", kind) DO NOTHING;
