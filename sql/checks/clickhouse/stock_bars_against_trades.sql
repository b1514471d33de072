-- A closed minute bar of a stock whose range the trades contradict: prints as they stand, each by what its sale conditions
-- let it set (etl/model/sale_conditions.py).
SELECT 'bars' AS table_name, concat(b.exchange, ' ', b.symbol, ' ', b.record_key) AS key,
       concat('bar ', toString(b.low), '..', toString(b.high), ', eligible trades ', toString(t.low), '..', toString(t.high)) AS detail
FROM
(
    SELECT exchange, symbol, record_key, toStartOfMinute(key_time) AS minute, high, low
    FROM bars
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND interval = '1m' AND bar_state != 'open' AND size_unit = 'share'
) AS b
INNER JOIN
(
    SELECT exchange, symbol, toStartOfMinute(key_time) AS minute, max(last_price) AS high, min(last_price) AS low
    FROM trades_corrected
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND size_unit = 'share' AND sets_price
    GROUP BY exchange, symbol, minute
) AS t USING (exchange, symbol, minute)
WHERE t.high > b.high OR t.low < b.low
ORDER BY key
