-- Prices that are absent, or open, high, low and close that contradict each other, a price of zero or below, a negative volume.
SELECT 'bars' AS table_name, concat_ws(' ', exchange, symbol, record_key) AS key,
       format('open {}, high {}, low {}, close {}, volume {}', open::VARCHAR, high::VARCHAR, low::VARCHAR, close::VARCHAR, volume::VARCHAR) AS detail
FROM bars
WHERE date = $day AND (open IS NULL OR high IS NULL OR low IS NULL OR close IS NULL OR low <= 0 OR high < greatest(open, close, low) OR low > least(open, close) OR volume < 0)
ORDER BY key
