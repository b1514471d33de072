-- As of 0037_of_instruments: what the migrations up to it make of a new database. Written by tests/stores/test_clickhouse_schema.py.

CREATE DATABASE IF NOT EXISTS market_internal;

CREATE TABLE IF NOT EXISTS corporate_actions_history
(
    `exchange` LowCardinality(String),
    `action_id` String,
    `symbol` LowCardinality(String),
    `action_kind` LowCardinality(String),
    `effective_day` Date32,
    `shares_before` Nullable(Decimal(38, 19)),
    `shares_after` Nullable(Decimal(38, 19)),
    `cash_amount` Nullable(Decimal(38, 19)),
    `currency` LowCardinality(String),
    `new_symbol` LowCardinality(String),
    `declared_day` Nullable(Date32),
    `record_day` Nullable(Date32),
    `pay_day` Nullable(Date32),
    `recorded_ns` Int64,
    `withdrawn` Bool,
    `stored_time` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, action_id, recorded_ns)
SETTINGS index_granularity = 8192;

CREATE TABLE IF NOT EXISTS instruments_history
(
    `exchange` LowCardinality(String),
    `venue_symbol` String,
    `symbol` String,
    `instrument_class` LowCardinality(String),
    `base` LowCardinality(String),
    `quote` LowCardinality(String),
    `settle` LowCardinality(String),
    `underlying` LowCardinality(String),
    `contract_size` LowCardinality(String),
    `size_unit` LowCardinality(String),
    `price_step` LowCardinality(String),
    `size_step` LowCardinality(String),
    `price_figures` UInt8,
    `expires_ns` Nullable(Int64),
    `strike` Nullable(Decimal(38, 19)),
    `option_side` LowCardinality(String),
    `status` LowCardinality(String),
    `listed_day` Nullable(Date32),
    `delisted_day` Nullable(Date32),
    `alias_of` String,
    `figi` String,
    `market` LowCardinality(String),
    `title` String,
    `isin` String,
    `recorded_ns` Int64,
    `withdrawn` Bool,
    `stored_time` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, venue_symbol, recorded_ns)
SETTINGS index_granularity = 8192;

CREATE TABLE IF NOT EXISTS sessions_history
(
    `exchange` LowCardinality(String),
    `session_day` Date32,
    `session_kind` LowCardinality(String),
    `opens_ns` Int64,
    `closes_ns` Int64,
    `calendar` LowCardinality(String),
    `is_early_close` Bool,
    `origin` LowCardinality(String),
    `recorded_ns` Int64,
    `withdrawn` Bool,
    `stored_time` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, session_day, session_kind, opens_ns, recorded_ns)
SETTINGS index_granularity = 8192;

CREATE TABLE IF NOT EXISTS symbol_names_history
(
    `exchange` LowCardinality(String),
    `instrument_id` String,
    `first_day` Date32,
    `symbol` LowCardinality(String),
    `figi` String,
    `title` String,
    `origin` LowCardinality(String),
    `recorded_ns` Int64,
    `withdrawn` Bool,
    `stored_time` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, instrument_id, first_day, recorded_ns)
SETTINGS index_granularity = 8192;

CREATE TABLE IF NOT EXISTS venue_quality
(
    `exchange` LowCardinality(String),
    `day` Date,
    `events` UInt64,
    `gaps` UInt64,
    `gaps_per_million` Float64,
    `repaired` UInt64,
    `open` UInt64,
    `source_holes` UInt64,
    `unrepairable` UInt64,
    `share_repaired` Float64,
    `latency_p50_ms` Nullable(Float64),
    `latency_p99_ms` Nullable(Float64),
    `coverage` Float64,
    `quarantined` UInt64,
    `incidents` UInt32,
    `score` Float64,
    `published_time` DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(published_time)
ORDER BY (exchange, day)
SETTINGS index_granularity = 8192;

CREATE TABLE IF NOT EXISTS market_internal.books_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC') CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `key_prefix` String,
    `key_number` UInt64 CODEC(Delta(8), T64, ZSTD(1)),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
    `publish_offset` Nullable(Int64) CODEC(GCD, DoubleDelta, ZSTD(3)),
    `participant_time_ns` Int64 CODEC(GCD, Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `first_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `previous_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `record_key` String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    `key_time_ns` Int64 ALIAS toUnixTimestamp64Nano(key_time),
    `event_time_ns` Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    `receive_time_ns` Int64 ALIAS (key_time_ns + ifNull(event_offset, 0)) + receive_offset,
    `publish_time_ns` Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    `time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    `event_time` Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    `receive_time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    `sequence` Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),
    `book_action` Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    `bid_count` UInt32 CODEC(T64, ZSTD(1)),
    `prices_narrow` Array(Decimal(18, 8)) CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `prices_wide` Array(Decimal(38, 19)),
    `sizes_narrow` Array(Decimal(18, 8)) CODEC(GCD, T64, ZSTD(1)),
    `sizes_wide` Array(Decimal(38, 19)),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `depth` UInt32,
    `prices` Array(Decimal(38, 19)) ALIAS if(empty(prices_wide), CAST(prices_narrow, 'Array(Decimal(38, 19))'), prices_wide),
    `sizes` Array(Decimal(38, 19)) ALIAS if(empty(sizes_wide), CAST(sizes_narrow, 'Array(Decimal(38, 19))'), sizes_wide),
    `bid_prices` Array(Decimal(76, 30)) ALIAS if(empty(wide_decimals), CAST(arraySlice(prices, 1, bid_count), 'Array(Decimal(76, 30))'), arrayMap(text -> toDecimal256OrZero(text, 30), arraySlice(wide_levels, 1, bid_count))),
    `bid_sizes` Array(Decimal(76, 30)) ALIAS if(empty(wide_decimals), CAST(arraySlice(sizes, 1, bid_count), 'Array(Decimal(76, 30))'), arrayMap(text -> toDecimal256OrZero(text, 30), arraySlice(wide_levels, 1 + bid_count, bid_count))),
    `ask_prices` Array(Decimal(76, 30)) ALIAS if(empty(wide_decimals), CAST(arraySlice(prices, bid_count + 1), 'Array(Decimal(76, 30))'), arrayMap(text -> toDecimal256OrZero(text, 30), arraySlice(wide_levels, 1 + (2 * bid_count), ask_count))),
    `ask_sizes` Array(Decimal(76, 30)) ALIAS if(empty(wide_decimals), CAST(arraySlice(sizes, bid_count + 1), 'Array(Decimal(76, 30))'), arrayMap(text -> toDecimal256OrZero(text, 30), arraySlice(wide_levels, (1 + (2 * bid_count)) + ask_count))),
    `wide_decimals` String,
    `ask_count` UInt32 ALIAS length(prices) - bid_count,
    `wide_levels` Array(String) ALIAS arraySlice(splitByChar(' ', wide_decimals), -1 - (2 * length(prices)), 2 * length(prices)),
    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192, merge_selector_base = 16;

CREATE TABLE IF NOT EXISTS market_internal.frequent_market_data
(
    `kind` Int32,
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `record_key` String,
    `key_time_ns` Int64,
    `sequence` Nullable(Int64),
    `parser_version` UInt32,
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `last_price` Nullable(String),
    `volume` Nullable(String),
    `side` Int32,
    `trade_id` String,
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `size_unit` Int32,
    `bid` Nullable(String),
    `bid_size` Nullable(String),
    `ask` Nullable(String),
    `ask_size` Nullable(String),
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `book_action` Int32,
    `bid_prices` Array(String),
    `bid_sizes` Array(String),
    `ask_prices` Array(String),
    `ask_sizes` Array(String),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `depth` UInt32,
    `flags` Array(LowCardinality(String)),
    `key_tail` String MATERIALIZED substringIndex(record_key, '/', -1),
    `key_number` UInt64 MATERIALIZED if(toString(toUInt64OrZero(key_tail)) = key_tail, toUInt64OrZero(key_tail), 0),
    `key_prefix` String MATERIALIZED if(key_number = 0, record_key, substring(record_key, 1, length(record_key) - length(key_tail))),
    `key_time` DateTime64(9, 'UTC') MATERIALIZED fromUnixTimestamp64Nano(key_time_ns, 'UTC'),
    `stored_time` DateTime64(9, 'UTC') MATERIALIZED now64(9, 'UTC'),
    `event_offset` Nullable(Int64) MATERIALIZED if(event_time_ns = 0, NULL, if(event_time_ns = 0, 0, event_time_ns - key_time_ns)),
    `receive_offset` Int64 MATERIALIZED receive_time_ns - if(event_time_ns = 0, key_time_ns, event_time_ns),
    `publish_offset` Nullable(Int64) MATERIALIZED if(publish_time_ns = 0, NULL, if(publish_time_ns = 0, 0, publish_time_ns - key_time_ns)),
    `sequence_is_key` Bool MATERIALIZED ifNull(sequence = toInt64(key_number), false) AND (key_number != 0),
    `sequence_own` Nullable(Int64) MATERIALIZED if(sequence_is_key, NULL, if(sequence_is_key, 0, sequence)),
    `trade_id_is_key` Bool MATERIALIZED trade_id = key_tail,
    `trade_id_own` String MATERIALIZED if(trade_id_is_key, '', trade_id),
    `decimals` String MATERIALIZED concat(ifNull(last_price, '0'), ' ', ifNull(volume, '0'), ' ', ifNull(bid, '0'), ' ', ifNull(bid_size, '0'), ' ', ifNull(ask, '0'), ' ', ifNull(ask_size, '0'), ' ', arrayStringConcat(arrayConcat(bid_prices, bid_sizes, ask_prices, ask_sizes, ['0']), ' ')),
    `wide_decimals` String MATERIALIZED if(match(decimals, '\\.[0-9]{20}'), decimals, ''),
    CONSTRAINT known CHECK (kind IN (1, 2, 3)) AND ((source >= 0) AND (source <= 4)) AND ((side >= 0) AND (side <= 2)) AND ((size_unit >= 0) AND (size_unit <= 5)) AND ((book_action >= 0) AND (book_action <= 3)),
    CONSTRAINT storable CHECK (exchange != '') AND (record_key != '') AND (key_time_ns != 0) AND (length(bid_prices) = length(bid_sizes)) AND (length(ask_prices) = length(ask_sizes)) AND (length(bid_orders) IN (0, length(bid_prices))) AND (length(ask_orders) IN (0, length(ask_prices))),
    CONSTRAINT decimals CHECK match(decimals, '^-?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?( -?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?)*$') AND (countSubstrings(decimals, ' ') = (6 + (2 * (length(bid_prices) + length(ask_prices)))))
)
ENGINE = `Null`;

CREATE TABLE IF NOT EXISTS market_internal.market_data
(
    `kind` Int32,
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `record_key` String,
    `key_time_ns` Int64,
    `sequence` Nullable(Int64),
    `parser_version` UInt32,
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `last_price` Nullable(String),
    `volume` Nullable(String),
    `side` Int32,
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `size_unit` Int32,
    `bid` Nullable(String),
    `bid_size` Nullable(String),
    `ask` Nullable(String),
    `ask_size` Nullable(String),
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `book_action` Int32,
    `bid_prices` Array(String),
    `bid_sizes` Array(String),
    `ask_prices` Array(String),
    `ask_sizes` Array(String),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `depth` UInt32,
    `interval` LowCardinality(String),
    `open` Nullable(String),
    `high` Nullable(String),
    `low` Nullable(String),
    `close` Nullable(String),
    `vwap` Nullable(String),
    `quote_volume` Nullable(String),
    `taker_buy_volume` Nullable(String),
    `bar_state` Int32,
    `original_trade_id` String,
    `correction` Int32,
    `gap_kind` Int32,
    `gap_state` Int32,
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `attempts` Int32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `status` Int32,
    `status_code` LowCardinality(String),
    `limit_down` Nullable(String),
    `limit_up` Nullable(String),
    `mark_price` Nullable(String),
    `index_price` Nullable(String),
    `open_interest` Nullable(String),
    `funding_rate` Nullable(String),
    `next_funding_time_ns` Int64,
    `observation_date` LowCardinality(String),
    `vintage_date` LowCardinality(String),
    `value` Nullable(String),
    `unit` LowCardinality(String),
    `release` LowCardinality(String),
    `flags` Array(LowCardinality(String)),
    `key_tail` String MATERIALIZED substringIndex(record_key, '/', -1),
    `key_number` UInt64 MATERIALIZED if(toString(toUInt64OrZero(key_tail)) = key_tail, toUInt64OrZero(key_tail), 0),
    `key_prefix` String MATERIALIZED if(key_number = 0, record_key, substring(record_key, 1, length(record_key) - length(key_tail))),
    `key_time` DateTime64(9, 'UTC') MATERIALIZED fromUnixTimestamp64Nano(key_time_ns, 'UTC'),
    `stored_time` DateTime64(9, 'UTC') MATERIALIZED now64(9, 'UTC'),
    `event_offset` Nullable(Int64) MATERIALIZED if(event_time_ns = 0, NULL, if(event_time_ns = 0, 0, event_time_ns - key_time_ns)),
    `receive_offset` Int64 MATERIALIZED receive_time_ns - if(event_time_ns = 0, key_time_ns, event_time_ns),
    `publish_offset` Nullable(Int64) MATERIALIZED if(publish_time_ns = 0, NULL, if(publish_time_ns = 0, 0, publish_time_ns - key_time_ns)),
    `sequence_is_key` Bool MATERIALIZED ifNull(sequence = toInt64(key_number), false) AND (key_number != 0),
    `sequence_own` Nullable(Int64) MATERIALIZED if(sequence_is_key, NULL, if(sequence_is_key, 0, sequence)),
    `trade_id_is_key` Bool MATERIALIZED trade_id = key_tail,
    `trade_id_own` String MATERIALIZED if(trade_id_is_key, '', trade_id),
    `decimals` String MATERIALIZED concat(ifNull(last_price, '0'), ' ', ifNull(volume, '0'), ' ', ifNull(bid, '0'), ' ', ifNull(bid_size, '0'), ' ', ifNull(ask, '0'), ' ', ifNull(ask_size, '0'), ' ', ifNull(open, '0'), ' ', ifNull(high, '0'), ' ', ifNull(low, '0'), ' ', ifNull(close, '0'), ' ', ifNull(vwap, '0'), ' ', ifNull(quote_volume, '0'), ' ', ifNull(taker_buy_volume, '0'), ' ', ifNull(limit_down, '0'), ' ', ifNull(limit_up, '0'), ' ', ifNull(mark_price, '0'), ' ', ifNull(index_price, '0'), ' ', ifNull(open_interest, '0'), ' ', ifNull(funding_rate, '0'), ' ', ifNull(value, '0'), ' ', arrayStringConcat(arrayConcat(bid_prices, bid_sizes, ask_prices, ask_sizes, ['0']), ' ')),
    `wide_decimals` String MATERIALIZED if(match(decimals, '\\.[0-9]{20}'), decimals, ''),
    CONSTRAINT known CHECK ((kind >= 1) AND (kind <= 11)) AND ((source >= 0) AND (source <= 4)) AND ((side >= 0) AND (side <= 2)) AND ((size_unit >= 0) AND (size_unit <= 5)) AND ((book_action >= 0) AND (book_action <= 3)) AND ((bar_state >= 0) AND (bar_state <= 3)) AND ((correction >= 0) AND (correction <= 3)) AND ((gap_kind >= 0) AND (gap_kind <= 10)) AND ((gap_state >= 0) AND (gap_state <= 4)) AND ((status >= 0) AND (status <= 5)),
    CONSTRAINT storable CHECK (exchange != '') AND (record_key != '') AND (key_time_ns != 0) AND (length(bid_prices) = length(bid_sizes)) AND (length(ask_prices) = length(ask_sizes)) AND (length(bid_orders) IN (0, length(bid_prices))) AND (length(ask_orders) IN (0, length(ask_prices))),
    CONSTRAINT decimals CHECK match(decimals, '^-?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?( -?0*[0-9]{1,19}(\\.[0-9]{1,30}0*)?)*$') AND (countSubstrings(decimals, ' ') = (20 + (2 * (length(bid_prices) + length(ask_prices)))))
)
ENGINE = `Null`;

CREATE TABLE IF NOT EXISTS market_internal.observations_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC') CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `key_prefix` String,
    `key_number` UInt64 CODEC(Delta(8), T64, ZSTD(1)),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
    `publish_offset` Nullable(Int64) CODEC(GCD, DoubleDelta, ZSTD(3)),
    `participant_time_ns` Int64 CODEC(GCD, Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `first_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `previous_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `record_key` String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    `key_time_ns` Int64 ALIAS toUnixTimestamp64Nano(key_time),
    `event_time_ns` Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    `receive_time_ns` Int64 ALIAS (key_time_ns + ifNull(event_offset, 0)) + receive_offset,
    `publish_time_ns` Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    `time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    `event_time` Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    `receive_time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    `sequence` Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),
    `wide_decimals` String,
    `observation_date` LowCardinality(String),
    `vintage_date` LowCardinality(String),
    `value` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `unit` LowCardinality(String),
    `release` LowCardinality(String),
    `value_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(value), CAST(value, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[20], 30)),
    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY intDiv(toYear(key_time), 10)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192;

CREATE TABLE IF NOT EXISTS market_internal.others_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC') CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `key_prefix` String,
    `key_number` UInt64 CODEC(Delta(8), T64, ZSTD(1)),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
    `publish_offset` Nullable(Int64) CODEC(GCD, DoubleDelta, ZSTD(3)),
    `participant_time_ns` Int64 CODEC(GCD, Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `first_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `previous_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `record_key` String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    `key_time_ns` Int64 ALIAS toUnixTimestamp64Nano(key_time),
    `event_time_ns` Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    `receive_time_ns` Int64 ALIAS (key_time_ns + ifNull(event_offset, 0)) + receive_offset,
    `publish_time_ns` Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    `time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    `event_time` Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    `receive_time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    `sequence` Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `volume` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `high` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `low` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `close` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `vwap` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `quote_volume` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `taker_buy_volume` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `limit_up` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `mark_price` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `index_price` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `open_interest` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `funding_rate` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `wide_decimals` String,
    `last_price_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(last_price), CAST(last_price, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[1], 30)),
    `volume_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(volume), CAST(volume, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[2], 30)),
    `open_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(open), CAST(open, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[7], 30)),
    `high_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(high), CAST(high, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[8], 30)),
    `low_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(low), CAST(low, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[9], 30)),
    `close_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(close), CAST(close, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[10], 30)),
    `vwap_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(vwap), CAST(vwap, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[11], 30)),
    `quote_volume_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(quote_volume), CAST(quote_volume, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[12], 30)),
    `taker_buy_volume_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(taker_buy_volume), CAST(taker_buy_volume, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[13], 30)),
    `limit_down_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(limit_down), CAST(limit_down, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[14], 30)),
    `limit_up_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(limit_up), CAST(limit_up, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[15], 30)),
    `mark_price_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(mark_price), CAST(mark_price, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[16], 30)),
    `index_price_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(index_price), CAST(index_price, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[17], 30)),
    `open_interest_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(open_interest), CAST(open_interest, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[18], 30)),
    `funding_rate_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(funding_rate), CAST(funding_rate, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[19], 30)),
    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(key_time)
PRIMARY KEY (exchange, symbol, key_time, key_prefix, key_number)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number, kind)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192, merge_selector_base = 16;

CREATE TABLE IF NOT EXISTS market_internal.quarantine_stored
(
    `time` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `code` LowCardinality(String),
    `severity` Enum8('' = 0, 'hard' = 1, 'soft' = 2),
    `rule` LowCardinality(String),
    `reason` String,
    `endpoint` LowCardinality(String),
    `receive_time_ns` Int64 CODEC(Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `payload` String,
    `record` String,
    `outcome` Enum8('' = 0, 'held' = 1, 'published' = 2, 'still_bad' = 3, 'released' = 4),
    `outcome_time_ns` Int64,
    `version` UInt128,
    `stored_time` DateTime64(9, 'UTC') CODEC(Delta(8), ZSTD(3))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(time)
ORDER BY (exchange, time, connection_id, frame_sequence, frame_index, code)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192;

CREATE TABLE IF NOT EXISTS market_internal.quarantined
(
    `code` LowCardinality(String),
    `severity` Int32,
    `rule` LowCardinality(String),
    `reason` String,
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `endpoint` LowCardinality(String),
    `receive_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `payload` String,
    `record` String,
    `outcome` Int32,
    `outcome_time_ns` Int64,
    CONSTRAINT known CHECK ((severity >= 0) AND (severity <= 2)) AND ((source >= 0) AND (source <= 4)) AND ((outcome >= 0) AND (outcome <= 4))
)
ENGINE = `Null`;

CREATE TABLE IF NOT EXISTS market_internal.quotes_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC') CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `key_prefix` String,
    `key_number` UInt64 CODEC(Delta(8), T64, ZSTD(1)),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64 CODEC(Delta(8), T64('bit'), ZSTD(1)),
    `publish_offset` Nullable(Int64) CODEC(GCD, DoubleDelta, ZSTD(3)),
    `participant_time_ns` Int64 CODEC(GCD, Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `first_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `previous_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `record_key` String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    `key_time_ns` Int64 ALIAS toUnixTimestamp64Nano(key_time),
    `event_time_ns` Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    `receive_time_ns` Int64 ALIAS (key_time_ns + ifNull(event_offset, 0)) + receive_offset,
    `publish_time_ns` Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    `time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    `event_time` Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    `receive_time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    `sequence` Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),
    `bid` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `bid_size` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `ask` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `ask_size` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `market_center` LowCardinality(String),
    `wide_decimals` String,
    `bid_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(bid), CAST(bid, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[3], 30)),
    `bid_size_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(bid_size), CAST(bid_size, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[4], 30)),
    `ask_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(ask), CAST(ask, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[5], 30)),
    `ask_size_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(ask_size), CAST(ask_size, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[6], 30)),
    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192, merge_selector_base = 16;

CREATE TABLE IF NOT EXISTS market_internal.trades_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC') CODEC(GCD, Delta(8), T64, ZSTD(1)),
    `key_prefix` String,
    `key_number` UInt64 CODEC(DoubleDelta, ZSTD(1)),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64 CODEC(Delta(8), ZSTD(12)),
    `publish_offset` Nullable(Int64) CODEC(GCD, DoubleDelta, ZSTD(3)),
    `participant_time_ns` Int64 CODEC(GCD, Delta(8), ZSTD(3)),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64 CODEC(Delta(8), ZSTD(3)),
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `first_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `previous_sequence` Nullable(Int64) CODEC(Delta(8), ZSTD(3)),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC') DEFAULT now64(9, 'UTC') CODEC(Delta(8), ZSTD(3)),
    `record_key` String ALIAS concat(key_prefix, if(key_number = 0, '', toString(key_number))),
    `key_time_ns` Int64 ALIAS toUnixTimestamp64Nano(key_time),
    `event_time_ns` Int64 ALIAS if(isNull(event_offset), 0, key_time_ns + assumeNotNull(event_offset)),
    `receive_time_ns` Int64 ALIAS (key_time_ns + ifNull(event_offset, 0)) + receive_offset,
    `publish_time_ns` Int64 ALIAS if(isNull(publish_offset), 0, key_time_ns + assumeNotNull(publish_offset)),
    `time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    `event_time` Nullable(DateTime64(9, 'UTC')) ALIAS fromUnixTimestamp64Nano(nullIf(event_time_ns, 0), 'UTC'),
    `receive_time` DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    `sequence` Nullable(Int64) ALIAS if(sequence_is_key, toInt64(key_number), sequence_own),
    `last_price` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `volume` Nullable(Decimal(38, 19)) CODEC(GCD, ZSTD(1)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2) CODEC(ZSTD(9)),
    `trade_id_is_key` Bool,
    `trade_id_own` String,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `trade_id` String ALIAS if(trade_id_is_key, substringIndex(record_key, '/', -1), trade_id_own),
    `wide_decimals` String,
    `last_price_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(last_price), CAST(last_price, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[1], 30)),
    `volume_exact` Nullable(Decimal(76, 30)) ALIAS if(empty(wide_decimals) OR isNull(volume), CAST(volume, 'Nullable(Decimal(76, 30))'), toDecimal256OrZero(splitByChar(' ', wide_decimals)[2], 30)),
    INDEX time_range time TYPE minmax GRANULARITY 1
)
ENGINE = ReplacingMergeTree(parser_version)
PARTITION BY toYYYYMM(key_time)
ORDER BY (exchange, symbol, key_time, key_prefix, key_number)
SETTINGS non_replicated_deduplication_window = 100000, default_compression_codec = 'ZSTD(3)', index_granularity = 8192, merge_selector_base = 16;

CREATE VIEW IF NOT EXISTS agg_trades
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `conditions` Array(LowCardinality(String))
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    last_price_exact AS last_price,
    volume_exact AS volume,
    side,
    trade_id,
    size_unit,
    first_trade_id,
    last_trade_id,
    trade_count,
    conditions
FROM market_internal.others_stored
FINAL
WHERE kind = 'agg_trade'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS bars
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(76, 30)),
    `high` Nullable(Decimal(76, 30)),
    `low` Nullable(Decimal(76, 30)),
    `close` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `vwap` Nullable(Decimal(76, 30)),
    `quote_volume` Nullable(Decimal(76, 30)),
    `taker_buy_volume` Nullable(Decimal(76, 30)),
    `trade_count` Int64
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    interval,
    open_exact AS open,
    high_exact AS high,
    low_exact AS low,
    close_exact AS close,
    volume_exact AS volume,
    bar_state,
    size_unit,
    vwap_exact AS vwap,
    quote_volume_exact AS quote_volume,
    taker_buy_volume_exact AS taker_buy_volume,
    trade_count
FROM market_internal.others_stored
FINAL
WHERE kind = 'bar'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS bars_adjusted
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(76, 30)),
    `high` Nullable(Decimal(76, 30)),
    `low` Nullable(Decimal(76, 30)),
    `close` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `split_factor` Float64,
    `return_factor` Float64,
    `lacks_close` Nullable(UInt8),
    `open_split` Nullable(Float64),
    `high_split` Nullable(Float64),
    `low_split` Nullable(Float64),
    `close_split` Nullable(Float64),
    `volume_split` Nullable(Float64),
    `close_return` Nullable(Float64),
    `instrument_id` String,
    `current_symbol` String,
    `unadjusted` String,
    `ended_by` String,
    `ended_day` Nullable(Date32)
)
AS SELECT *
FROM bars_adjusted_at(known_time = '2262-01-01 00:00:00');

CREATE VIEW IF NOT EXISTS bars_adjusted_at
AS WITH
    spans AS
    (
        SELECT
            exchange,
            symbol,
            first_day,
            until_day,
            instrument_id,
            current_symbol
        FROM
        (
            SELECT
                exchange,
                instrument_id,
                symbol,
                first_day,
                leadInFrame(toNullable(first_day)) OVER whole AS until_day,
                anyLast(symbol) OVER whole AS current_symbol
            FROM
            (
                SELECT *
                FROM symbol_names_history
                WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
                ORDER BY recorded_ns DESC
                LIMIT 1 BY
                    exchange,
                    instrument_id,
                    first_day
            )
            WHERE NOT withdrawn
            WINDOW whole AS (PARTITION BY exchange, instrument_id ORDER BY first_day ASC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        WHERE symbol != ''
    ),
    told AS
    (
        SELECT
            exchange,
            symbol,
            action_kind,
            effective_day,
            shares_before,
            shares_after,
            cash_amount,
            new_symbol
        FROM
        (
            SELECT *
            FROM corporate_actions_history
            WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
            ORDER BY recorded_ns DESC
            LIMIT 1 BY
                exchange,
                action_id
        )
        WHERE (NOT withdrawn) AND (action_kind != 'name_change') AND (effective_day <= toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')) AND (effective_day <= toDate32(now(), 'America/New_York'))
    ),
    of_feeds AS
    (
        SELECT
            feed AS exchange,
            symbol,
            action_kind,
            effective_day,
            shares_before,
            shares_after,
            cash_amount,
            new_symbol
        FROM
        (
            SELECT
                * EXCEPT exchange,
                exchange AS told_by,
                arrayJoin(if((action_kind IN ('split', 'stock_dividend', 'cash_dividend')), [toString(exchange)], (
                    SELECT groupUniqArray(toString(exchange))
                    FROM corporate_actions_history
                ))) AS feed,
                any(told_by) OVER (PARTITION BY feed, symbol, action_kind, effective_day ORDER BY told_by != feed ASC, told_by ASC) AS teller
            FROM told
        )
        WHERE told_by = teller
    ),
    first_bars AS
    (
        SELECT
            exchange,
            symbol,
            day,
            argMax(toFloat64(open), receive_time_ns) AS open
        FROM
        (
            SELECT
                *,
                toDate32(time, 'America/New_York') AS day
            FROM bars
        )
        WHERE (interval = '1d') AND (bar_state >= 2) AND (day < toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')) AND (symbol IN (
            SELECT new_symbol
            FROM corporate_actions_history
            WHERE action_kind = 'spin_off'
        ))
        GROUP BY
            exchange,
            symbol,
            day
    ),
    valued AS
    (
        SELECT
            t.*,
            if((t.action_kind = 'spin_off') AND (t.shares_before > 0) AND (n.open > 0) AND (n.day < (t.effective_day + 7)), ifNull(toFloat64(t.shares_after) / toFloat64(t.shares_before), 0.) * n.open, 0.) AS given
        FROM of_feeds AS t
        ASOF LEFT JOIN first_bars AS n ON (n.exchange = t.exchange) AND (n.symbol = t.new_symbol) AND (t.effective_day <= n.day)
    ),
    of_days AS
    (
        SELECT
            t.exchange AS exchange,
            multiIf((s.instrument_id != '') AND (isNull(s.until_day) OR (t.effective_day < s.until_day)), s.instrument_id, h.instrument_id != '', h.instrument_id, t.symbol) AS whose,
            t.effective_day AS effective_day,
            arrayProduct(groupArray(if((t.action_kind IN ('split', 'stock_dividend')), toFloat64(t.shares_before) / toFloat64(t.shares_after), 1.))) AS split_of_day,
            sum(if(t.action_kind = 'cash_dividend', ifNull(toFloat64(t.cash_amount), 0.), 0.)) AS cash,
            cash + sum(t.given) AS paid,
            groupUniqArrayIf(toString(t.action_kind), (t.given = 0) AND (t.action_kind NOT IN ('split', 'stock_dividend', 'cash_dividend', 'cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption', 'worthless_removal', 'unit_split'))) AS without_factor,
            groupUniqArrayIf(toString(t.action_kind), (t.given > 0) OR (t.action_kind = 'cash_dividend')) AS with_price,
            minIf(concat(toString(t.effective_day), ' ', t.action_kind), (t.action_kind IN ('cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption', 'worthless_removal', 'unit_split'))) AS ended
        FROM valued AS t
        ASOF LEFT JOIN spans AS s ON (s.exchange = t.exchange) AND (s.symbol = t.symbol) AND (s.first_day <= t.effective_day)
        LEFT JOIN
        (
            SELECT
                exchange,
                symbol,
                instrument_id
            FROM spans
            WHERE isNull(until_day)
        ) AS h ON (h.exchange = t.exchange) AND (h.symbol = t.symbol)
        GROUP BY
            exchange,
            whose,
            effective_day
    ),
    closes AS
    (
        SELECT
            b.exchange AS exchange,
            if((s.instrument_id != '') AND (isNull(s.until_day) OR (b.day < s.until_day)), s.instrument_id, b.symbol) AS whose,
            b.day AS day,
            argMax(toFloat64(b.close), b.receive_time_ns) AS close
        FROM
        (
            SELECT
                exchange,
                symbol,
                toDate32(time, 'America/New_York') AS day,
                close,
                receive_time_ns
            FROM bars
            WHERE (interval = '1d') AND (bar_state >= 2) AND (symbol IN (
                SELECT symbol
                FROM corporate_actions_history
                WHERE action_kind IN ('cash_dividend', 'spin_off')
                UNION ALL
                SELECT symbol
                FROM symbol_names_history
            ))
        ) AS b
        ASOF LEFT JOIN spans AS s ON (s.exchange = b.exchange) AND (s.symbol = b.symbol) AND (s.first_day <= b.day)
        GROUP BY
            exchange,
            whose,
            day
    ),
    with_close AS
    (
        SELECT
            d.*,
            c.close AS close_before,
            (d.paid > 0) AND (d.paid < (c.close * d.split_of_day)) AS is_covered
        FROM of_days AS d
        ASOF LEFT JOIN closes AS c ON (c.exchange = d.exchange) AND (c.whose = d.whose) AND (c.day < d.effective_day)
    ),
    factors AS
    (
        SELECT
            exchange,
            whose,
            effective_day,
            arrayProduct(groupArray(split_of_day) OVER later) AS split_factor,
            arrayProduct(groupArray(split_of_day * if(is_covered, 1 - (paid / (close_before * split_of_day)), 1.)) OVER later) AS return_factor,
            max((cash > 0) AND (NOT is_covered)) OVER later AS lacks_close,
            arrayStringConcat(arraySort(arrayDistinct(arrayFlatten(groupArray(if(is_covered, without_factor, arrayConcat(without_factor, with_price))) OVER later))), ',') AS unadjusted,
            minIf(ended, ended != '') OVER later AS ended
        FROM with_close
        WINDOW later AS (PARTITION BY exchange, whose ORDER BY effective_day DESC)
    )
SELECT
    b.time AS time,
    b.exchange AS exchange,
    b.symbol AS symbol,
    b.interval AS interval,
    b.open AS open,
    b.high AS high,
    b.low AS low,
    b.close AS close,
    b.volume AS volume,
    b.bar_state AS bar_state,
    if(f.split_factor > 0, f.split_factor, 1.) AS split_factor,
    if(f.split_factor > 0, f.return_factor, 1.) AS return_factor,
    f.lacks_close > 0 AS lacks_close,
    toFloat64(b.open) * split_factor AS open_split,
    toFloat64(b.high) * split_factor AS high_split,
    toFloat64(b.low) * split_factor AS low_split,
    toFloat64(b.close) * split_factor AS close_split,
    toFloat64(b.volume) / split_factor AS volume_split,
    toFloat64(b.close) * return_factor AS close_return,
    b.instrument_id AS instrument_id,
    b.current_symbol AS current_symbol,
    f.unadjusted AS unadjusted,
    splitByChar(' ', f.ended)[2] AS ended_by,
    toDate32OrNull(splitByChar(' ', f.ended)[1]) AS ended_day
FROM
(
    SELECT
        n.*,
        (s.instrument_id != '') AND (isNull(s.until_day) OR (n.day < s.until_day)) AS is_named,
        if(is_named, s.instrument_id, '') AS instrument_id,
        if(is_named, s.instrument_id, n.symbol) AS whose,
        if(is_named, s.current_symbol, n.symbol) AS current_symbol
    FROM
    (
        SELECT
            *,
            toDate32(time, 'America/New_York') AS day
        FROM bars
        WHERE time < {known_time:DateTime64(9, 'UTC')}
    ) AS n
    ASOF LEFT JOIN spans AS s ON (s.exchange = n.exchange) AND (s.symbol = n.symbol) AND (s.first_day <= n.day)
) AS b
ASOF LEFT JOIN factors AS f ON (f.exchange = b.exchange) AND (f.whose = b.whose) AND (b.day < f.effective_day);

CREATE VIEW IF NOT EXISTS bars_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM bars
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS book_updates
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `book_action` Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    `side` String,
    `level` Int64,
    `price` Nullable(Decimal(76, 30)),
    `size` Nullable(Decimal(76, 30)),
    `orders` Nullable(Int64),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `depth` UInt32
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    book_action,
    side,
    greatest(level_from_1, 1) - 1 AS level,
    price,
    size,
    orders,
    size_unit,
    depth
FROM books
LEFT ARRAY JOIN
    arrayConcat(arrayMap(price -> 'bid', bid_prices), arrayMap(price -> 'ask', ask_prices)) AS side,
    arrayConcat(arrayEnumerate(bid_prices), arrayEnumerate(ask_prices)) AS level_from_1,
    arrayMap(price -> toNullable(price), arrayConcat(bid_prices, ask_prices)) AS price,
    arrayMap(size -> toNullable(size), arrayConcat(bid_sizes, ask_sizes)) AS size,
    arrayConcat(if(empty(bid_orders), arrayMap(price -> CAST(NULL, 'Nullable(Int64)'), bid_prices), bid_orders), if(empty(ask_orders), arrayMap(price -> CAST(NULL, 'Nullable(Int64)'), ask_prices), ask_orders)) AS orders;

CREATE VIEW IF NOT EXISTS books
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `book_action` Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    `bid_prices` Array(Decimal(76, 30)),
    `bid_sizes` Array(Decimal(76, 30)),
    `ask_prices` Array(Decimal(76, 30)),
    `ask_sizes` Array(Decimal(76, 30)),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `depth` UInt32
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    book_action,
    bid_prices,
    bid_sizes,
    ask_prices,
    ask_sizes,
    bid_orders,
    ask_orders,
    size_unit,
    depth
FROM market_internal.books_stored
FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS corporate_actions
(
    `exchange` LowCardinality(String),
    `action_id` String,
    `symbol` LowCardinality(String),
    `action_kind` LowCardinality(String),
    `effective_day` Date32,
    `shares_before` Nullable(Decimal(38, 19)),
    `shares_after` Nullable(Decimal(38, 19)),
    `cash_amount` Nullable(Decimal(38, 19)),
    `currency` LowCardinality(String),
    `new_symbol` LowCardinality(String),
    `declared_day` Nullable(Date32),
    `record_day` Nullable(Date32),
    `pay_day` Nullable(Date32),
    `recorded_ns` Int64,
    `recorded` DateTime64(9, 'UTC')
)
AS SELECT *
FROM corporate_actions_at(known_time = '2262-01-01 00:00:00');

CREATE VIEW IF NOT EXISTS corporate_actions_at
AS SELECT
    exchange,
    action_id,
    symbol,
    action_kind,
    effective_day,
    shares_before,
    shares_after,
    cash_amount,
    currency,
    new_symbol,
    declared_day,
    record_day,
    pay_day,
    recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT *
    FROM corporate_actions_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY
        exchange,
        action_id
)
WHERE NOT withdrawn;

CREATE VIEW IF NOT EXISTS corrections
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `trade_id` String,
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    original_trade_id,
    correction,
    trade_id,
    last_price_exact AS last_price,
    volume_exact AS volume,
    size_unit,
    market_center,
    conditions,
    tape
FROM market_internal.others_stored
FINAL
WHERE kind = 'correction'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS corrections_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM corrections
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS gaps
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    gap_kind,
    gap_state,
    from_sequence,
    to_sequence,
    from_time_ns,
    to_time_ns,
    reason,
    attempts,
    repaired_rows,
    detected_time_ns
FROM market_internal.others_stored
FINAL
WHERE kind = 'gap'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS instruments
(
    `exchange` LowCardinality(String),
    `venue_symbol` String,
    `symbol` String,
    `instrument_class` LowCardinality(String),
    `base` LowCardinality(String),
    `quote` LowCardinality(String),
    `settle` LowCardinality(String),
    `underlying` LowCardinality(String),
    `contract_size` LowCardinality(String),
    `size_unit` LowCardinality(String),
    `price_step` LowCardinality(String),
    `size_step` LowCardinality(String),
    `price_figures` UInt8,
    `expires_ns` Nullable(Int64),
    `expires` Nullable(DateTime64(9, 'UTC')),
    `strike` Nullable(Decimal(38, 19)),
    `option_side` LowCardinality(String),
    `status` LowCardinality(String),
    `listed_day` Nullable(Date32),
    `delisted_day` Nullable(Date32),
    `alias_of` String,
    `figi` String,
    `market` LowCardinality(String),
    `title` String,
    `isin` String,
    `recorded_ns` Int64,
    `recorded` DateTime64(9, 'UTC')
)
AS SELECT *
FROM instruments_at(known_time = '2262-01-01 00:00:00');

CREATE VIEW IF NOT EXISTS instruments_at
AS SELECT
    exchange,
    venue_symbol,
    symbol,
    instrument_class,
    base,
    quote,
    settle,
    underlying,
    contract_size,
    size_unit,
    price_step,
    size_step,
    price_figures,
    expires_ns,
    fromUnixTimestamp64Nano(expires_ns, 'UTC') AS expires,
    strike,
    option_side,
    status,
    listed_day,
    delisted_day,
    alias_of,
    figi,
    market,
    title,
    isin,
    recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT *
    FROM instruments_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY
        exchange,
        venue_symbol
)
WHERE NOT withdrawn;

CREATE VIEW IF NOT EXISTS liquidations
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    last_price_exact AS last_price,
    volume_exact AS volume,
    side,
    size_unit
FROM market_internal.others_stored
FINAL
WHERE kind = 'liquidation'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS observations
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `observation_date` LowCardinality(String),
    `vintage_date` LowCardinality(String),
    `value` Nullable(Decimal(76, 30)),
    `unit` LowCardinality(String),
    `release` LowCardinality(String)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    observation_date,
    vintage_date,
    value_exact AS value,
    unit,
    release
FROM market_internal.observations_stored
FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS observations_asof
AS SELECT
    exchange,
    symbol,
    toDate32(observation_date) AS observation_date,
    toDate32(vintage_date) AS vintage_date,
    value,
    unit,
    release,
    known_time
FROM
(
    SELECT
        exchange,
        symbol,
        observation_date,
        vintage_date,
        value,
        unit,
        release,
        flags,
        least(receive_time, key_time + toIntervalHour(30)) AS known_time
    FROM observations
    WHERE known_time <= {at:DateTime64(9, 'UTC')}
    ORDER BY
        exchange ASC,
        symbol ASC,
        observation_date ASC,
        vintage_date DESC,
        if(receive_time <= {at:DateTime64(9, 'UTC')}, receive_time_ns, -receive_time_ns) DESC
    LIMIT 1 BY
        exchange,
        symbol,
        observation_date
)
WHERE NOT has(flags, 'withdrawn');

CREATE VIEW IF NOT EXISTS quarantine
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `code` LowCardinality(String),
    `severity` Enum8('' = 0, 'hard' = 1, 'soft' = 2),
    `rule` LowCardinality(String),
    `reason` String,
    `endpoint` LowCardinality(String),
    `receive_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `payload` String,
    `record` String,
    `outcome` Enum8('' = 0, 'held' = 1, 'published' = 2, 'still_bad' = 3, 'released' = 4),
    `outcome_time_ns` Int64,
    `stored_time` DateTime64(9, 'UTC')
)
AS SELECT
    time,
    exchange,
    symbol,
    code,
    severity,
    rule,
    reason,
    endpoint,
    receive_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    payload,
    record,
    outcome,
    outcome_time_ns,
    stored_time
FROM market_internal.quarantine_stored
FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS quotes
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `bid` Nullable(Decimal(76, 30)),
    `bid_size` Nullable(Decimal(76, 30)),
    `ask` Nullable(Decimal(76, 30)),
    `ask_size` Nullable(Decimal(76, 30)),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `market_center` LowCardinality(String)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    bid_exact AS bid,
    bid_size_exact AS bid_size,
    ask_exact AS ask,
    ask_size_exact AS ask_size,
    size_unit,
    bid_exchange,
    ask_exchange,
    conditions,
    indicators,
    tape,
    market_center
FROM market_internal.quotes_stored
FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS quotes_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM quotes
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS sessions
(
    `exchange` LowCardinality(String),
    `session_day` Date32,
    `session_kind` LowCardinality(String),
    `opens_ns` Int64,
    `opens` DateTime64(9, 'UTC'),
    `closes_ns` Int64,
    `closes` DateTime64(9, 'UTC'),
    `calendar` LowCardinality(String),
    `is_early_close` Bool,
    `origin` LowCardinality(String),
    `recorded_ns` Int64,
    `recorded` DateTime64(9, 'UTC')
)
AS SELECT *
FROM sessions_at(known_time = '2262-01-01 00:00:00');

CREATE VIEW IF NOT EXISTS sessions_at
AS SELECT
    exchange,
    session_day,
    session_kind,
    opens_ns,
    fromUnixTimestamp64Nano(opens_ns, 'UTC') AS opens,
    closes_ns,
    fromUnixTimestamp64Nano(closes_ns, 'UTC') AS closes,
    calendar,
    is_early_close,
    origin,
    recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT *
    FROM sessions_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY
        exchange,
        session_day,
        session_kind,
        opens_ns
)
WHERE NOT withdrawn;

CREATE VIEW IF NOT EXISTS stats
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `mark_price` Nullable(Decimal(76, 30)),
    `index_price` Nullable(Decimal(76, 30)),
    `open_interest` Nullable(Decimal(76, 30)),
    `funding_rate` Nullable(Decimal(76, 30)),
    `next_funding_time_ns` Int64
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    mark_price_exact AS mark_price,
    index_price_exact AS index_price,
    open_interest_exact AS open_interest,
    funding_rate_exact AS funding_rate,
    next_funding_time_ns
FROM market_internal.others_stored
FINAL
WHERE kind = 'stats'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS statuses
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(76, 30)),
    `limit_up` Nullable(Decimal(76, 30)),
    `reason` String,
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    status,
    status_code,
    limit_down_exact AS limit_down,
    limit_up_exact AS limit_up,
    reason,
    indicators,
    tape
FROM market_internal.others_stored
FINAL
WHERE kind = 'status'
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS statuses_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM statuses
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS symbol_names
(
    `exchange` LowCardinality(String),
    `instrument_id` String,
    `first_day` Date32,
    `symbol` LowCardinality(String),
    `figi` String,
    `title` String,
    `origin` LowCardinality(String),
    `recorded_ns` Int64,
    `recorded` DateTime64(9, 'UTC')
)
AS SELECT *
FROM symbol_names_at(known_time = '2262-01-01 00:00:00');

CREATE VIEW IF NOT EXISTS symbol_names_at
AS SELECT
    exchange,
    instrument_id,
    first_day,
    symbol,
    figi,
    title,
    origin,
    recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT *
    FROM symbol_names_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY
        exchange,
        instrument_id,
        first_day
)
WHERE NOT withdrawn;

CREATE VIEW IF NOT EXISTS symbol_spans
(
    `exchange` LowCardinality(String),
    `instrument_id` String,
    `symbol` LowCardinality(String),
    `first_day` Date32,
    `until_day` Nullable(Date32),
    `current_symbol` String,
    `figi` String,
    `title` String,
    `origin` LowCardinality(String)
)
AS SELECT
    exchange,
    instrument_id,
    symbol,
    first_day,
    until_day,
    current_symbol,
    figi,
    title,
    origin
FROM
(
    SELECT
        exchange,
        instrument_id,
        symbol,
        first_day,
        figi,
        title,
        origin,
        leadInFrame(toNullable(first_day)) OVER whole AS until_day,
        anyLast(symbol) OVER whole AS current_symbol
    FROM symbol_names
    WINDOW whole AS (PARTITION BY exchange, instrument_id ORDER BY first_day ASC ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE symbol != '';

CREATE VIEW IF NOT EXISTS symbol_splits
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `effective_day` Date32,
    `factor` Nullable(Float64),
    `stored_time` DateTime64(3, 'UTC')
)
AS SELECT
    exchange,
    symbol,
    effective_day,
    toFloat64(shares_before) / toFloat64(shares_after) AS factor,
    toDateTime64(recorded, 3, 'UTC') AS stored_time
FROM corporate_actions
WHERE action_kind IN ('split', 'stock_dividend');

CREATE VIEW IF NOT EXISTS symbols_at
AS SELECT
    exchange,
    symbol,
    instrument_id,
    current_symbol,
    figi,
    title
FROM symbol_spans
WHERE (first_day <= toDate32({of_time:DateTime64(9, 'UTC')}, 'America/New_York')) AND ((until_day IS NULL) OR (until_day > toDate32({of_time:DateTime64(9, 'UTC')}, 'America/New_York')));

CREATE VIEW IF NOT EXISTS ticks
(
    `id` String,
    `symbol` LowCardinality(String),
    `ts` DateTime64(9, 'UTC'),
    `bid` Nullable(Decimal(76, 30)),
    `ask` Nullable(Decimal(76, 30)),
    `last` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `provider` LowCardinality(String)
)
AS SELECT
    record_key AS id,
    symbol,
    time AS ts,
    NULL AS bid,
    NULL AS ask,
    last_price AS last,
    volume,
    exchange AS provider
FROM trades
UNION ALL
SELECT
    record_key AS id,
    symbol,
    time AS ts,
    bid,
    ask,
    NULL AS last,
    NULL AS volume,
    exchange AS provider
FROM quotes;

CREATE VIEW IF NOT EXISTS trades
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String)
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    last_price_exact AS last_price,
    volume_exact AS volume,
    side,
    trade_id,
    size_unit,
    market_center,
    trf_id,
    conditions,
    tape
FROM market_internal.trades_stored
FINAL
SETTINGS do_not_merge_across_partitions_select_final = 1;

CREATE VIEW IF NOT EXISTS trades_corrected
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `side` String,
    `trade_id` String,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `flags` Array(LowCardinality(String)),
    `corrected` Bool,
    `key_time` DateTime64(9, 'UTC'),
    `sets_price` UInt8,
    `sets_extended_price` UInt8,
    `adds_volume` UInt8
)
AS WITH
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT
                vocabulary,
                groupArray(code) AS codes
            FROM market_internal.sale_conditions
            GROUP BY vocabulary
        )
    ) AS any_codes,
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT
                vocabulary,
                groupArray(code) AS codes
            FROM market_internal.sale_conditions
            WHERE NOT extended_hours
            GROUP BY vocabulary
        )
    ) AS regular_codes,
    (
        SELECT CAST((groupArray(vocabulary), groupArray(codes)), 'Map(String, Array(String))')
        FROM
        (
            SELECT
                vocabulary,
                groupArray(code) AS codes
            FROM market_internal.sale_conditions
            WHERE NOT adds_volume
            GROUP BY vocabulary
        )
    ) AS no_volume_codes,
    multiIf(size_unit != 'share', 'other', startsWith(exchange, 'polygon'), 'polygon', tape = 'C', 'utp', 'cta') AS vocabulary
SELECT
    time,
    exchange,
    symbol,
    record_key,
    venue_symbol,
    channel,
    last_price,
    volume,
    side,
    trade_id,
    size_unit,
    market_center,
    conditions,
    tape,
    source,
    flags,
    corrected,
    key_time,
    NOT hasAny(conditions, any_codes[vocabulary]) AS sets_price,
    (NOT sets_price) AND (NOT hasAny(conditions, regular_codes[vocabulary])) AS sets_extended_price,
    NOT hasAny(conditions, no_volume_codes[vocabulary]) AS adds_volume
FROM
(
    SELECT
        time,
        exchange,
        symbol,
        record_key,
        venue_symbol,
        channel,
        last_price,
        volume,
        side,
        trade_id,
        size_unit,
        market_center,
        conditions,
        tape,
        source,
        flags,
        false AS corrected,
        key_time
    FROM trades
    WHERE (exchange, symbol, record_key) NOT IN (
        SELECT
            exchange,
            symbol,
            voided_key
        FROM market_internal.corrections_keyed
        UNION ALL
        SELECT
            exchange,
            symbol,
            replacement_key
        FROM market_internal.corrections_keyed
        WHERE replaces
    )
    UNION ALL
    SELECT
        time,
        exchange,
        symbol,
        if(trade_id = '', record_key, replacement_key) AS record_key,
        venue_symbol,
        channel,
        last_price,
        volume,
        '' AS side,
        trade_id,
        size_unit,
        market_center,
        conditions,
        tape,
        source,
        flags,
        true AS corrected,
        key_time
    FROM market_internal.corrections_keyed
    WHERE replaces AND ((exchange, symbol, replacement_key) NOT IN (
        SELECT
            exchange,
            symbol,
            voided_key
        FROM market_internal.corrections_keyed
        WHERE NOT (replaces AND (replacement_key = voided_key))
    ))
);

CREATE VIEW IF NOT EXISTS trades_corrected_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM trades_corrected
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS trades_of
AS WITH
    (
        SELECT groupArray((symbol, first_day, until_day))
        FROM symbol_spans
        WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    ) AS spans
SELECT
    {current_symbol:String} AS current_symbol,
    *
FROM trades
WHERE (exchange = {of_exchange:String}) AND (symbol IN (
    SELECT symbol
    FROM symbol_spans
    WHERE (exchange = {of_exchange:String}) AND (current_symbol = {current_symbol:String})
    UNION ALL
    SELECT {current_symbol:String}
)) AND (arrayExists(span -> (((span.1) = symbol) AND ((span.2) <= toDate32(time, 'America/New_York')) AND (isNull(span.3) OR (toDate32(time, 'America/New_York') < (span.3)))), spans) OR ({current_symbol:String} NOT IN (
    SELECT symbol
    FROM symbol_spans
    WHERE exchange = {of_exchange:String}
)));

CREATE VIEW IF NOT EXISTS market_internal.agg_trades_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'agg_trade';

CREATE VIEW IF NOT EXISTS market_internal.bars_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'bar';

CREATE VIEW IF NOT EXISTS market_internal.book_updates_stored
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `book_action` Enum8('' = 0, 'snapshot' = 1, 'absolute' = 2, 'relative' = 3),
    `side` String,
    `level` Int64,
    `price` Nullable(Decimal(76, 30)),
    `size` Nullable(Decimal(76, 30)),
    `orders` Nullable(Int64),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `depth` UInt32
)
AS SELECT
    time,
    exchange,
    symbol,
    record_key,
    key_time,
    venue_symbol,
    channel,
    event_time,
    receive_time,
    stored_time,
    event_time_ns,
    receive_time_ns,
    publish_time_ns,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence,
    first_sequence,
    previous_sequence,
    flags,
    book_action,
    side,
    greatest(level_from_1, 1) - 1 AS level,
    price,
    size,
    orders,
    size_unit,
    depth
FROM market_internal.books_stored
LEFT ARRAY JOIN
    arrayConcat(arrayMap(price -> 'bid', bid_prices), arrayMap(price -> 'ask', ask_prices)) AS side,
    arrayConcat(arrayEnumerate(bid_prices), arrayEnumerate(ask_prices)) AS level_from_1,
    arrayMap(price -> toNullable(price), arrayConcat(bid_prices, ask_prices)) AS price,
    arrayMap(size -> toNullable(size), arrayConcat(bid_sizes, ask_sizes)) AS size,
    arrayConcat(if(empty(bid_orders), arrayMap(price -> CAST(NULL, 'Nullable(Int64)'), bid_prices), bid_orders), if(empty(ask_orders), arrayMap(price -> CAST(NULL, 'Nullable(Int64)'), ask_prices), ask_orders)) AS orders;

CREATE VIEW IF NOT EXISTS market_internal.corrections_keyed
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `record_key` String,
    `key_time` DateTime64(9, 'UTC'),
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_time` Nullable(DateTime64(9, 'UTC')),
    `receive_time` DateTime64(9, 'UTC'),
    `stored_time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64,
    `publish_time_ns` Int64,
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `trade_id` String,
    `last_price` Nullable(Decimal(76, 30)),
    `volume` Nullable(Decimal(76, 30)),
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `voided_key` String,
    `replacement_key` String,
    `replaces` UInt8
)
AS SELECT
    *,
    substring(record_key, 1, (length(record_key) - length(substringIndex(record_key, '/', -1))) - 1) AS voided_key,
    concat(substring(voided_key, 1, length(voided_key) - length(substringIndex(voided_key, '/', -1))), if(trade_id = '', substringIndex(voided_key, '/', -1), trade_id)) AS replacement_key,
    (correction = 'correct') AND (isNotNull(last_price) OR isNotNull(volume)) AS replaces
FROM corrections;

CREATE VIEW IF NOT EXISTS market_internal.corrections_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'correction';

CREATE VIEW IF NOT EXISTS market_internal.gaps_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'gap';

CREATE VIEW IF NOT EXISTS market_internal.liquidations_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'liquidation';

CREATE VIEW IF NOT EXISTS market_internal.sale_conditions
(
    `vocabulary` String,
    `code` String,
    `adds_volume` Bool,
    `extended_hours` Bool
)
AS SELECT *
FROM `VALUES`('vocabulary String, code String, adds_volume Bool, extended_hours Bool', ('polygon', '2', true, false), ('polygon', '5', true, false), ('polygon', '7', true, false), ('polygon', '10', true, false), ('polygon', '12', true, true), ('polygon', '13', true, false), ('polygon', '15', false, false), ('polygon', '16', false, false), ('polygon', '20', true, false), ('polygon', '21', true, false), ('polygon', '22', true, false), ('polygon', '29', true, false), ('polygon', '32', true, false), ('polygon', '33', true, false), ('polygon', '37', true, false), ('polygon', '38', false, false), ('polygon', '52', true, false), ('polygon', '53', true, false), ('cta', 'B', true, false), ('cta', 'W', true, false), ('cta', 'G', true, false), ('cta', 'C', true, false), ('cta', '4', true, false), ('cta', 'T', true, true), ('cta', 'U', true, false), ('cta', 'M', false, false), ('cta', 'Q', false, false), ('cta', 'N', true, false), ('cta', 'H', true, false), ('cta', 'P', true, false), ('cta', 'R', true, false), ('cta', 'Z', true, false), ('cta', 'I', true, false), ('cta', '9', false, false), ('cta', 'V', true, false), ('cta', '7', true, false), ('utp', 'W', true, false), ('utp', 'G', true, false), ('utp', 'C', true, false), ('utp', '4', true, false), ('utp', 'T', true, true), ('utp', 'U', true, false), ('utp', 'M', false, false), ('utp', 'Q', false, false), ('utp', 'N', true, false), ('utp', 'H', true, false), ('utp', 'P', true, false), ('utp', 'R', true, false), ('utp', 'Z', true, false), ('utp', 'I', true, false), ('utp', '9', false, false), ('utp', 'V', true, false), ('utp', '7', true, false), ('other', 'INSURANCE_FUND', false, false), ('other', 'ADL', false, false));

CREATE VIEW IF NOT EXISTS market_internal.stats_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'stats';

CREATE VIEW IF NOT EXISTS market_internal.statuses_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `version` UInt128,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `kind` Enum8('' = 0, 'trade' = 1, 'quote' = 2, 'book' = 3, 'bar' = 4, 'gap' = 5, 'agg_trade' = 6, 'correction' = 7, 'status' = 8, 'stats' = 9, 'liquidation' = 10),
    `last_price` Nullable(Decimal(38, 19)),
    `volume` Nullable(Decimal(38, 19)),
    `side` Enum8('' = 0, 'buy' = 1, 'sell' = 2),
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Enum8('' = 0, 'base' = 1, 'quote' = 2, 'contract' = 3, 'share' = 4, 'round_lot' = 5),
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(Decimal(38, 19)),
    `high` Nullable(Decimal(38, 19)),
    `low` Nullable(Decimal(38, 19)),
    `close` Nullable(Decimal(38, 19)),
    `vwap` Nullable(Decimal(38, 19)),
    `quote_volume` Nullable(Decimal(38, 19)),
    `taker_buy_volume` Nullable(Decimal(38, 19)),
    `bar_state` Enum8('' = 0, 'open' = 1, 'closed' = 2, 'revised' = 3),
    `original_trade_id` String,
    `correction` Enum8('' = 0, 'correct' = 1, 'cancel' = 2, 'error' = 3),
    `gap_kind` Enum8('' = 0, 'disconnect' = 1, 'sequence' = 2, 'checksum' = 3, 'stale' = 4, 'overflow' = 5, 'source_hole' = 6, 'start' = 7, 'reset' = 8, 'join' = 9, 'quarantine' = 10),
    `gap_state` Enum8('' = 0, 'open' = 1, 'repaired' = 2, 'source_hole' = 3, 'unrepairable' = 4),
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `status` Enum8('' = 0, 'trading' = 1, 'halted' = 2, 'paused' = 3, 'auction' = 4, 'closed' = 5),
    `status_code` LowCardinality(String),
    `limit_down` Nullable(Decimal(38, 19)),
    `limit_up` Nullable(Decimal(38, 19)),
    `mark_price` Nullable(Decimal(38, 19)),
    `index_price` Nullable(Decimal(38, 19)),
    `open_interest` Nullable(Decimal(38, 19)),
    `funding_rate` Nullable(Decimal(38, 19)),
    `next_funding_time_ns` Int64,
    `attempts` UInt32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `record_key` String,
    `time` DateTime64(9, 'UTC'),
    `event_time_ns` Int64,
    `receive_time_ns` Int64
)
AS SELECT
    *,
    record_key,
    time,
    event_time_ns,
    receive_time_ns
FROM market_internal.others_stored
WHERE kind = 'status';

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.books_fan_out TO market_internal.books_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `book_action` Int32,
    `bid_count` UInt64,
    `prices_narrow` Array(Decimal(18, 8)),
    `prices_wide` Array(Decimal(38, 19)),
    `sizes_narrow` Array(Decimal(18, 8)),
    `sizes_wide` Array(Decimal(38, 19)),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `size_unit` Int32,
    `depth` UInt32
)
AS WITH
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_prices, ask_prices)) AS prices,
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_sizes, ask_sizes)) AS sizes,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), prices) AS prices_cut,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), sizes) AS sizes_cut,
    arrayAll((cut, sent) -> (cut = sent), prices_cut, prices) AND arrayAll((cut, sent) -> (cut = sent), sizes_cut, sizes) AS fits
SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    book_action,
    length(bid_prices) AS bid_count,
    if(fits, prices_cut, []) AS prices_narrow,
    if(fits, [], prices) AS prices_wide,
    if(fits, sizes_cut, []) AS sizes_narrow,
    if(fits, [], sizes) AS sizes_wide,
    bid_orders,
    ask_orders,
    size_unit,
    depth
FROM market_internal.market_data
WHERE kind = 3;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_books_fan_out TO market_internal.books_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `book_action` Int32,
    `bid_count` UInt64,
    `prices_narrow` Array(Decimal(18, 8)),
    `prices_wide` Array(Decimal(38, 19)),
    `sizes_narrow` Array(Decimal(18, 8)),
    `sizes_wide` Array(Decimal(38, 19)),
    `bid_orders` Array(Int64),
    `ask_orders` Array(Int64),
    `size_unit` Int32,
    `depth` UInt32
)
AS WITH
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_prices, ask_prices)) AS prices,
    arrayMap(text -> toDecimal128(text, 19), arrayConcat(bid_sizes, ask_sizes)) AS sizes,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), prices) AS prices_cut,
    arrayMap(sent -> accurateCastOrDefault(sent, 'Decimal(18, 8)'), sizes) AS sizes_cut,
    arrayAll((cut, sent) -> (cut = sent), prices_cut, prices) AND arrayAll((cut, sent) -> (cut = sent), sizes_cut, sizes) AS fits
SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    book_action,
    length(bid_prices) AS bid_count,
    if(fits, prices_cut, []) AS prices_narrow,
    if(fits, [], prices) AS prices_wide,
    if(fits, sizes_cut, []) AS sizes_narrow,
    if(fits, [], sizes) AS sizes_wide,
    bid_orders,
    ask_orders,
    size_unit,
    depth
FROM market_internal.frequent_market_data
WHERE kind = 3;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_quotes_fan_out TO market_internal.quotes_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `bid` Nullable(String),
    `bid_size` Nullable(String),
    `ask` Nullable(String),
    `ask_size` Nullable(String),
    `size_unit` Int32,
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `market_center` LowCardinality(String)
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    bid,
    bid_size,
    ask,
    ask_size,
    size_unit,
    bid_exchange,
    ask_exchange,
    conditions,
    indicators,
    tape,
    market_center
FROM market_internal.frequent_market_data
WHERE kind = 2;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.frequent_trades_fan_out TO market_internal.trades_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `last_price` Nullable(String),
    `volume` Nullable(String),
    `side` Int32,
    `trade_id_is_key` Bool,
    `trade_id_own` String,
    `size_unit` Int32,
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String)
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    last_price,
    volume,
    side,
    trade_id_is_key,
    trade_id_own,
    size_unit,
    market_center,
    trf_id,
    conditions,
    tape
FROM market_internal.frequent_market_data
WHERE kind = 1;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.observations_fan_out TO market_internal.observations_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `observation_date` LowCardinality(String),
    `vintage_date` LowCardinality(String),
    `value` Nullable(String),
    `unit` LowCardinality(String),
    `release` LowCardinality(String)
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    observation_date,
    vintage_date,
    value,
    unit,
    release
FROM market_internal.market_data
WHERE kind = 11;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.others_fan_out TO market_internal.others_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `version` UInt128,
    `kind` Int32,
    `last_price` Nullable(String),
    `volume` Nullable(String),
    `side` Int32,
    `trade_id` String,
    `first_trade_id` String,
    `last_trade_id` String,
    `trade_count` Int64,
    `size_unit` Int32,
    `market_center` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `interval` LowCardinality(String),
    `open` Nullable(String),
    `high` Nullable(String),
    `low` Nullable(String),
    `close` Nullable(String),
    `vwap` Nullable(String),
    `quote_volume` Nullable(String),
    `taker_buy_volume` Nullable(String),
    `bar_state` Int32,
    `original_trade_id` String,
    `correction` Int32,
    `gap_kind` Int32,
    `gap_state` Int32,
    `from_sequence` Nullable(Int64),
    `to_sequence` Nullable(Int64),
    `from_time_ns` Int64,
    `to_time_ns` Int64,
    `reason` String,
    `attempts` Int32,
    `repaired_rows` Int64,
    `detected_time_ns` Int64,
    `status` Int32,
    `status_code` LowCardinality(String),
    `limit_down` Nullable(String),
    `limit_up` Nullable(String),
    `mark_price` Nullable(String),
    `index_price` Nullable(String),
    `open_interest` Nullable(String),
    `funding_rate` Nullable(String),
    `next_funding_time_ns` Int64
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    multiIf(kind = 4, (bitShiftLeft(toUInt128(bar_state), 112) + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32)) + parser_version, kind = 5, bitShiftLeft(toUInt128(receive_time_ns), 32) + toUInt8(gap_state), kind = 7, (bitShiftLeft(toUInt128(correction = 3), 33) + bitShiftLeft(toUInt128(isNotNull(last_price)), 32)) + parser_version, toUInt128(parser_version)) AS version,
    kind,
    last_price,
    volume,
    side,
    trade_id,
    first_trade_id,
    last_trade_id,
    trade_count,
    size_unit,
    market_center,
    conditions,
    indicators,
    tape,
    interval,
    open,
    high,
    low,
    close,
    vwap,
    quote_volume,
    taker_buy_volume,
    bar_state,
    original_trade_id,
    correction,
    gap_kind,
    gap_state,
    from_sequence,
    to_sequence,
    from_time_ns,
    to_time_ns,
    reason,
    attempts,
    repaired_rows,
    detected_time_ns,
    status,
    status_code,
    limit_down,
    limit_up,
    mark_price,
    index_price,
    open_interest,
    funding_rate,
    next_funding_time_ns
FROM market_internal.market_data
WHERE (kind > 3) AND (kind < 11);

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.quarantine_fan_out TO market_internal.quarantine_stored
(
    `time` DateTime64(9, 'UTC'),
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `code` LowCardinality(String),
    `severity` Enum8('' = 0, 'hard' = 1, 'soft' = 2),
    `rule` LowCardinality(String),
    `reason` String,
    `endpoint` LowCardinality(String),
    `receive_time_ns` Int64,
    `source` Enum8('' = 0, 'stream' = 1, 'replay' = 2, 'repair' = 3, 'backfill' = 4),
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `payload` String,
    `record` String,
    `outcome` Enum8('' = 0, 'held' = 1, 'published' = 2, 'still_bad' = 3, 'released' = 4),
    `outcome_time_ns` Int64,
    `version` UInt128,
    `stored_time` DateTime64(9, 'UTC')
)
AS SELECT
    fromUnixTimestamp64Nano(receive_time_ns, 'UTC') AS time,
    exchange,
    symbol,
    code,
    severity,
    rule,
    reason,
    endpoint,
    receive_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    payload,
    record,
    outcome,
    outcome_time_ns,
    bitShiftLeft(toUInt128(outcome_time_ns), 32) + parser_version AS version,
    now64(9, 'UTC') AS stored_time
FROM market_internal.quarantined;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.quotes_fan_out TO market_internal.quotes_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `bid` Nullable(String),
    `bid_size` Nullable(String),
    `ask` Nullable(String),
    `ask_size` Nullable(String),
    `size_unit` Int32,
    `bid_exchange` LowCardinality(String),
    `ask_exchange` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `indicators` Array(LowCardinality(String)),
    `tape` LowCardinality(String),
    `market_center` LowCardinality(String)
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    bid,
    bid_size,
    ask,
    ask_size,
    size_unit,
    bid_exchange,
    ask_exchange,
    conditions,
    indicators,
    tape,
    market_center
FROM market_internal.market_data
WHERE kind = 2;

CREATE MATERIALIZED VIEW IF NOT EXISTS market_internal.trades_fan_out TO market_internal.trades_stored
(
    `exchange` LowCardinality(String),
    `symbol` LowCardinality(String),
    `key_time` DateTime64(9, 'UTC'),
    `key_prefix` String,
    `key_number` UInt64,
    `venue_symbol` LowCardinality(String),
    `channel` LowCardinality(String),
    `event_offset` Nullable(Int64),
    `receive_offset` Int64,
    `publish_offset` Nullable(Int64),
    `participant_time_ns` Int64,
    `source` Int32,
    `connection_id` LowCardinality(String),
    `frame_sequence` Int64,
    `frame_index` Int32,
    `parser_version` UInt32,
    `sequence_is_key` Bool,
    `sequence_own` Nullable(Int64),
    `first_sequence` Nullable(Int64),
    `previous_sequence` Nullable(Int64),
    `flags` Array(LowCardinality(String)),
    `stored_time` DateTime64(9, 'UTC'),
    `wide_decimals` String,
    `last_price` Nullable(String),
    `volume` Nullable(String),
    `side` Int32,
    `trade_id_is_key` Bool,
    `trade_id_own` String,
    `size_unit` Int32,
    `market_center` LowCardinality(String),
    `trf_id` LowCardinality(String),
    `conditions` Array(LowCardinality(String)),
    `tape` LowCardinality(String)
)
AS SELECT
    exchange,
    symbol,
    key_time,
    key_prefix,
    key_number,
    venue_symbol,
    channel,
    event_offset,
    receive_offset,
    publish_offset,
    participant_time_ns,
    source,
    connection_id,
    frame_sequence,
    frame_index,
    parser_version,
    sequence_is_key,
    sequence_own,
    first_sequence,
    previous_sequence,
    flags,
    stored_time,
    wide_decimals,
    last_price,
    volume,
    side,
    trade_id_is_key,
    trade_id_own,
    size_unit,
    market_center,
    trf_id,
    conditions,
    tape
FROM market_internal.market_data
WHERE kind = 1;
