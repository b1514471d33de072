-- Trades as they stand, a row for each print. A correction's key is that of the print it voids + '/' + what it is. Where
-- it says what takes the print's place (price or size), its own row stands for the replacement, of whose key the last
-- part is its trade_id; a trade of that key, which history may bring, is the same print. A replacement may be voided in
-- its turn. A correction's key time is the print's day in New York. The model: docs/storage.md.
DROP VIEW trades_corrected;

CREATE VIEW corrections_keyed AS
SELECT *,
       voids.key AS voided_key,
       regexp_replace(voids.key, '[^/]*$', '') || coalesce(trade_id, substring(voids.key FROM '[^/]*$')) AS replacement_key,
       coalesce(correction = 'correct' AND (last_price IS NOT NULL OR volume IS NOT NULL), false) AS replaces
FROM corrections, LATERAL (SELECT regexp_replace(record_key, '/[^/]*$', '') AS key) AS voids;

CREATE VIEW trades_corrected AS
SELECT time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
       market_center, conditions, tape, source, flags, false AS corrected
FROM trades AS t
WHERE NOT EXISTS (
    SELECT
    FROM (SELECT exchange, symbol, key_time, voided_key AS record_key FROM corrections_keyed
          UNION ALL
          SELECT exchange, symbol, key_time, replacement_key FROM corrections_keyed WHERE replaces) AS c
    WHERE c.exchange = t.exchange AND c.symbol = t.symbol AND c.record_key = t.record_key
      AND c.key_time > t.key_time - INTERVAL '2 days' AND c.key_time < t.key_time + INTERVAL '2 days'
)
UNION ALL
SELECT time, exchange, symbol, CASE WHEN trade_id IS NULL THEN record_key ELSE replacement_key END, venue_symbol, channel,
       last_price, volume, NULL, trade_id, size_unit, market_center, conditions, tape, source, flags, true
FROM corrections_keyed AS c
WHERE replaces AND NOT EXISTS (
    -- a correction in place voids the former print of its key, not its own
    SELECT
    FROM corrections_keyed AS v
    WHERE v.exchange = c.exchange AND v.symbol = c.symbol AND v.voided_key = c.replacement_key
      AND NOT (v.replaces AND v.replacement_key = v.voided_key)
      AND v.key_time > c.key_time - INTERVAL '2 days' AND v.key_time < c.key_time + INTERVAL '2 days'
);
