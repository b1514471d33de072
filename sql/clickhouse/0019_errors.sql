-- Of the corrections of one identity the one that tells an error from a cancel stands, then the one that says what takes
-- the print's place, then the parser's version (etl/wire/precedence.py). Rows stored before rank as they did.
ALTER TABLE market_internal.others_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    multiIf(
        kind = 'bar', bitShiftLeft(toUInt128(bar_state), 112)
            + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32) + parser_version,
        kind = 'gap', bitShiftLeft(toUInt128(receive_time_ns), 32) + toUInt8(gap_state),
        kind = 'correction', bitShiftLeft(toUInt128(correction = 'error'), 33)
            + bitShiftLeft(toUInt128(isNotNull(last_price)), 32) + parser_version,
        toUInt128(parser_version)) AS version,
    kind, last_price, volume, side, trade_id, first_trade_id, last_trade_id, trade_count, size_unit,
    market_center, conditions, indicators, tape, interval, open, high, low, close, vwap, quote_volume,
    taker_buy_volume, bar_state, original_trade_id, correction, gap_kind, gap_state, from_sequence, to_sequence,
    from_time_ns, to_time_ns, reason, attempts, repaired_rows, detected_time_ns, status, status_code, limit_down,
    limit_up, mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_internal.market_data
WHERE kind NOT IN ('trade', 'quote', 'book');
