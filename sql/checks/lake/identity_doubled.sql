-- More than one row of an identity through the lake's views.
SELECT table_name, concat_ws(' ', exchange, symbol, record_key) AS key, concat(count(*), ' rows') AS detail
FROM (
    SELECT 'trades' AS table_name, exchange, symbol, record_key FROM trades WHERE date = $day
    UNION ALL
    SELECT 'quotes', exchange, symbol, record_key FROM quotes WHERE date = $day
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key FROM bars WHERE date = $day
)
GROUP BY ALL
HAVING count(*) > 1
ORDER BY table_name, key
