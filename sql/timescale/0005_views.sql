-- The seed schema of this project: one line a quote or a trade, times to the microsecond.
CREATE VIEW ticks (id, symbol, ts, bid, ask, last, volume, provider) AS
SELECT exchange || '/' || symbol || '/quote/' || record_key,
       symbol,
       time,
       bid,
       ask,
       NULL::numeric,
       NULL::numeric,
       exchange
FROM quotes
UNION ALL
SELECT exchange || '/' || symbol || '/trade/' || record_key,
       symbol,
       time,
       NULL::numeric,
       NULL::numeric,
       last_price,
       volume,
       exchange
FROM trades;

-- Trades as they stand: those that a correction voids are left out, and the corrected print stands in for its trade.
-- A correction's key is the trade's key + '/' + what it is; its key time is the trade's day in New York.
CREATE VIEW trades_corrected AS
SELECT time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
       market_center, conditions, tape, source, flags, false AS corrected
FROM trades AS t
WHERE NOT EXISTS (
    SELECT
    FROM corrections AS c
    WHERE c.exchange = t.exchange AND c.symbol = t.symbol
      AND regexp_replace(c.record_key, '/[^/]*$', '') = t.record_key
      AND c.key_time > t.key_time - INTERVAL '2 days' AND c.key_time < t.key_time + INTERVAL '2 days'
)
UNION ALL
SELECT time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, NULL, trade_id, size_unit,
       market_center, conditions, tape, source, flags, true
FROM corrections
WHERE correction = 'correct' AND last_price IS NOT NULL;
