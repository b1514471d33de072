-- An identity in two rows: its key_time differs between sources, so the unique index could not see it.
SELECT table_name, exchange || ' ' || symbol || ' ' || record_key AS key, count(*) || ' rows' AS detail
FROM (
    SELECT 'trades' AS table_name, exchange, symbol, record_key FROM trades
    WHERE key_time >= %(day)s::date - 1 AND key_time < %(day)s::date + 2
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key FROM bars
    WHERE key_time >= %(day)s::date - 1 AND key_time < %(day)s::date + 2
) AS identity
GROUP BY table_name, exchange, symbol, record_key
HAVING count(*) > 1
ORDER BY 1, 2
