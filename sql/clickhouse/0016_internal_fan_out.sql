-- From the landing tables to where the rows lie, as in 0003, 0011 and 0012. Their names are part of every token that the
-- server remembers: a batch that was inserted through the old views is not known to these, so the sink looks up what it
-- finds intended by older code (etl/sinks/clickhouse_check.py).

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.trades_fan_out TO market_internal.trades_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    last_price, volume, side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.market_data
WHERE kind = 'trade';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.quotes_fan_out TO market_internal.quotes_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape,
    market_center
FROM market_internal.market_data
WHERE kind = 'quote';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.books_fan_out TO market_internal.books_stored AS
WITH
    arrayConcat(bid_prices, ask_prices) AS prices,
    arrayConcat(bid_sizes, ask_sizes) AS sizes,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), prices) AS prices_cut,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), sizes) AS sizes_cut,
    arrayAll((cut, sent) -> cut = sent, prices_cut, prices)
        AND arrayAll((cut, sent) -> cut = sent, sizes_cut, sizes) AS fits
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    book_action, length(bid_prices) AS bid_count,
    if(fits, prices_cut, []) AS prices_narrow, if(fits, [], prices) AS prices_wide,
    if(fits, sizes_cut, []) AS sizes_narrow, if(fits, [], sizes) AS sizes_wide,
    bid_orders, ask_orders, size_unit, depth
FROM market_internal.market_data
WHERE kind = 'book';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.others_fan_out TO market_internal.others_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    multiIf(
        kind = 'bar', bitShiftLeft(toUInt128(bar_state), 112)
            + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32) + parser_version,
        kind = 'gap', bitShiftLeft(toUInt128(receive_time_ns), 32) + toUInt8(gap_state),
        toUInt128(parser_version)) AS version,
    kind, last_price, volume, side, trade_id, first_trade_id, last_trade_id, trade_count, size_unit,
    market_center, conditions, indicators, tape, interval, open, high, low, close, vwap, quote_volume,
    taker_buy_volume, bar_state, original_trade_id, correction, gap_kind, gap_state, from_sequence, to_sequence,
    from_time_ns, to_time_ns, reason, attempts, repaired_rows, detected_time_ns, status, status_code, limit_down,
    limit_up, mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_internal.market_data
WHERE kind NOT IN ('trade', 'quote', 'book');

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.quarantine_fan_out TO market_internal.quarantine_stored AS
SELECT
    fromUnixTimestamp64Nano(receive_time_ns, 'UTC') AS time, exchange, symbol, code, severity, rule, reason, endpoint,
    receive_time_ns, source, connection_id, frame_sequence, frame_index, parser_version, payload, record, outcome,
    outcome_time_ns, bitShiftLeft(toUInt128(outcome_time_ns), 32) + parser_version AS version,
    now64(9, 'UTC') AS stored_time
FROM market_internal.quarantined;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_trades_fan_out TO market_internal.trades_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    last_price, volume, side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.frequent_market_data
WHERE kind = 'trade';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_quotes_fan_out TO market_internal.quotes_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape,
    market_center
FROM market_internal.frequent_market_data
WHERE kind = 'quote';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_books_fan_out TO market_internal.books_stored AS
WITH
    arrayConcat(bid_prices, ask_prices) AS prices,
    arrayConcat(bid_sizes, ask_sizes) AS sizes,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), prices) AS prices_cut,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), sizes) AS sizes_cut,
    arrayAll((cut, sent) -> cut = sent, prices_cut, prices)
        AND arrayAll((cut, sent) -> cut = sent, sizes_cut, sizes) AS fits
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    book_action, length(bid_prices) AS bid_count,
    if(fits, prices_cut, []) AS prices_narrow, if(fits, [], prices) AS prices_wide,
    if(fits, sizes_cut, []) AS sizes_narrow, if(fits, [], sizes) AS sizes_wide,
    bid_orders, ask_orders, size_unit, depth
FROM market_internal.frequent_market_data
WHERE kind = 'book';
