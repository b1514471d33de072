-- A daily candle that is not what the prints of the day say as they stand, each by what its conditions let it set.
SELECT 'ohlcv_1d' AS table_name, c.exchange || ' ' || c.symbol AS key,
       format('candle %%s..%%s volume %%s of %%s trades, trades %%s..%%s volume %%s of %%s',
              c.low, c.high, c.volume, c.trades, t.low, t.high, t.volume, t.trades) AS detail
FROM ohlcv_1d AS c
FULL JOIN (
    SELECT exchange, symbol,
           coalesce(max(last_price) FILTER (WHERE sets_price), max(last_price) FILTER (WHERE sets_extended_price)) AS high,
           coalesce(min(last_price) FILTER (WHERE sets_price), min(last_price) FILTER (WHERE sets_extended_price)) AS low,
           coalesce(sum(volume) FILTER (WHERE adds_volume), 0) AS volume,
           count(*) FILTER (WHERE adds_volume) AS trades
    FROM trades_corrected
    WHERE key_time >= %(day)s::date AND key_time < %(day)s::date + 1 AND event_time_ns IS NOT NULL
    GROUP BY exchange, symbol
) AS t USING (exchange, symbol)
WHERE c.bucket = %(day)s::date
  AND (c.high, c.low, c.volume, c.trades) IS DISTINCT FROM (t.high, t.low, t.volume, t.trades)
ORDER BY 2
