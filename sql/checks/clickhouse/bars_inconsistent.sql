-- Open, high, low and close that contradict each other, a price of zero or below, a negative volume.
SELECT 'bars' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat('open ', toString(open), ', high ', toString(high), ', low ', toString(low), ', close ', toString(close),
              ', volume ', toString(volume)) AS detail
FROM bars
WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
  AND (low <= 0 OR high < greatest(open, close, low) OR low > least(open, close) OR volume < 0)
ORDER BY key
