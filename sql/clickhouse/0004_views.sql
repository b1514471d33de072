-- What users read: one row per identity, at once, without waiting for a merge. The columns are named as in
-- etl/wire/market_data.proto; `time` is the event time, or the receive time where the venue sent none.
-- Identities never span two partitions (0002), so each partition is collapsed by itself.

CREATE OR REPLACE VIEW trades AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, trade_id, size_unit, market_center, trf_id, conditions, tape
FROM trades_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW quotes AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape, market_center
FROM quotes_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Books as messages: their levels in parallel arrays as sent.
CREATE OR REPLACE VIEW books AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    book_action, bid_prices, bid_sizes, ask_prices, ask_sizes, bid_orders, ask_orders, size_unit, depth
FROM books_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Books as levels, counted from 0 on each side. A message without levels (a keep-alive, an empty book) is one row
-- of side '', so that it is not lost.
CREATE OR REPLACE VIEW book_updates AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    book_action, side, greatest(level_from_1, 1) - 1 AS level, price, size, orders, size_unit, depth
FROM books
LEFT ARRAY JOIN
    arrayConcat(arrayMap(price -> 'bid', bid_prices), arrayMap(price -> 'ask', ask_prices)) AS side,
    arrayConcat(arrayEnumerate(bid_prices), arrayEnumerate(ask_prices)) AS level_from_1,
    arrayMap(price -> toNullable(price), arrayConcat(bid_prices, ask_prices)) AS price,
    arrayMap(size -> toNullable(size), arrayConcat(bid_sizes, ask_sizes)) AS size,
    arrayConcat(
        if(empty(bid_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), bid_prices), bid_orders),
        if(empty(ask_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), ask_prices), ask_orders)) AS orders;

CREATE OR REPLACE VIEW bars AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    interval, open, high, low, close, volume, bar_state, size_unit, vwap, quote_volume, taker_buy_volume, trade_count
FROM others_stored FINAL
WHERE kind = 'bar'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW gaps AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    gap_kind, gap_state, from_sequence, to_sequence, from_time_ns, to_time_ns, reason
FROM others_stored FINAL
WHERE kind = 'gap'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW agg_trades AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, trade_id, size_unit, first_trade_id, last_trade_id, trade_count, conditions
FROM others_stored FINAL
WHERE kind = 'agg_trade'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW corrections AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    original_trade_id, correction, trade_id, last_price, volume, size_unit, market_center, conditions, tape
FROM others_stored FINAL
WHERE kind = 'correction'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW statuses AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    status, status_code, limit_down, limit_up, reason, indicators, tape
FROM others_stored FINAL
WHERE kind = 'status'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW stats AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM others_stored FINAL
WHERE kind = 'stats'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW liquidations AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    last_price, volume, side, size_unit
FROM others_stored FINAL
WHERE kind = 'liquidation'
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Every row of the kinds that lie in a table of another name or form, repeated identities too.
CREATE OR REPLACE VIEW book_updates_stored AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    book_action, side, greatest(level_from_1, 1) - 1 AS level, price, size, orders, size_unit, depth
FROM books_stored
LEFT ARRAY JOIN
    arrayConcat(arrayMap(price -> 'bid', bid_prices), arrayMap(price -> 'ask', ask_prices)) AS side,
    arrayConcat(arrayEnumerate(bid_prices), arrayEnumerate(ask_prices)) AS level_from_1,
    arrayMap(price -> toNullable(price), arrayConcat(bid_prices, ask_prices)) AS price,
    arrayMap(size -> toNullable(size), arrayConcat(bid_sizes, ask_sizes)) AS size,
    arrayConcat(
        if(empty(bid_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), bid_prices), bid_orders),
        if(empty(ask_orders), arrayMap(price -> CAST(NULL AS Nullable(Int64)), ask_prices), ask_orders)) AS orders;

CREATE OR REPLACE VIEW bars_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'bar';
CREATE OR REPLACE VIEW gaps_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'gap';
CREATE OR REPLACE VIEW agg_trades_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'agg_trade';
CREATE OR REPLACE VIEW corrections_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'correction';
CREATE OR REPLACE VIEW statuses_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'status';
CREATE OR REPLACE VIEW stats_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'stats';
CREATE OR REPLACE VIEW liquidations_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'liquidation';

CREATE OR REPLACE VIEW quarantine AS
SELECT
    time, exchange, symbol, code, severity, rule, reason, endpoint, receive_time_ns, source, connection_id,
    frame_sequence, frame_index, parser_version, payload, record, outcome, outcome_time_ns, stored_time
FROM quarantine_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Trades as they stand: those that a correction voids are left out, and the corrected print stands in for its trade.
-- A correction's key is the trade's key + '/' + what it is.
CREATE OR REPLACE VIEW trades_corrected AS
SELECT
    time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
    market_center, conditions, tape, source, flags, false AS corrected
FROM trades
WHERE (exchange, symbol, record_key) NOT IN
(
    SELECT exchange, symbol, substring(record_key, 1, length(record_key) - length(substringIndex(record_key, '/', -1)) - 1)
    FROM corrections
)
UNION ALL
SELECT
    time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, '' AS side, trade_id, size_unit,
    market_center, conditions, tape, source, flags, true AS corrected
FROM corrections
WHERE correction = 'correct';

-- The seed schema of this project.
CREATE OR REPLACE VIEW ticks AS
SELECT
    record_key AS id, symbol, time AS ts, NULL AS bid, NULL AS ask, last_price AS last, volume, exchange AS provider
FROM trades
UNION ALL
SELECT
    record_key AS id, symbol, time AS ts, bid, ask, NULL AS last, NULL AS volume, exchange AS provider
FROM quotes;
