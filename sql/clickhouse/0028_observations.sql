-- Observations of series: what a series says of a period, and since which day. A table of its own: months would cut
-- vintages of a century into a thousand parts.
CREATE TABLE IF NOT EXISTS market_internal.observations_stored
(
    exchange             LowCardinality(String),
    symbol               LowCardinality(String),
    key_time             DateTime64(9, 'UTC')    CODEC(GCD, Delta, T64, ZSTD(1)),
    key_prefix           String,
    key_number           UInt64                  CODEC(Delta, T64, ZSTD(1)),
    venue_symbol         LowCardinality(String),
    channel              LowCardinality(String),
    event_offset         Nullable(Int64),
    receive_offset       Int64                   CODEC(Delta, T64('bit'), ZSTD(1)),
    publish_offset       Nullable(Int64)         CODEC(GCD, DoubleDelta, ZSTD(3)),
    participant_time_ns  Int64                   CODEC(GCD, Delta, ZSTD(3)),
    source               Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    connection_id        LowCardinality(String),
    frame_sequence       Int64                   CODEC(Delta, ZSTD(3)),
    frame_index          Int32,
    parser_version       UInt32,
    sequence_is_key      Bool,
    sequence_own         Nullable(Int64)         CODEC(Delta, ZSTD(3)),
    first_sequence       Nullable(Int64)         CODEC(Delta, ZSTD(3)),
    previous_sequence    Nullable(Int64)         CODEC(Delta, ZSTD(3)),
    flags                Array(LowCardinality(String)),
    stored_time          DateTime64(9, 'UTC')    CODEC(Delta, ZSTD(3)),

    record_key       String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    key_time_ns      Int64 ALIAS toUnixTimestamp64Nano(key_time),
    event_time_ns    Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    receive_time_ns  Int64 ALIAS key_time_ns + ifNull(event_offset, 0) + receive_offset,
    publish_time_ns  Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    time             DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    event_time       Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    receive_time     DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    sequence         Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),

    wide_decimals     String,
    observation_date  LowCardinality(String),
    vintage_date      LowCardinality(String),
    value             Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    unit              LowCardinality(String),
    release           LowCardinality(String),
    value_exact       Nullable(Decimal(76, 30)) ALIAS
        if(empty(wide_decimals) OR isNull(value), CAST(value, 'Nullable(Decimal(76, 30))'),
            toDecimal256OrZero(splitByChar(' ', wide_decimals)[20], 30)),

    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY intDiv(toYear(key_time), 10)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

CREATE OR REPLACE VIEW observations AS
SELECT
    time, exchange, symbol, record_key, key_time, venue_symbol, channel, event_time, receive_time, stored_time,
    event_time_ns, receive_time_ns, publish_time_ns, participant_time_ns, source, connection_id, frame_sequence,
    frame_index, parser_version, sequence, first_sequence, previous_sequence, flags,
    observation_date, vintage_date, value_exact AS value, unit, release
FROM market_internal.observations_stored FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- What was known at a time: SELECT * FROM observations_asof(at = '2026-01-31 12:00:00'). A vintage tells its day alone: it
-- counts as known when the day is over where the source is (30 hours after its midnight UTC), or when we had it, if that was
-- earlier. Of two values of one vintage, which a source that keeps no vintages gives, the last that we had by then.
CREATE OR REPLACE VIEW observations_asof AS
SELECT exchange, symbol, toDate32(observation_date) AS observation_date, toDate32(vintage_date) AS vintage_date, value, unit,
    release, known_time
FROM
(
    SELECT
        exchange, symbol, observation_date, vintage_date, value, unit, release, flags,
        least(receive_time, key_time + INTERVAL 30 HOUR) AS known_time
    FROM observations
    WHERE known_time <= {at:DateTime64(9, 'UTC')}
    ORDER BY
        exchange, symbol, observation_date, vintage_date DESC,
        if(receive_time <= {at:DateTime64(9, 'UTC')}, receive_time_ns, -receive_time_ns) DESC
    LIMIT 1 BY exchange, symbol, observation_date
)
WHERE NOT has(flags, 'withdrawn');

-- The landing table as in 0022, with the fields of an observation; closed meanwhile, and views renamed as in 0021.
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

    observation_date        LowCardinality(String),
    vintage_date            LowCardinality(String),
    value                   Nullable(String),
    unit                    LowCardinality(String),
    release                 LowCardinality(String),

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
        ifNull(open_interest, '0'), ' ', ifNull(funding_rate, '0'), ' ', ifNull(value, '0'), ' ',
        arrayStringConcat(arrayConcat(bid_prices, bid_sizes, ask_prices, ask_sizes, ['0']), ' ')
    ),

    wide_decimals    String  MATERIALIZED if(match(decimals, '\\.[0-9]{20}'), decimals, ''),

    closed           UInt8  DEFAULT intDiv(1, frame_sequence * 0),

    CONSTRAINT known CHECK kind BETWEEN 1 AND 11 AND source BETWEEN 0 AND 4 AND side BETWEEN 0 AND 2
        AND size_unit BETWEEN 0 AND 5 AND book_action BETWEEN 0 AND 3 AND bar_state BETWEEN 0 AND 3 AND correction BETWEEN 0 AND 3
        AND gap_kind BETWEEN 0 AND 10 AND gap_state BETWEEN 0 AND 4 AND status BETWEEN 0 AND 5,
    CONSTRAINT storable CHECK exchange != '' AND record_key != '' AND key_time_ns != 0
        AND length(bid_prices) = length(bid_sizes) AND length(ask_prices) = length(ask_sizes)
        AND length(bid_orders) IN (0, length(bid_prices)) AND length(ask_orders) IN (0, length(ask_prices)),
    CONSTRAINT decimals CHECK match(decimals, '^-?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?( -?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?)*$')
        AND countSubstrings(decimals, ' ') = 20 + 2 * (length(bid_prices) + length(ask_prices))
)
ENGINE = Null;

-- What a migration that was cut off left renamed.
RENAME TABLE IF EXISTS market_internal.trades_fan_out_renamed TO market_internal.trades_fan_out;
RENAME TABLE IF EXISTS market_internal.quotes_fan_out_renamed TO market_internal.quotes_fan_out;
RENAME TABLE IF EXISTS market_internal.books_fan_out_renamed TO market_internal.books_fan_out;
RENAME TABLE IF EXISTS market_internal.others_fan_out_renamed TO market_internal.others_fan_out;

ALTER TABLE market_internal.trades_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time, wide_decimals,
    last_price, volume, side, trade_id_is_key, trade_id_own, size_unit, market_center, trf_id, conditions, tape
FROM market_internal.market_data
WHERE kind = 1;

ALTER TABLE market_internal.quotes_fan_out MODIFY QUERY
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time, wide_decimals,
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
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time, wide_decimals,
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
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time, wide_decimals,
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
WHERE kind > 3 AND kind < 11;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.observations_fan_out TO market_internal.observations_stored AS
SELECT
    exchange, symbol, key_time, key_prefix, key_number, venue_symbol, channel, event_offset, receive_offset,
    publish_offset, participant_time_ns, source, connection_id, frame_sequence, frame_index, parser_version,
    sequence_is_key, sequence_own, first_sequence, previous_sequence, flags, stored_time, wide_decimals,
    observation_date, vintage_date, value, unit, release
FROM market_internal.market_data
WHERE kind = 11;

RENAME TABLE IF EXISTS market_internal.trades_fan_out TO market_internal.trades_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.trades_fan_out_renamed TO market_internal.trades_fan_out;
RENAME TABLE IF EXISTS market_internal.quotes_fan_out TO market_internal.quotes_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.quotes_fan_out_renamed TO market_internal.quotes_fan_out;
RENAME TABLE IF EXISTS market_internal.books_fan_out TO market_internal.books_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.books_fan_out_renamed TO market_internal.books_fan_out;
RENAME TABLE IF EXISTS market_internal.others_fan_out TO market_internal.others_fan_out_renamed;
RENAME TABLE IF EXISTS market_internal.others_fan_out_renamed TO market_internal.others_fan_out;

ALTER TABLE market_internal.market_data DROP COLUMN IF EXISTS closed;
