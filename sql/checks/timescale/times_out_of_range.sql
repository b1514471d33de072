-- Times before 1990 (epoch 0, wrong unit) or more than a day after receipt, in any table.
SELECT table_name, exchange || ' ' || symbol || ' ' || record_key AS key, 'event_time_ns ' || event_time_ns AS detail
FROM (
    SELECT 'trades' AS table_name, exchange, symbol, record_key, event_time_ns, receive_time_ns FROM trades
    WHERE key_time < timestamptz '1990-01-01' OR key_time > now() + interval '2 days'
       OR (key_time >= %(day)s::date AND key_time < %(day)s::date + 1)
    UNION ALL
    SELECT 'quotes', exchange, symbol, record_key, event_time_ns, receive_time_ns FROM quotes
    WHERE key_time < timestamptz '1990-01-01' OR key_time > now() + interval '2 days'
       OR (key_time >= %(day)s::date AND key_time < %(day)s::date + 1)
    UNION ALL
    SELECT 'bars', exchange, symbol, record_key, event_time_ns, receive_time_ns FROM bars
    WHERE key_time < timestamptz '1990-01-01' OR key_time > now() + interval '2 days'
) AS timed
WHERE event_time_ns < 631152000000000000 OR event_time_ns > receive_time_ns + 172800000000000
ORDER BY 1, 2
