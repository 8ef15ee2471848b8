-- Meters that appear for the first time, or earlier than known, and buildings that no metadata describes.
WITH seen (building_id, meter, first_seen) AS (VALUES %s),
noted AS (
    INSERT INTO meters AS m (building_id, meter, first_seen)
    SELECT building_id, meter, first_seen FROM seen ORDER BY building_id, meter
    ON CONFLICT (building_id, meter) DO UPDATE SET first_seen = least(m.first_seen, excluded.first_seen)
)
INSERT INTO unknown_buildings AS u (building_id, first_reading)
SELECT building_id, min(first_seen) FROM seen
WHERE building_id NOT IN (SELECT building_id FROM buildings)
GROUP BY building_id ORDER BY building_id
ON CONFLICT (building_id) DO UPDATE SET first_reading = least(u.first_reading, excluded.first_reading);
