-- More than one row of an identity through the lake's views. The identities are compared by their hash first: 8 bytes a
-- row instead of the key's text.
WITH identities AS (
    SELECT 'trades' AS table_name, exchange, symbol, record_key FROM trades WHERE date = $day
    UNION ALL
    SELECT 'quotes', exchange, symbol, record_key FROM quotes WHERE date = $day
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key FROM bars WHERE date = $day
),
doubled AS (
    SELECT hash(table_name, exchange, symbol, record_key) AS identity FROM identities GROUP BY identity HAVING count(*) > 1
)
SELECT table_name, concat_ws(' ', exchange, symbol, record_key) AS key, concat(count(*), ' rows') AS detail
FROM identities
WHERE hash(table_name, exchange, symbol, record_key) IN (SELECT identity FROM doubled)
GROUP BY table_name, exchange, symbol, record_key
HAVING count(*) > 1
ORDER BY table_name, key
