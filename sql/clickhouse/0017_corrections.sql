-- Of the corrections of one identity the one that says what takes the print's place stands, then the parser's version
-- (etl/wire/precedence.py).
ALTER TABLE market_internal.others_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    multiIf(
        kind = 'bar', bitShiftLeft(toUInt128(bar_state), 112)
            + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32) + parser_version,
        kind = 'gap', bitShiftLeft(toUInt128(receive_time_ns), 32) + toUInt8(gap_state),
        kind = 'correction', bitShiftLeft(toUInt128(isNotNull(last_price)), 32) + parser_version,
        toUInt128(parser_version)) AS version,
    kind, last_price, volume, side, trade_id, first_trade_id, last_trade_id, trade_count, size_unit,
    market_center, conditions, indicators, tape, interval, open, high, low, close, vwap, quote_volume,
    taker_buy_volume, bar_state, original_trade_id, correction, gap_kind, gap_state, from_sequence, to_sequence,
    from_time_ns, to_time_ns, reason, attempts, repaired_rows, detected_time_ns, status, status_code, limit_down,
    limit_up, mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_internal.market_data
WHERE kind NOT IN ('trade', 'quote', 'book');

-- Trades as they stand, a row for each print. A correction's key is that of the print it voids + '/' + what it is. Where
-- it says what takes the print's place (price or size), its own row stands for the replacement, of whose key the last
-- part is its trade_id; a trade of that key, which history may bring, is the same print. A replacement may be voided in
-- its turn. The model: docs/storage.md.
CREATE OR REPLACE VIEW market_internal.corrections_keyed AS
SELECT
    *,
    substring(record_key, 1, length(record_key) - length(substringIndex(record_key, '/', -1)) - 1) AS voided_key,
    concat(
        substring(voided_key, 1, length(voided_key) - length(substringIndex(voided_key, '/', -1))),
        if(trade_id = '', substringIndex(voided_key, '/', -1), trade_id)) AS replacement_key,
    correction = 'correct' AND (isNotNull(last_price) OR isNotNull(volume)) AS replaces
FROM corrections;

CREATE OR REPLACE VIEW trades_corrected AS
SELECT
    time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
    market_center, conditions, tape, source, flags, false AS corrected
FROM trades
WHERE (exchange, symbol, record_key) NOT IN
(
    SELECT exchange, symbol, voided_key FROM market_internal.corrections_keyed
    UNION ALL
    SELECT exchange, symbol, replacement_key FROM market_internal.corrections_keyed WHERE replaces
)
UNION ALL
SELECT
    time, exchange, symbol, if(trade_id = '', record_key, replacement_key) AS record_key, venue_symbol, channel,
    last_price, volume, '' AS side, trade_id, size_unit, market_center, conditions, tape, source, flags,
    true AS corrected
FROM market_internal.corrections_keyed
WHERE replaces AND (exchange, symbol, replacement_key) NOT IN
(
    -- a correction in place voids the former print of its key, not its own
    SELECT exchange, symbol, voided_key FROM market_internal.corrections_keyed
    WHERE NOT (replaces AND replacement_key = voided_key)
);
