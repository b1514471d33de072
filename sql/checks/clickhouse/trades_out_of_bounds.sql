-- A price of zero or below, a negative size, either of them absent, no symbol, a time before 1990 or a day after receipt.
SELECT 'trades' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat('price ', ifNull(toString(last_price), 'absent'), ', volume ', ifNull(toString(volume), 'absent'), ', event_time_ns ', toString(event_time_ns)) AS detail
FROM trades
WHERE (key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
       OR key_time < toDateTime('1990-01-01') OR key_time > now() + INTERVAL 2 DAY)
  AND (isNull(last_price) OR isNull(volume) OR last_price <= 0 OR volume < 0 OR empty(symbol)
       OR (event_time_ns != 0 AND (event_time_ns < 631152000000000000 OR event_time_ns > receive_time_ns + 86400000000000)))
ORDER BY key
