-- Queries for analysts on ClickHouse. Filter by exchange, symbol and time: the primary key and the time index serve both.

-- Candles of a minute from trades as they stand, each by what its conditions let it set.
SELECT toStartOfMinute(time) AS minute, argMinIf(last_price, (time, record_key), sets_price) AS open,
       maxIf(last_price, sets_price) AS high, minIf(last_price, sets_price) AS low,
       argMaxIf(last_price, (time, record_key), sets_price) AS close, sumIf(volume, adds_volume) AS volume
FROM trades_corrected
WHERE exchange = 'binance' AND symbol = 'BTC-USDT' AND time >= now() - INTERVAL 1 HOUR
GROUP BY minute
ORDER BY minute;

-- Best bid and offer at each trade.
SELECT trade.time, trade.last_price, quote.bid, quote.ask
FROM trades AS trade
ASOF LEFT JOIN quotes AS quote
    ON quote.exchange = trade.exchange AND quote.symbol = trade.symbol AND quote.receive_time <= trade.receive_time
WHERE trade.exchange = 'binance' AND trade.symbol = 'BTC-USDT'
ORDER BY trade.time
LIMIT 100;

-- From receipt to storing, in ms, by feed.
SELECT exchange, quantiles(0.5, 0.99)((toUnixTimestamp64Nano(stored_time) - receive_time_ns) / 1e6) AS ms
FROM trades
WHERE source = 'stream'
GROUP BY exchange;

-- What is known to be missing.
SELECT exchange, symbol, channel, gap_kind, from_sequence, to_sequence,
       fromUnixTimestamp64Nano(detected_time_ns, 'UTC') AS detected, attempts, repaired_rows, reason
FROM gaps
WHERE gap_state = 'open'
ORDER BY receive_time DESC;

-- What was kept out, by code.
SELECT exchange, code, severity, count() AS items, max(time) AS latest
FROM quarantine
GROUP BY exchange, code, severity
ORDER BY items DESC;

-- Parts and bytes of each stored table.
SELECT table, count() AS parts, sum(rows) AS rows_stored, round(sum(bytes_on_disk) / sum(rows), 2) AS bytes_per_row
FROM system.parts
WHERE active AND database = concat(currentDatabase(), '_internal')
GROUP BY table
ORDER BY table;
