-- A negative price or size, a time before 1990 or a day after receipt.
SELECT 'quotes' AS table_name, concat_ws(' ', exchange, symbol, record_key) AS key,
       concat('bid ', bid, ' x ', bid_size, ', ask ', ask, ' x ', ask_size, ', event_time_ns ', event_time_ns) AS detail
FROM quotes
WHERE (date = $day OR date < DATE '1990-01-01' OR date > current_date + 2)
  AND (bid < 0 OR ask < 0 OR bid_size < 0 OR ask_size < 0
       OR (event_time_ns <> 0 AND (event_time_ns < 631152000000000000 OR event_time_ns > receive_time_ns + 86400000000000)))
ORDER BY key
