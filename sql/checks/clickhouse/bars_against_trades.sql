-- A closed minute bar whose high, low or volume is not that of the trades stored for its minute, where they are all
-- there (the bar's own trade count says so). Venues whose bars hold every market trade: Binance.
SELECT 'bars' AS table_name, concat(b.exchange, ' ', b.symbol, ' ', b.record_key) AS key,
       concat('bar ', toString(b.low), '..', toString(b.high), ' volume ', toString(b.volume), ', trades ',
              toString(t.low), '..', toString(t.high), ' volume ', toString(t.volume)) AS detail
FROM
(
    SELECT exchange, symbol, record_key, toStartOfMinute(key_time) AS minute, high, low, volume, trade_count
    FROM bars
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND interval = '1m' AND bar_state != 'open' AND exchange IN ('binance', 'binance_usdm')
) AS b
INNER JOIN
(
    SELECT exchange, symbol, toStartOfMinute(key_time) AS minute,
           maxIf(last_price, sets_price) AS high, minIf(last_price, sets_price) AS low,
           sumIf(t.volume, adds_volume) AS volume, countIf(adds_volume) AS trade_count
    FROM trades_corrected AS t
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND exchange IN ('binance', 'binance_usdm')
    GROUP BY exchange, symbol, minute
) AS t USING (exchange, symbol, minute)
WHERE b.trade_count = t.trade_count AND (b.high != t.high OR b.low != t.low OR b.volume != t.volume)
ORDER BY key
