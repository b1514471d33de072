-- A negative price or size, a time before 1990 or a day after receipt.
SELECT 'quotes' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat('bid ', toString(bid), ' x ', toString(bid_size), ', ask ', toString(ask), ' x ', toString(ask_size),
              ', event_time_ns ', toString(event_time_ns)) AS detail
FROM quotes
WHERE (key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
       OR key_time < toDateTime('1990-01-01') OR key_time > now() + INTERVAL 2 DAY)
  AND (bid < 0 OR ask < 0 OR bid_size < 0 OR ask_size < 0 OR empty(symbol)
       OR (event_time_ns != 0 AND (event_time_ns < 631152000000000000 OR event_time_ns > receive_time_ns + 86400000000000)))
ORDER BY key
