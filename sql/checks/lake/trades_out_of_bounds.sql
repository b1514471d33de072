-- A price of zero or below, a negative size, either of them absent, no symbol, a time before 1990 or a day after receipt.
SELECT 'trades' AS table_name, concat_ws(' ', exchange, symbol, record_key) AS key,
       concat('price ', coalesce(last_price::VARCHAR, 'absent'), ', volume ', coalesce(volume::VARCHAR, 'absent'), ', event_time_ns ', event_time_ns) AS detail
FROM trades
WHERE (date = $day OR date < DATE '1990-01-01' OR date > current_date + 2)
  AND (last_price IS NULL OR volume IS NULL OR last_price <= 0 OR volume < 0 OR symbol = ''
       OR (event_time_ns <> 0 AND (event_time_ns < 631152000000000000 OR event_time_ns > receive_time_ns + 86400000000000)))
ORDER BY key
