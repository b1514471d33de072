-- First questions to TimescaleDB; each statement stands alone: psql "$ETL_TIMESCALE_URL" -f sql/queries/timescale_examples.sql
-- or `etl query --store timescale "…"`. Tables are partitioned by key_time: bound it as well as time.

-- What is there: rows per feed and symbol over the last day of data.
SELECT exchange, symbol, count(*) AS trades, min(time) AS first, max(time) AS last
FROM trades
WHERE key_time > (SELECT max(key_time) FROM trades) - INTERVAL '1 day'
GROUP BY exchange, symbol
ORDER BY trades DESC;

-- Hourly candles with the volume-weighted price.
SELECT exchange, symbol, bucket, open, high, low, close, volume, round(turnover / nullif(volume, 0), 8) AS vwap, trades
FROM ohlcv_1h
ORDER BY exchange, symbol, bucket DESC
LIMIT 100;

-- The last quote of each symbol.
SELECT DISTINCT ON (exchange, symbol) exchange, symbol, time, bid, bid_size, ask, ask_size, ask - bid AS spread
FROM quotes
WHERE key_time > (SELECT max(key_time) FROM quotes) - INTERVAL '1 day'
ORDER BY exchange, symbol, time DESC;

-- Trades with the quote that stood when each was made (same feed, within a minute).
SELECT t.exchange, t.symbol, t.time, t.last_price, t.volume, t.side, q.bid, q.ask
FROM trades AS t
CROSS JOIN LATERAL (
    SELECT bid, ask
    FROM quotes
    WHERE exchange = t.exchange AND symbol = t.symbol
      AND time <= t.time AND time > t.time - INTERVAL '1 minute'
      AND key_time > t.key_time - INTERVAL '1 day' AND key_time <= t.time
    ORDER BY time DESC
    LIMIT 1
) AS q
ORDER BY t.exchange, t.symbol, t.time DESC
LIMIT 100;

-- What is known to be missing and is not repaired.
SELECT exchange, symbol, channel, gap_kind, from_sequence, to_sequence,
       to_timestamp(detected_time_ns / 1e9) AS detected, attempts, repaired_rows, reason
FROM gaps
WHERE gap_state = 'open'
ORDER BY time DESC
LIMIT 100;

-- How far behind the socket the exchange's own time lies, per feed and minute (milliseconds).
SELECT exchange, time_bucket(INTERVAL '1 minute', time) AS minute,
       percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY (receive_time_ns - event_time_ns) / 1e6) AS p50_p99
FROM trades
WHERE event_time_ns IS NOT NULL AND source = 'stream'
  AND key_time > (SELECT max(key_time) FROM trades) - INTERVAL '1 hour'
GROUP BY exchange, minute
ORDER BY exchange, minute DESC;
