-- Open, high, low and close that contradict each other, a price of zero or below, a negative volume.
SELECT 'bars' AS table_name, concat_ws(' ', exchange, symbol, record_key) AS key,
       concat('open ', open, ', high ', high, ', low ', low, ', close ', close, ', volume ', volume) AS detail
FROM bars
WHERE date = $day AND (low <= 0 OR high < greatest(open, close, low) OR low > least(open, close) OR volume < 0)
ORDER BY key
