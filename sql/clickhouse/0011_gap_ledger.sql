-- What a repair made of a gap: how often the history was asked for it, how many records that gave; and when it was
-- first declared. The way in first, then where the rows lie, then the view between, whose query is exchanged at once:
-- what arrives meanwhile is not lost.

ALTER TABLE market_data
    ADD COLUMN IF NOT EXISTS attempts          Int32,
    ADD COLUMN IF NOT EXISTS repaired_rows     Int64,
    ADD COLUMN IF NOT EXISTS detected_time_ns  Int64;

ALTER TABLE others_stored
    ADD COLUMN IF NOT EXISTS attempts          UInt32,
    ADD COLUMN IF NOT EXISTS repaired_rows     Int64,
    ADD COLUMN IF NOT EXISTS detected_time_ns  Int64;

ALTER TABLE others_fan_out MODIFY QUERY
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
FROM market_data
WHERE kind NOT IN ('trade', 'quote', 'book');

CREATE OR REPLACE VIEW gaps AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    gap_kind, gap_state, from_sequence, to_sequence, from_time_ns, to_time_ns, reason, attempts, repaired_rows,
    detected_time_ns
FROM others_stored FINAL
WHERE kind = 'gap'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE OR REPLACE VIEW gaps_stored AS SELECT *, record_key, time, event_time_ns, receive_time_ns FROM others_stored WHERE kind = 'gap';
