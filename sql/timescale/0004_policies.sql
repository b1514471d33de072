-- Columnstore after a week, candles kept fresh. A server with background workers runs these by itself; the
-- embedded engine runs them when told. Retention is created here and switched off: nothing is deleted unless
-- an operator says `SELECT alter_job(job_id, scheduled => true)` (or sets it for the expire_data DAG).

ALTER TABLE trades SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');
ALTER TABLE agg_trades SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');
ALTER TABLE quotes SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');
ALTER TABLE book_updates SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');
ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');
ALTER TABLE stats SET (timescaledb.compress, timescaledb.compress_segmentby = 'exchange, symbol', timescaledb.compress_orderby = 'key_time, record_key');

SELECT add_compression_policy('trades', INTERVAL '7 days');
SELECT add_compression_policy('agg_trades', INTERVAL '7 days');
SELECT add_compression_policy('quotes', INTERVAL '7 days');
SELECT add_compression_policy('book_updates', INTERVAL '7 days');
SELECT add_compression_policy('bars', INTERVAL '30 days');
SELECT add_compression_policy('stats', INTERVAL '30 days');

SELECT add_continuous_aggregate_policy('ohlcv_1m', start_offset => INTERVAL '3 hours', end_offset => INTERVAL '1 minute', schedule_interval => INTERVAL '1 minute');
SELECT add_continuous_aggregate_policy('ohlcv_1h', start_offset => INTERVAL '3 days', end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '30 minutes');
SELECT add_continuous_aggregate_policy('ohlcv_1d', start_offset => INTERVAL '30 days', end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '6 hours');

SELECT alter_job(add_retention_policy('trades', INTERVAL '2 years'), scheduled => false);
SELECT alter_job(add_retention_policy('agg_trades', INTERVAL '2 years'), scheduled => false);
SELECT alter_job(add_retention_policy('quotes', INTERVAL '1 year'), scheduled => false);
SELECT alter_job(add_retention_policy('book_updates', INTERVAL '30 days'), scheduled => false);
SELECT alter_job(add_retention_policy('stats', INTERVAL '2 years'), scheduled => false);
