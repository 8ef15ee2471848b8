-- Dead letters by topic and kind of reason: reasons that differ in their numbers only are one kind.
SELECT topic, regexp_replace(reason, '\d+', 'N', 'g') AS kind, count(*), count(*) FILTER (WHERE replayed_at IS NULL),
       max(noticed_at)
FROM dead_letters
WHERE (%(topic)s IS NULL OR topic = %(topic)s)
  AND (%(reason)s IS NULL OR position(lower(%(reason)s) IN lower(reason)) > 0)
  AND (%(since)s IS NULL OR noticed_at >= %(since)s)
  AND (%(until)s IS NULL OR noticed_at < %(until)s)
GROUP BY topic, kind
ORDER BY count(*) DESC, topic, kind;
