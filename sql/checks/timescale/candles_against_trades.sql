-- A daily candle of the continuous aggregates that is not what the trades of the day say.
SELECT 'ohlcv_1d' AS table_name, c.exchange || ' ' || c.symbol AS key,
       format('candle %%s..%%s volume %%s of %%s trades, trades %%s..%%s volume %%s of %%s',
              c.low, c.high, c.volume, c.trades, t.low, t.high, t.volume, t.trades) AS detail
FROM ohlcv_1d AS c
FULL JOIN (
    SELECT exchange, symbol, max(last_price) AS high, min(last_price) AS low, sum(volume) AS volume, count(*) AS trades
    FROM trades
    WHERE key_time >= %(day)s::date AND key_time < %(day)s::date + 1 AND event_time_ns IS NOT NULL
    GROUP BY exchange, symbol
) AS t USING (exchange, symbol)
WHERE c.bucket = %(day)s::date
  AND (c.high, c.low, c.volume, c.trades) IS DISTINCT FROM (t.high, t.low, t.volume, t.trades)
ORDER BY 2
