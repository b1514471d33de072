-- Candles from trades, per feed and symbol, at 1 minute, 1 hour, 1 day: each level is built from the one below.
-- Buckets go by key_time (the event time floored to a millisecond or so), hence only trades with an event time.
-- Open and close order trades by time, then sequence (hundreds of trades can share a millisecond), as one number:
-- first() and last() take no row or array.
-- The load refreshes the days it touched; the policies of 0004 do so on servers with background workers too.

CREATE MATERIALIZED VIEW ohlcv_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT exchange,
       symbol,
       time_bucket(INTERVAL '1 minute', key_time) AS bucket,
       first(last_price, event_time_ns * 1e19 + coalesce(sequence, frame_sequence * 10000 + frame_index)) AS open,
       max(last_price) AS high,
       min(last_price) AS low,
       last(last_price, event_time_ns * 1e19 + coalesce(sequence, frame_sequence * 10000 + frame_index)) AS close,
       sum(volume) AS volume,
       sum(last_price * volume) AS turnover,
       count(*) AS trades
FROM trades
WHERE event_time_ns IS NOT NULL
GROUP BY exchange, symbol, bucket
WITH NO DATA;

CREATE MATERIALIZED VIEW ohlcv_1h
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT exchange,
       symbol,
       time_bucket(INTERVAL '1 hour', bucket) AS bucket,
       first(open, bucket) AS open,
       max(high) AS high,
       min(low) AS low,
       last(close, bucket) AS close,
       sum(volume) AS volume,
       sum(turnover) AS turnover,
       sum(trades) AS trades
FROM ohlcv_1m
GROUP BY exchange, symbol, time_bucket(INTERVAL '1 hour', bucket)
WITH NO DATA;

CREATE MATERIALIZED VIEW ohlcv_1d
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT exchange,
       symbol,
       time_bucket(INTERVAL '1 day', bucket) AS bucket,
       first(open, bucket) AS open,
       max(high) AS high,
       min(low) AS low,
       last(close, bucket) AS close,
       sum(volume) AS volume,
       sum(turnover) AS turnover,
       sum(trades) AS trades
FROM ohlcv_1h
GROUP BY exchange, symbol, time_bucket(INTERVAL '1 day', bucket)
WITH NO DATA;
