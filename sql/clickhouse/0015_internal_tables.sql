-- The old landing tables go first: a sink of older code stops at the next insert, and SYNC waits for those under way,
-- which still have their views. Then nothing inserts, and the stored tables move as they are: their rows, and the tokens
-- of what was inserted last.

DROP TABLE IF EXISTS market_data SYNC;
DROP TABLE IF EXISTS frequent_market_data SYNC;
DROP TABLE IF EXISTS quarantined SYNC;

DROP VIEW IF EXISTS trades_fan_out SYNC;
DROP VIEW IF EXISTS quotes_fan_out SYNC;
DROP VIEW IF EXISTS books_fan_out SYNC;
DROP VIEW IF EXISTS others_fan_out SYNC;
DROP VIEW IF EXISTS quarantine_fan_out SYNC;
DROP VIEW IF EXISTS frequent_trades_fan_out SYNC;
DROP VIEW IF EXISTS frequent_quotes_fan_out SYNC;
DROP VIEW IF EXISTS frequent_books_fan_out SYNC;

RENAME TABLE IF EXISTS trades_stored TO market_internal.trades_stored;
RENAME TABLE IF EXISTS quotes_stored TO market_internal.quotes_stored;
RENAME TABLE IF EXISTS books_stored TO market_internal.books_stored;
RENAME TABLE IF EXISTS others_stored TO market_internal.others_stored;
RENAME TABLE IF EXISTS quarantine_stored TO market_internal.quarantine_stored;

-- What users read, as in 0004 and 0011, from where it lies now.
CREATE OR REPLACE VIEW trades AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, trade_id, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.trades_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW quotes AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape, market_center
FROM market_internal.quotes_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Books as messages: their levels in parallel arrays as sent.
CREATE OR REPLACE VIEW books AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    book_action, bid_prices, bid_sizes, ask_prices, ask_sizes, bid_orders, ask_orders, size_unit, depth
FROM market_internal.books_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW bars AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    interval, open, high, low, close, volume, bar_state, size_unit, vwap, quote_volume, taker_buy_volume, trade_count
FROM market_internal.others_stored FINAL
WHERE kind = 'bar'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW gaps AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    gap_kind, gap_state, from_sequence, to_sequence, from_time_ns, to_time_ns, reason, attempts, repaired_rows,
    detected_time_ns
FROM market_internal.others_stored FINAL
WHERE kind = 'gap'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW agg_trades AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, trade_id, size_unit, first_trade_id, last_trade_id, trade_count, conditions
FROM market_internal.others_stored FINAL
WHERE kind = 'agg_trade'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW corrections AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    original_trade_id, correction, trade_id, last_price, volume, size_unit, market_center, conditions, tape
FROM market_internal.others_stored FINAL
WHERE kind = 'correction'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW statuses AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    status, status_code, limit_down, limit_up, reason, indicators, tape
FROM market_internal.others_stored FINAL
WHERE kind = 'status'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW stats AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_internal.others_stored FINAL
WHERE kind = 'stats'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW liquidations AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, size_unit
FROM market_internal.others_stored FINAL
WHERE kind = 'liquidation'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW quarantine AS
SELECT
    time, exchange, symbol, code, severity, rule, reason, endpoint, receive_time_ns, source, connection_id,
    frame_sequence, frame_index, parser_version, payload, record, outcome, outcome_time_ns, stored_time
FROM market_internal.quarantine_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Every row of the kinds that lie in a table of another name or form, repeated identities too.
CREATE OR REPLACE VIEW market_internal.book_updates_stored AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    book_action, side, greatest(level_from_1, 1) - 1 AS level, price, size, orders, size_unit, depth
FROM market_internal.books_stored
LEFT ARRAY JOIN
    arrayConcat(arrayMap(price -> 'bid', bid_prices), arrayMap(price -> 'ask', ask_prices)) AS side,
    arrayConcat(arrayEnumerate(bid_prices), arrayEnumerate(ask_prices)) AS level_from_1,
    arrayMap(price -> toNullable(price), arrayConcat(bid_prices, ask_prices)) AS price,
    arrayMap(size -> toNullable(size), arrayConcat(bid_sizes, ask_sizes)) AS size,
    arrayConcat(
        if(empty(bid_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), bid_prices), bid_orders),
        if(empty(ask_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), ask_prices), ask_orders)) AS orders;

CREATE OR REPLACE VIEW market_internal.bars_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'bar';
CREATE OR REPLACE VIEW market_internal.gaps_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'gap';
CREATE OR REPLACE VIEW market_internal.agg_trades_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'agg_trade';
CREATE OR REPLACE VIEW market_internal.corrections_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'correction';
CREATE OR REPLACE VIEW market_internal.statuses_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'status';
CREATE OR REPLACE VIEW market_internal.stats_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'stats';
CREATE OR REPLACE VIEW market_internal.liquidations_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM market_internal.others_stored WHERE kind = 'liquidation';

DROP VIEW IF EXISTS book_updates_stored;
DROP VIEW IF EXISTS bars_stored;
DROP VIEW IF EXISTS gaps_stored;
DROP VIEW IF EXISTS agg_trades_stored;
DROP VIEW IF EXISTS corrections_stored;
DROP VIEW IF EXISTS statuses_stored;
DROP VIEW IF EXISTS stats_stored;
DROP VIEW IF EXISTS liquidations_stored;
