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

-- Trades less those that the venue voided or replaced; a replacement stands with its own price and size.
CREATE VIEW valid_trades AS
SELECT t.*
FROM trades AS t
WHERE NOT EXISTS (
    SELECT FROM corrections AS c
    WHERE c.exchange = t.exchange AND c.symbol = t.symbol AND c.original_trade_id = t.trade_id
      AND c.market_center IS NOT DISTINCT FROM t.market_center
      AND c.key_time >= t.key_time - INTERVAL '1 day' AND c.key_time < t.key_time + INTERVAL '7 days'
);
