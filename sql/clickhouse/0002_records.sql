-- Where the rows lie. Rows of one identity (exchange, symbol, record_key) collapse to the one of the greatest version;
-- key_time is the same for each of them, so they always meet in one partition. Users read the views of 0004, which
-- collapse at once. Why each codec is what it is: docs/storage.md.

-- What every record carries: a template, dropped below.
CREATE OR REPLACE TABLE record_columns
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
    sequence         Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own)
)
ENGINE = MergeTree ORDER BY ();

CREATE TABLE IF NOT EXISTS trades_stored AS record_columns
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

ALTER TABLE trades_stored
    MODIFY COLUMN receive_offset CODEC(Delta, ZSTD(12)),
    MODIFY COLUMN key_number CODEC(DoubleDelta, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS last_price       Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS volume           Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS side             Enum8('' = 0, 'buy' = 1, 'sell' = 2) CODEC(ZSTD(9)),
    ADD COLUMN IF NOT EXISTS trade_id_is_key  Bool,
    ADD COLUMN IF NOT EXISTS trade_id_own     String,
    ADD COLUMN IF NOT EXISTS size_unit        Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    ADD COLUMN IF NOT EXISTS market_center    LowCardinality(String),
    ADD COLUMN IF NOT EXISTS trf_id           LowCardinality(String),
    ADD COLUMN IF NOT EXISTS conditions       Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS tape             LowCardinality(String),
    ADD COLUMN IF NOT EXISTS trade_id         String
        ALIAS if(trade_id_is_key, substringIndex(record_key, '/', -1), trade_id_own),
    ADD INDEX IF NOT EXISTS time_range time TYPE minmax GRANULARITY 1;

CREATE TABLE IF NOT EXISTS quotes_stored AS record_columns
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

ALTER TABLE quotes_stored
    ADD COLUMN IF NOT EXISTS bid            Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS bid_size       Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ask            Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS ask_size       Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS size_unit      Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    ADD COLUMN IF NOT EXISTS bid_exchange   LowCardinality(String),
    ADD COLUMN IF NOT EXISTS ask_exchange   LowCardinality(String),
    ADD COLUMN IF NOT EXISTS conditions     Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS indicators     Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS tape           LowCardinality(String),
    ADD COLUMN IF NOT EXISTS market_center  LowCardinality(String),
    ADD INDEX IF NOT EXISTS time_range time TYPE minmax GRANULARITY 1;

-- A row per message, its levels in arrays as sent, bids before asks; the view book_updates gives a row per level. Kept
-- as a row per level, a message of 48 levels took 90 µs to insert instead of 20, and a tenth more space.
--
-- Levels take 8 bytes a decimal (_narrow) where 18 digits, 8 of them decimals, hold all of the message exactly, and
-- 16 (_wide) where they do not.
CREATE TABLE IF NOT EXISTS books_stored AS record_columns
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

ALTER TABLE books_stored
    ADD COLUMN IF NOT EXISTS book_action    Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    ADD COLUMN IF NOT EXISTS bid_count      UInt32                  CODEC(T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS prices_narrow  Array(Decimal(18, 8))   CODEC(GCD, Delta, T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS prices_wide    Array(Decimal(38, 19)),
    ADD COLUMN IF NOT EXISTS sizes_narrow   Array(Decimal(18, 8))   CODEC(GCD, T64, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS sizes_wide     Array(Decimal(38, 19)),
    ADD COLUMN IF NOT EXISTS bid_orders     Array(Int64),
    ADD COLUMN IF NOT EXISTS ask_orders     Array(Int64),
    ADD COLUMN IF NOT EXISTS size_unit
        Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    ADD COLUMN IF NOT EXISTS depth          UInt32,
    ADD COLUMN IF NOT EXISTS prices         Array(Decimal(38, 19))
        ALIAS if(empty(prices_wide), CAST(prices_narrow AS Array(Decimal(38, 19))), prices_wide),
    ADD COLUMN IF NOT EXISTS sizes          Array(Decimal(38, 19))
        ALIAS if(empty(sizes_wide), CAST(sizes_narrow AS Array(Decimal(38, 19))), sizes_wide),
    ADD COLUMN IF NOT EXISTS bid_prices     Array(Decimal(38, 19)) ALIAS arraySlice(prices, 1, bid_count),
    ADD COLUMN IF NOT EXISTS bid_sizes      Array(Decimal(38, 19)) ALIAS arraySlice(sizes, 1, bid_count),
    ADD COLUMN IF NOT EXISTS ask_prices     Array(Decimal(38, 19)) ALIAS arraySlice(prices, bid_count + 1),
    ADD COLUMN IF NOT EXISTS ask_sizes      Array(Decimal(38, 19)) ALIAS arraySlice(sizes, bid_count + 1),
    ADD INDEX IF NOT EXISTS time_range time TYPE minmax GRANULARITY 1;

-- The kinds that come seldom share a table. What a kind does not have is empty and costs nothing. Of bars the further
-- state is the greater version, then the later time; of gaps the later time, then the further state.
ALTER TABLE record_columns ADD COLUMN version UInt128 AFTER parser_version;

CREATE TABLE IF NOT EXISTS others_stored AS record_columns
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

ALTER TABLE others_stored
    ADD COLUMN IF NOT EXISTS kind                  Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6,
        'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    ADD COLUMN IF NOT EXISTS last_price            Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS volume                Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS side                  Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    ADD COLUMN IF NOT EXISTS trade_id              String,
    ADD COLUMN IF NOT EXISTS first_trade_id        String,
    ADD COLUMN IF NOT EXISTS last_trade_id         String,
    ADD COLUMN IF NOT EXISTS trade_count           Int64,
    ADD COLUMN IF NOT EXISTS size_unit             Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    ADD COLUMN IF NOT EXISTS market_center         LowCardinality(String),
    ADD COLUMN IF NOT EXISTS conditions            Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS indicators            Array(LowCardinality(String)),
    ADD COLUMN IF NOT EXISTS tape                  LowCardinality(String),
    ADD COLUMN IF NOT EXISTS interval              LowCardinality(String),
    ADD COLUMN IF NOT EXISTS open                  Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS high                  Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS low                   Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS close                 Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS vwap                  Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS quote_volume          Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS taker_buy_volume      Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS bar_state             Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    ADD COLUMN IF NOT EXISTS original_trade_id     String,
    ADD COLUMN IF NOT EXISTS correction            Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    ADD COLUMN IF NOT EXISTS gap_kind              Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5,
        'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    ADD COLUMN IF NOT EXISTS gap_state             Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    ADD COLUMN IF NOT EXISTS from_sequence         Nullable(Int64),
    ADD COLUMN IF NOT EXISTS to_sequence           Nullable(Int64),
    ADD COLUMN IF NOT EXISTS from_time_ns          Int64,
    ADD COLUMN IF NOT EXISTS to_time_ns            Int64,
    ADD COLUMN IF NOT EXISTS reason                String,
    ADD COLUMN IF NOT EXISTS status                Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    ADD COLUMN IF NOT EXISTS status_code           LowCardinality(String),
    ADD COLUMN IF NOT EXISTS limit_down            Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS limit_up              Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS mark_price            Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS index_price           Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS open_interest         Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS funding_rate          Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    ADD COLUMN IF NOT EXISTS next_funding_time_ns  Int64,
    ADD INDEX IF NOT EXISTS time_range time TYPE minmax GRANULARITY 1,
    MODIFY ORDER BY (exchange, symbol, key_time, key_prefix, key_number, kind);

-- What was kept out of the tables above (hard) or noted beside them (soft). payload is the raw frame, record the
-- encoded MarketData where parsing got that far; outcome is what became of it (the newest holds).
CREATE TABLE IF NOT EXISTS quarantine_stored
(
    time             DateTime64(9, 'UTC')  CODEC(Delta, ZSTD(3)),
    exchange         LowCardinality(String),
    symbol           LowCardinality(String),
    code             LowCardinality(String),
    severity         Enum8('' = 0, 'hard' = 1, 'soft' = 2),
    rule             LowCardinality(String),
    reason           String,
    endpoint         LowCardinality(String),
    receive_time_ns  Int64                 CODEC(Delta, ZSTD(3)),
    source           Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    connection_id    LowCardinality(String),
    frame_sequence   Int64                 CODEC(Delta, ZSTD(3)),
    frame_index      Int32,
    parser_version   UInt32,
    payload          String,
    record           String,
    outcome          Enum8('' = 0, 'held' = 1, 'published' = 2, 'still_bad' = 3, 'released' = 4),
    outcome_time_ns  Int64,
    version          UInt128,
    stored_time      DateTime64(9, 'UTC')  CODEC(Delta, ZSTD(3))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (exchange, time, connection_id, frame_sequence, frame_index, code)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)';

DROP TABLE record_columns;
