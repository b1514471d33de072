-- What is between the sinks and the users' views lies in a database of its own, so that SHOW TABLES shows users what is
-- theirs. `market_internal` stands for the configured database's name and `_internal` (etl/stores/clickhouse_http.py).
--
-- 0014 makes the landing tables there, 0015 closes the old ones and moves what is stored, 0016 makes the views between.
-- A sink writes only when all of them were applied, for a landing table without its views keeps nothing.

CREATE DATABASE IF NOT EXISTS market_internal;

-- As in 0001, with the columns of 0011.
CREATE TABLE IF NOT EXISTS market_internal.market_data
(
    kind                    Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6,
        'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    exchange                LowCardinality(String),
    symbol                  LowCardinality(String),
    venue_symbol            LowCardinality(String),
    channel                 LowCardinality(String),
    event_time_ns           Int64,
    receive_time_ns         Int64,
    source                  Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
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

    last_price              Nullable(Decimal(38, 19)),
    volume                  Nullable(Decimal(38, 19)),
    side                    Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    trade_id                String,
    first_trade_id          String,
    last_trade_id           String,
    trade_count             Int64,
    market_center           LowCardinality(String),
    trf_id                  LowCardinality(String),
    conditions              Array(LowCardinality(String)),
    indicators              Array(LowCardinality(String)),
    tape                    LowCardinality(String),
    size_unit               Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),

    bid                     Nullable(Decimal(38, 19)),
    bid_size                Nullable(Decimal(38, 19)),
    ask                     Nullable(Decimal(38, 19)),
    ask_size                Nullable(Decimal(38, 19)),
    bid_exchange            LowCardinality(String),
    ask_exchange            LowCardinality(String),

    book_action             Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    bid_prices              Array(Decimal(38, 19)),
    bid_sizes               Array(Decimal(38, 19)),
    ask_prices              Array(Decimal(38, 19)),
    ask_sizes               Array(Decimal(38, 19)),
    bid_orders              Array(Int64),
    ask_orders              Array(Int64),
    depth                   UInt32,

    interval                LowCardinality(String),
    open                    Nullable(Decimal(38, 19)),
    high                    Nullable(Decimal(38, 19)),
    low                     Nullable(Decimal(38, 19)),
    close                   Nullable(Decimal(38, 19)),
    vwap                    Nullable(Decimal(38, 19)),
    quote_volume            Nullable(Decimal(38, 19)),
    taker_buy_volume        Nullable(Decimal(38, 19)),
    bar_state               Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),

    original_trade_id       String,
    correction              Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),

    gap_kind                Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5,
        'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    gap_state               Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    from_sequence           Nullable(Int64),
    to_sequence             Nullable(Int64),
    from_time_ns            Int64,
    to_time_ns              Int64,
    reason                  String,
    attempts                Int32,
    repaired_rows           Int64,
    detected_time_ns        Int64,

    status                  Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    status_code             LowCardinality(String),
    limit_down              Nullable(Decimal(38, 19)),
    limit_up                Nullable(Decimal(38, 19)),

    mark_price              Nullable(Decimal(38, 19)),
    index_price             Nullable(Decimal(38, 19)),
    open_interest           Nullable(Decimal(38, 19)),
    funding_rate            Nullable(Decimal(38, 19)),
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

    CONSTRAINT storable CHECK kind != '' AND exchange != '' AND record_key != '' AND key_time_ns != 0
        AND length(bid_prices) = length(bid_sizes) AND length(ask_prices) = length(ask_sizes)
        AND length(bid_orders) IN (0, length(bid_prices)) AND length(ask_orders) IN (0, length(ask_prices))
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS market_internal.quarantined
(
    code             LowCardinality(String),
    severity         Enum8('' = 0, 'hard' = 1, 'soft' = 2),
    rule             LowCardinality(String),
    reason           String,
    exchange         LowCardinality(String),
    symbol           LowCardinality(String),
    endpoint         LowCardinality(String),
    receive_time_ns  Int64,
    source           Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    connection_id    LowCardinality(String),
    frame_sequence   Int64,
    frame_index      Int32,
    parser_version   UInt32,
    payload          String,
    record           String,
    outcome          Enum8('' = 0, 'held' = 1, 'published' = 2, 'still_bad' = 3, 'released' = 4),
    outcome_time_ns  Int64
)
ENGINE = Null;

-- As in 0012.
CREATE TABLE IF NOT EXISTS market_internal.frequent_market_data AS market_internal.market_data ENGINE = Null;

ALTER TABLE market_internal.frequent_market_data
    DROP COLUMN IF EXISTS first_trade_id,
    DROP COLUMN IF EXISTS last_trade_id,
    DROP COLUMN IF EXISTS trade_count,
    DROP COLUMN IF EXISTS interval,
    DROP COLUMN IF EXISTS open,
    DROP COLUMN IF EXISTS high,
    DROP COLUMN IF EXISTS low,
    DROP COLUMN IF EXISTS close,
    DROP COLUMN IF EXISTS vwap,
    DROP COLUMN IF EXISTS quote_volume,
    DROP COLUMN IF EXISTS taker_buy_volume,
    DROP COLUMN IF EXISTS bar_state,
    DROP COLUMN IF EXISTS original_trade_id,
    DROP COLUMN IF EXISTS correction,
    DROP COLUMN IF EXISTS gap_kind,
    DROP COLUMN IF EXISTS gap_state,
    DROP COLUMN IF EXISTS from_sequence,
    DROP COLUMN IF EXISTS to_sequence,
    DROP COLUMN IF EXISTS from_time_ns,
    DROP COLUMN IF EXISTS to_time_ns,
    DROP COLUMN IF EXISTS reason,
    DROP COLUMN IF EXISTS attempts,
    DROP COLUMN IF EXISTS repaired_rows,
    DROP COLUMN IF EXISTS detected_time_ns,
    DROP COLUMN IF EXISTS status,
    DROP COLUMN IF EXISTS status_code,
    DROP COLUMN IF EXISTS limit_down,
    DROP COLUMN IF EXISTS limit_up,
    DROP COLUMN IF EXISTS mark_price,
    DROP COLUMN IF EXISTS index_price,
    DROP COLUMN IF EXISTS open_interest,
    DROP COLUMN IF EXISTS funding_rate,
    DROP COLUMN IF EXISTS next_funding_time_ns;
