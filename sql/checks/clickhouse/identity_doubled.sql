-- More than one row of an identity through the users' views.
SELECT table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key, concat(toString(count()), ' rows') AS detail
FROM
(
    SELECT 'trades' AS table_name, exchange, symbol, record_key FROM trades
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
    UNION ALL
    SELECT 'quotes', exchange, symbol, record_key FROM quotes
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key FROM bars
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
)
GROUP BY table_name, exchange, symbol, record_key
HAVING count() > 1
ORDER BY table_name, key
