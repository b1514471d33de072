-- Prices that are absent, or open, high, low and close that contradict each other, a price of zero or below, a negative volume.
SELECT 'bars' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       arrayStringConcat(arrayMap((name, value) -> concat(name, ' ', ifNull(toString(value), 'absent')),
           ['open', 'high', 'low', 'close', 'volume'], [open, high, low, close, volume]), ', ') AS detail
FROM bars
WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
  AND (isNull(open) OR isNull(high) OR isNull(low) OR isNull(close) OR low <= 0 OR high < greatest(open, close, low) OR low > least(open, close) OR volume < 0)
ORDER BY key
