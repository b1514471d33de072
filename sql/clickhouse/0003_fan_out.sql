-- From the landing tables to the table of each kind. CREATE OR REPLACE is not given for materialized views: a later
-- migration that changes one drops it first.

CREATE MATERIALIZED VIEW IF NOT EXISTS trades_fan_out TO trades_stored AS
WITH
    accurateCastOrNull(last_price, 'Decimal(18, 8)') AS price_cut,
    accurateCastOrNull(volume, 'Decimal(18, 8)') AS volume_cut
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    if(price_cut = last_price, price_cut, NULL) AS last_price_narrow,
    if(isNull(last_price) OR price_cut = last_price, toDecimal128(0, 19), assumeNotNull(last_price)) AS last_price_wide,
    if(volume_cut = volume, volume_cut, NULL) AS volume_narrow,
    if(isNull(volume) OR volume_cut = volume, toDecimal128(0, 19), assumeNotNull(volume)) AS volume_wide,
    side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_data
WHERE kind = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS quotes_fan_out TO quotes_stored AS
WITH
    accurateCastOrNull(bid, 'Decimal(18, 8)') AS bid_cut,
    accurateCastOrNull(bid_size, 'Decimal(18, 8)') AS bid_size_cut,
    accurateCastOrNull(ask, 'Decimal(18, 8)') AS ask_cut,
    accurateCastOrNull(ask_size, 'Decimal(18, 8)') AS ask_size_cut
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    if(bid_cut = bid, bid_cut, NULL) AS bid_narrow,
    if(isNull(bid) OR bid_cut = bid, toDecimal128(0, 19), assumeNotNull(bid)) AS bid_wide,
    if(bid_size_cut = bid_size, bid_size_cut, NULL) AS bid_size_narrow,
    if(isNull(bid_size) OR bid_size_cut = bid_size, toDecimal128(0, 19), assumeNotNull(bid_size)) AS bid_size_wide,
    if(ask_cut = ask, ask_cut, NULL) AS ask_narrow,
    if(isNull(ask) OR ask_cut = ask, toDecimal128(0, 19), assumeNotNull(ask)) AS ask_wide,
    if(ask_size_cut = ask_size, ask_size_cut, NULL) AS ask_size_narrow,
    if(isNull(ask_size) OR ask_size_cut = ask_size, toDecimal128(0, 19), assumeNotNull(ask_size)) AS ask_size_wide,
    size_unit, bid_exchange, ask_exchange, conditions, indicators, tape, market_center
FROM market_data
WHERE kind = 2;

CREATE MATERIALIZED VIEW IF NOT EXISTS book_updates_fan_out TO book_updates_stored AS
WITH
    arrayConcat(
        arrayMap((i, price, size) -> (1, i - 1, toNullable(price), toNullable(size), if(empty(bid_orders), NULL, bid_orders[i])),
            arrayEnumerate(bid_prices), bid_prices, bid_sizes),
        arrayMap((i, price, size) -> (2, i - 1, toNullable(price), toNullable(size), if(empty(ask_orders), NULL, ask_orders[i])),
            arrayEnumerate(ask_prices), ask_prices, ask_sizes)) AS sent_levels,
    arrayJoin(if(empty(sent_levels), [(0, 0, NULL, NULL, NULL)], sent_levels)) AS one,
    one.3 AS price,
    one.4 AS size,
    accurateCastOrNull(price, 'Decimal(18, 8)') AS price_cut,
    accurateCastOrNull(size, 'Decimal(18, 8)') AS size_cut
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    one.1 AS side,
    one.2 AS level,
    if(price_cut = price, price_cut, NULL) AS price_narrow,
    if(isNull(price) OR price_cut = price, toDecimal128(0, 19), assumeNotNull(price)) AS price_wide,
    if(size_cut = size, size_cut, NULL) AS size_narrow,
    if(isNull(size) OR size_cut = size, toDecimal128(0, 19), assumeNotNull(size)) AS size_wide,
    one.5 AS orders,
    book_action, size_unit, depth
FROM market_data
WHERE kind = 3;

CREATE MATERIALIZED VIEW IF NOT EXISTS bars_fan_out TO bars_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    interval, open, high, low, close, volume, bar_state, size_unit, vwap, quote_volume, taker_buy_volume, trade_count
FROM market_data
WHERE kind = 4;

CREATE MATERIALIZED VIEW IF NOT EXISTS gaps_fan_out TO gaps_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    gap_kind, gap_state, from_sequence, to_sequence, from_time_ns, to_time_ns, reason
FROM market_data
WHERE kind = 5;

CREATE MATERIALIZED VIEW IF NOT EXISTS agg_trades_fan_out TO agg_trades_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    last_price, volume, side, trade_id, size_unit, first_trade_id, last_trade_id, trade_count, conditions
FROM market_data
WHERE kind = 6;

CREATE MATERIALIZED VIEW IF NOT EXISTS corrections_fan_out TO corrections_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    original_trade_id, correction, trade_id, last_price, volume, size_unit, market_center, conditions, tape
FROM market_data
WHERE kind = 7;

CREATE MATERIALIZED VIEW IF NOT EXISTS statuses_fan_out TO statuses_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    status, status_code, limit_down, limit_up, reason, indicators, tape
FROM market_data
WHERE kind = 8;

CREATE MATERIALIZED VIEW IF NOT EXISTS stats_fan_out TO stats_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_data
WHERE kind = 9;

CREATE MATERIALIZED VIEW IF NOT EXISTS liquidations_fan_out TO liquidations_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_offset, source, connection_id, frame_sequence, frame_index, parser_version, version,
    sequence_is_key, sequence_own, first_offset, previous_offset, flags, stored_time,
    last_price, volume, side, size_unit
FROM market_data
WHERE kind = 10;

CREATE MATERIALIZED VIEW IF NOT EXISTS quarantine_fan_out TO quarantine_stored AS
SELECT
    time, exchange, symbol, code, severity, rule, reason, endpoint, receive_time_ns, source, connection_id,
    frame_sequence, frame_index, parser_version, payload, record, outcome, outcome_time_ns, version, stored_time
FROM quarantined;
