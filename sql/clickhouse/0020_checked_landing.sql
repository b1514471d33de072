-- What a producer may send and no column holds as it was meant is refused, not stored as something else: an enum's number
-- beyond Int8 became another member (258 a 2), and NaN, Infinity, 1e400 or a word in front of a digit became a price of 0.
-- So the landing tables take numbers of enums and texts of decimals as they come, and check both before any view sees
-- them, by the pattern that every store goes by (etl/model/decimals.py). The views between turn them into what is stored.
--
-- A table that is made anew is closed to inserts (a division by 0, which no sink takes for bad data) until its views fit.

DROP TABLE IF EXISTS market_internal.market_data;

CREATE TABLE IF NOT EXISTS market_internal.market_data
(
    kind                    Int32,
    exchange                LowCardinality(String),
    symbol                  LowCardinality(String),
    venue_symbol            LowCardinality(String),
    channel                 LowCardinality(String),
    event_time_ns           Int64,
    receive_time_ns         Int64,
    source                  Int32,
    connection_id           LowCardinality(String),
    frame_sequence          Int64,
    frame_index             Int32,
    record_key              String,
    key_time_ns             Int64,
    sequence                Nullable(Int64),
    parser_version          UInt32,
    first_sequence          Nullable(Int64),
    previous_sequence       Nullable(Int64),
    publish_time_ns         Int64,
    participant_time_ns     Int64,

    last_price              Nullable(String),
    volume                  Nullable(String),
    side                    Int32,
    trade_id                String,
    first_trade_id          String,
    last_trade_id           String,
    trade_count             Int64,
    market_center           LowCardinality(String),
    trf_id                  LowCardinality(String),
    conditions              Array(LowCardinality(String)),
    indicators              Array(LowCardinality(String)),
    tape                    LowCardinality(String),
    size_unit               Int32,

    bid                     Nullable(String),
    bid_size                Nullable(String),
    ask                     Nullable(String),
    ask_size                Nullable(String),
    bid_exchange            LowCardinality(String),
    ask_exchange            LowCardinality(String),

    book_action             Int32,
    bid_prices              Array(String),
    bid_sizes               Array(String),
    ask_prices              Array(String),
    ask_sizes               Array(String),
    bid_orders              Array(Int64),
    ask_orders              Array(Int64),
    depth                   UInt32,

    interval                LowCardinality(String),
    open                    Nullable(String),
    high                    Nullable(String),
    low                     Nullable(String),
    close                   Nullable(String),
    vwap                    Nullable(String),
    quote_volume            Nullable(String),
    taker_buy_volume        Nullable(String),
    bar_state               Int32,

    original_trade_id       String,
    correction              Int32,

    gap_kind                Int32,
    gap_state               Int32,
    from_sequence           Nullable(Int64),
    to_sequence             Nullable(Int64),
    from_time_ns            Int64,
    to_time_ns              Int64,
    reason                  String,
    attempts                Int32,
    repaired_rows           Int64,
    detected_time_ns        Int64,

    status                  Int32,
    status_code             LowCardinality(String),
    limit_down              Nullable(String),
    limit_up                Nullable(String),

    mark_price              Nullable(String),
    index_price             Nullable(String),
    open_interest           Nullable(String),
    funding_rate            Nullable(String),
    next_funding_time_ns    Int64,

    flags                   Array(LowCardinality(String)),

    -- record_key = key_prefix + key_number: a number after the last '/' (or the whole key) is kept as a number,
    -- which costs a fraction of its text. 0 = the key does not end in one, or not in its plainest spelling.
    key_tail         String  MATERIALIZED substringIndex(record_key, '/', -1),
    key_number       UInt64  MATERIALIZED if(toString(toUInt64OrZero(key_tail)) = key_tail, toUInt64OrZero(key_tail), 0),
    key_prefix       String  MATERIALIZED if(key_number = 0, record_key, substring(record_key, 1, length(record_key) - length(key_tail))),
    key_time         DateTime64(9, 'UTC')  MATERIALIZED fromUnixTimestamp64Nano(key_time_ns, 'UTC'),
    stored_time      DateTime64(9, 'UTC')  MATERIALIZED now64(9, 'UTC'),

    -- Times, sequences and ids lie close to one another: their differences are small, or 0. NULL = not sent; what is
    -- under a NULL is stored too, so it is made 0 first.
    event_offset     Nullable(Int64)  MATERIALIZED if(event_time_ns = 0, NULL, if(event_time_ns = 0, 0, event_time_ns - key_time_ns)),
    receive_offset   Int64            MATERIALIZED receive_time_ns - if(event_time_ns = 0, key_time_ns, event_time_ns),
    publish_offset   Nullable(Int64)  MATERIALIZED if(publish_time_ns = 0, NULL, if(publish_time_ns = 0, 0, publish_time_ns - key_time_ns)),
    sequence_is_key  Bool             MATERIALIZED ifNull(sequence = toInt64(key_number), false) AND key_number != 0,
    sequence_own     Nullable(Int64)  MATERIALIZED if(sequence_is_key, NULL, if(sequence_is_key, 0, sequence)),
    trade_id_is_key  Bool             MATERIALIZED trade_id = key_tail,
    trade_id_own     String           MATERIALIZED if(trade_id_is_key, '', trade_id),

    -- Every decimal behind the other, for one look at all of them.
    decimals         String  MATERIALIZED concat(
        ifNull(last_price, '0'), ' ', ifNull(volume, '0'), ' ', ifNull(bid, '0'), ' ',
        ifNull(bid_size, '0'), ' ', ifNull(ask, '0'), ' ', ifNull(ask_size, '0'), ' ', ifNull(open, '0'), ' ',
        ifNull(high, '0'), ' ', ifNull(low, '0'), ' ', ifNull(close, '0'), ' ', ifNull(vwap, '0'), ' ',
        ifNull(quote_volume, '0'), ' ', ifNull(taker_buy_volume, '0'), ' ', ifNull(limit_down, '0'), ' ',
        ifNull(limit_up, '0'), ' ', ifNull(mark_price, '0'), ' ', ifNull(index_price, '0'), ' ',
        ifNull(open_interest, '0'), ' ', ifNull(funding_rate, '0'), ' ',
        arrayStringConcat(arrayConcat(bid_prices, bid_sizes, ask_prices, ask_sizes, ['0']), ' ')
    ),

    closed           UInt8  DEFAULT intDiv(1, frame_sequence * 0),

    CONSTRAINT known CHECK kind BETWEEN 1 AND 10 AND source BETWEEN 0 AND 4 AND side BETWEEN 0 AND 2
        AND size_unit BETWEEN 0 AND 5 AND book_action BETWEEN 0 AND 3 AND bar_state BETWEEN 0 AND 3 AND correction BETWEEN 0 AND 3
        AND gap_kind BETWEEN 0 AND 10 AND gap_state BETWEEN 0 AND 4 AND status BETWEEN 0 AND 5,
    CONSTRAINT storable CHECK exchange != '' AND record_key != '' AND key_time_ns != 0
        AND length(bid_prices) = length(bid_sizes) AND length(ask_prices) = length(ask_sizes)
        AND length(bid_orders) IN (0, length(bid_prices)) AND length(ask_orders) IN (0, length(ask_prices)),
    CONSTRAINT decimals CHECK match(decimals, '^-?0*[0-9]{1,19}(\\.[0-9]{1,19}0*)?( -?0*[0-9]{1,19}(\\.[0-9]{1,19}0*)?)*$')
        AND countSubstrings(decimals, ' ') = 19 + 2 * (length(bid_prices) + length(ask_prices))
)
ENGINE = Null;

DROP TABLE IF EXISTS market_internal.frequent_market_data;

-- Of trades, quotes and books alone, as in 0012.
CREATE TABLE IF NOT EXISTS market_internal.frequent_market_data
(
    kind                    Int32,
    exchange                LowCardinality(String),
    symbol                  LowCardinality(String),
    venue_symbol            LowCardinality(String),
    channel                 LowCardinality(String),
    event_time_ns           Int64,
    receive_time_ns         Int64,
    source                  Int32,
    connection_id           LowCardinality(String),
    frame_sequence          Int64,
    frame_index             Int32,
    record_key              String,
    key_time_ns             Int64,
    sequence                Nullable(Int64),
    parser_version          UInt32,
    first_sequence          Nullable(Int64),
    previous_sequence       Nullable(Int64),
    publish_time_ns         Int64,
    participant_time_ns     Int64,

    last_price              Nullable(String),
    volume                  Nullable(String),
    side                    Int32,
    trade_id                String,
    market_center           LowCardinality(String),
    trf_id                  LowCardinality(String),
    conditions              Array(LowCardinality(String)),
    indicators              Array(LowCardinality(String)),
    tape                    LowCardinality(String),
    size_unit               Int32,

    bid                     Nullable(String),
    bid_size                Nullable(String),
    ask                     Nullable(String),
    ask_size                Nullable(String),
    bid_exchange            LowCardinality(String),
    ask_exchange            LowCardinality(String),

    book_action             Int32,
    bid_prices              Array(String),
    bid_sizes               Array(String),
    ask_prices              Array(String),
    ask_sizes               Array(String),
    bid_orders              Array(Int64),
    ask_orders              Array(Int64),
    depth                   UInt32,

    flags                   Array(LowCardinality(String)),

    -- record_key = key_prefix + key_number: a number after the last '/' (or the whole key) is kept as a number,
    -- which costs a fraction of its text. 0 = the key does not end in one, or not in its plainest spelling.
    key_tail         String  MATERIALIZED substringIndex(record_key, '/', -1),
    key_number       UInt64  MATERIALIZED if(toString(toUInt64OrZero(key_tail)) = key_tail, toUInt64OrZero(key_tail), 0),
    key_prefix       String  MATERIALIZED if(key_number = 0, record_key, substring(record_key, 1, length(record_key) - length(key_tail))),
    key_time         DateTime64(9, 'UTC')  MATERIALIZED fromUnixTimestamp64Nano(key_time_ns, 'UTC'),
    stored_time      DateTime64(9, 'UTC')  MATERIALIZED now64(9, 'UTC'),

    -- Times, sequences and ids lie close to one another: their differences are small, or 0. NULL = not sent; what is
    -- under a NULL is stored too, so it is made 0 first.
    event_offset     Nullable(Int64)  MATERIALIZED if(event_time_ns = 0, NULL, if(event_time_ns = 0, 0, event_time_ns - key_time_ns)),
    receive_offset   Int64            MATERIALIZED receive_time_ns - if(event_time_ns = 0, key_time_ns, event_time_ns),
    publish_offset   Nullable(Int64)  MATERIALIZED if(publish_time_ns = 0, NULL, if(publish_time_ns = 0, 0, publish_time_ns - key_time_ns)),
    sequence_is_key  Bool             MATERIALIZED ifNull(sequence = toInt64(key_number), false) AND key_number != 0,
    sequence_own     Nullable(Int64)  MATERIALIZED if(sequence_is_key, NULL, if(sequence_is_key, 0, sequence)),
    trade_id_is_key  Bool             MATERIALIZED trade_id = key_tail,
    trade_id_own     String           MATERIALIZED if(trade_id_is_key, '', trade_id),

    -- Every decimal behind the other, for one look at all of them.
    decimals         String  MATERIALIZED concat(
        ifNull(last_price, '0'), ' ', ifNull(volume, '0'), ' ', ifNull(bid, '0'), ' ',
        ifNull(bid_size, '0'), ' ', ifNull(ask, '0'), ' ', ifNull(ask_size, '0'), ' ',
        arrayStringConcat(arrayConcat(bid_prices, bid_sizes, ask_prices, ask_sizes, ['0']), ' ')
    ),

    closed           UInt8  DEFAULT intDiv(1, frame_sequence * 0),

    CONSTRAINT known CHECK kind IN (1, 2, 3) AND source BETWEEN 0 AND 4 AND side BETWEEN 0 AND 2
        AND size_unit BETWEEN 0 AND 5 AND book_action BETWEEN 0 AND 3,
    CONSTRAINT storable CHECK exchange != '' AND record_key != '' AND key_time_ns != 0
        AND length(bid_prices) = length(bid_sizes) AND length(ask_prices) = length(ask_sizes)
        AND length(bid_orders) IN (0, length(bid_prices)) AND length(ask_orders) IN (0, length(ask_prices)),
    CONSTRAINT decimals CHECK match(decimals, '^-?0*[0-9]{1,19}(\\.[0-9]{1,19}0*)?( -?0*[0-9]{1,19}(\\.[0-9]{1,19}0*)?)*$')
        AND countSubstrings(decimals, ' ') = 6 + 2 * (length(bid_prices) + length(ask_prices))
)
ENGINE = Null;

DROP TABLE IF EXISTS market_internal.quarantined;

CREATE TABLE IF NOT EXISTS market_internal.quarantined
(
    code             LowCardinality(String),
    severity         Int32,
    rule             LowCardinality(String),
    reason           String,
    exchange         LowCardinality(String),
    symbol           LowCardinality(String),
    endpoint         LowCardinality(String),
    receive_time_ns  Int64,
    source           Int32,
    connection_id    LowCardinality(String),
    frame_sequence   Int64,
    frame_index      Int32,
    parser_version   UInt32,
    payload          String,
    record           String,
    outcome          Int32,
    outcome_time_ns  Int64,

    closed           UInt8  DEFAULT intDiv(1, frame_sequence * 0),

    CONSTRAINT known CHECK severity BETWEEN 0 AND 2 AND source BETWEEN 0 AND 4 AND outcome BETWEEN 0 AND 4
)
ENGINE = Null;

ALTER TABLE market_internal.trades_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    last_price, volume, side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.market_data
WHERE kind = 1;

ALTER TABLE market_internal.quotes_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape,
    market_center
FROM market_internal.market_data
WHERE kind = 2;

ALTER TABLE market_internal.books_fan_out MODIFY QUERY
WITH
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_prices, ask_prices)) AS prices,
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_sizes, ask_sizes)) AS sizes,
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
WHERE kind = 3;

ALTER TABLE market_internal.others_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    multiIf(
        kind = 4, bitShiftLeft(toUInt128(bar_state), 112)
            + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32) + parser_version,
        kind = 5, bitShiftLeft(toUInt128(receive_time_ns), 32) + toUInt8(gap_state),
        kind = 7, bitShiftLeft(toUInt128(correction = 3), 33)
            + bitShiftLeft(toUInt128(isNotNull(last_price)), 32) + parser_version,
        toUInt128(parser_version)) AS version,
    kind, last_price, volume, side, trade_id, first_trade_id, last_trade_id, trade_count, size_unit,
    market_center, conditions, indicators, tape, interval, open, high, low, close, vwap, quote_volume,
    taker_buy_volume, bar_state, original_trade_id, correction, gap_kind, gap_state, from_sequence, to_sequence,
    from_time_ns, to_time_ns, reason, attempts, repaired_rows, detected_time_ns, status, status_code, limit_down,
    limit_up, mark_price, index_price, open_interest, funding_rate, next_funding_time_ns
FROM market_internal.market_data
WHERE kind > 3;

ALTER TABLE market_internal.frequent_trades_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    last_price, volume, side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.frequent_market_data
WHERE kind = 1;

ALTER TABLE market_internal.frequent_quotes_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time,
    bid, bid_size, ask, ask_size, size_unit, bid_exchange, ask_exchange, conditions, indicators, tape,
    market_center
FROM market_internal.frequent_market_data
WHERE kind = 2;

ALTER TABLE market_internal.frequent_books_fan_out MODIFY QUERY
WITH
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_prices, ask_prices)) AS prices,
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_sizes, ask_sizes)) AS sizes,
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
WHERE kind = 3;

ALTER TABLE market_internal.market_data DROP COLUMN IF EXISTS closed;

ALTER TABLE market_internal.frequent_market_data DROP COLUMN IF EXISTS closed;

ALTER TABLE market_internal.quarantined DROP COLUMN IF EXISTS closed;
