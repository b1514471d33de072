-- More than one row of an identity through the users' views. These collapse rows of one key and key_time, so what is
-- left are keys with several key_times; asked of the rows as stored, which spares the collapse. The keys are compared
-- by their hash first: 8 bytes a row instead of the key's text.
WITH
    doubled_trades AS
    (
        SELECT cityHash64(exchange, symbol, key_prefix, key_number) AS hash FROM market_internal.trades_stored
        WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
        GROUP BY hash HAVING min(key_time) != max(key_time)
    ),
    doubled_quotes AS
    (
        SELECT cityHash64(exchange, symbol, key_prefix, key_number) AS hash FROM market_internal.quotes_stored
        WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
        GROUP BY hash HAVING min(key_time) != max(key_time)
    )
SELECT table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key, concat(toString(uniqExact(key_time)), ' rows') AS detail
FROM
(
    SELECT 'trades' AS table_name, exchange, symbol, record_key, key_time FROM market_internal.trades_stored
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND cityHash64(exchange, symbol, key_prefix, key_number) IN (doubled_trades)
    UNION ALL
    SELECT 'quotes', exchange, symbol, record_key, key_time FROM market_internal.quotes_stored
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND cityHash64(exchange, symbol, key_prefix, key_number) IN (doubled_quotes)
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key, key_time FROM bars
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
)
GROUP BY table_name, exchange, symbol, record_key
HAVING min(key_time) != max(key_time)
ORDER BY table_name, key
