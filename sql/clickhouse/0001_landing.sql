-- Where inserts arrive: the columns of MarketData and Quarantined (etl/wire/market_data.proto), kept nowhere.
-- Materialized views pass each row on to the table of its kind. Lowest server version: 25.8.
--
-- The MATERIALIZED columns are made once for a block, before any view sees it. The constraints are checked there
-- too, so that a record that no view could store is refused before a part of its batch is written.

CREATE TABLE IF NOT EXISTS market_data
(
    kind                  UInt8,
    exchange              LowCardinality(String),
    symbol                LowCardinality(String),
    venue_symbol          LowCardinality(String),
    channel               LowCardinality(String),
    event_time_ns         Int64,
    receive_time_ns       Int64,
    source                UInt8,
    connection_id         LowCardinality(String),
    frame_sequence        Int64,
    frame_index           Int32,
    record_key            String,
    key_time_ns           Int64,
    sequence              Nullable(Int64),
    parser_version        UInt32,
    first_sequence        Nullable(Int64),
    previous_sequence     Nullable(Int64),
    publish_time_ns       Int64,
    participant_time_ns   Int64,

    last_price            Nullable(Decimal(38, 19)),
    volume                Nullable(Decimal(38, 19)),
    side                  UInt8,
    trade_id              String,
    first_trade_id        String,
    last_trade_id         String,
    trade_count           Int64,
    market_center         LowCardinality(String),
    trf_id                LowCardinality(String),
    conditions            Array(LowCardinality(String)),
    indicators            Array(LowCardinality(String)),
    tape                  LowCardinality(String),
    size_unit             UInt8,

    bid                   Nullable(Decimal(38, 19)),
    bid_size              Nullable(Decimal(38, 19)),
    ask                   Nullable(Decimal(38, 19)),
    ask_size              Nullable(Decimal(38, 19)),
    bid_exchange          LowCardinality(String),
    ask_exchange          LowCardinality(String),

    book_action           UInt8,
    bid_prices            Array(Decimal(38, 19)),
    bid_sizes             Array(Decimal(38, 19)),
    ask_prices            Array(Decimal(38, 19)),
    ask_sizes             Array(Decimal(38, 19)),
    bid_orders            Array(Int64),
    ask_orders            Array(Int64),
    depth                 UInt32,

    interval              LowCardinality(String),
    open                  Nullable(Decimal(38, 19)),
    high                  Nullable(Decimal(38, 19)),
    low                   Nullable(Decimal(38, 19)),
    close                 Nullable(Decimal(38, 19)),
    vwap                  Nullable(Decimal(38, 19)),
    quote_volume          Nullable(Decimal(38, 19)),
    taker_buy_volume      Nullable(Decimal(38, 19)),
    bar_state             UInt8,

    original_trade_id     String,
    correction            UInt8,

    gap_kind              UInt8,
    gap_state             UInt8,
    from_sequence         Nullable(Int64),
    to_sequence           Nullable(Int64),
    from_time_ns          Int64,
    to_time_ns            Int64,
    reason                String,

    status                UInt8,
    status_code           LowCardinality(String),
    limit_down            Nullable(Decimal(38, 19)),
    limit_up              Nullable(Decimal(38, 19)),

    mark_price            Nullable(Decimal(38, 19)),
    index_price           Nullable(Decimal(38, 19)),
    open_interest         Nullable(Decimal(38, 19)),
    funding_rate          Nullable(Decimal(38, 19)),
    next_funding_time_ns  Int64,

    flags                 Array(LowCardinality(String)),

    -- record_key = key_prefix + key_number: a number after the last '/' (or the whole key) is kept as a number,
    -- which costs a fraction of its text. 0 = the key does not end in one, or not in its plainest spelling.
    key_tail          String         MATERIALIZED substringIndex(record_key, '/', -1),
    key_number        UInt64         MATERIALIZED if(toString(toUInt64OrZero(key_tail)) = key_tail, toUInt64OrZero(key_tail), 0),
    key_prefix        String         MATERIALIZED if(key_number = 0, record_key, substring(record_key, 1, length(record_key) - length(key_tail))),
    key_time          DateTime64(9, 'UTC')  MATERIALIZED fromUnixTimestamp64Nano(key_time_ns, 'UTC'),
    time              DateTime64(9, 'UTC')  MATERIALIZED fromUnixTimestamp64Nano(if(event_time_ns = 0, receive_time_ns, event_time_ns), 'UTC'),
    stored_time       DateTime64(9, 'UTC')  MATERIALIZED now64(9, 'UTC'),

    -- Times, sequences and ids lie close to one another: their differences are small, or 0. NULL = not sent; what is
    -- under a NULL is stored too, so it is made 0 first.
    event_offset        Nullable(Int64)  MATERIALIZED if(event_time_ns = 0, NULL, if(event_time_ns = 0, 0, event_time_ns - key_time_ns)),
    receive_offset      Int64            MATERIALIZED receive_time_ns - if(event_time_ns = 0, key_time_ns, event_time_ns),
    publish_offset      Nullable(Int64)  MATERIALIZED if(publish_time_ns = 0, NULL, if(publish_time_ns = 0, 0, publish_time_ns - key_time_ns)),
    participant_offset  Nullable(Int64)  MATERIALIZED if(participant_time_ns = 0, NULL, if(participant_time_ns = 0, 0, participant_time_ns - key_time_ns)),
    sequence_is_key     Bool             MATERIALIZED ifNull(sequence = toInt64(key_number), false) AND key_number != 0,
    sequence_own        Nullable(Int64)  MATERIALIZED if(sequence_is_key, NULL, if(sequence_is_key, 0, sequence)),
    first_offset        Nullable(Int64)  MATERIALIZED if(isNull(first_sequence), NULL, if(isNull(first_sequence), 0, assumeNotNull(first_sequence) - ifNull(sequence, 0))),
    previous_offset     Nullable(Int64)  MATERIALIZED if(isNull(previous_sequence), NULL, if(isNull(previous_sequence), 0, assumeNotNull(previous_sequence) - ifNull(sequence, 0))),
    trade_id_is_key     Bool             MATERIALIZED trade_id = key_tail,
    trade_id_own        String           MATERIALIZED if(trade_id_is_key, '', trade_id),

    -- Among rows of one identity the greatest version stays: of bars the further state, then the later one; of gaps
    -- the later one, then the further state; of all else the newer parser's.
    version             UInt128          MATERIALIZED multiIf(
        kind = 4, bitShiftLeft(toUInt128(bar_state), 112)
            + bitShiftLeft(toUInt128(if(publish_time_ns = 0, receive_time_ns, publish_time_ns)), 32) + parser_version,
        kind = 5, bitShiftLeft(toUInt128(receive_time_ns), 32) + gap_state,
        toUInt128(parser_version)),

    CONSTRAINT kind_known CHECK kind BETWEEN 1 AND 10,
    CONSTRAINT identity_present CHECK exchange != '' AND record_key != '' AND key_time_ns != 0,
    CONSTRAINT names_known CHECK source <= 4 AND side <= 2 AND size_unit <= 5 AND book_action <= 3 AND bar_state <= 3
        AND correction <= 3 AND gap_kind <= 10 AND gap_state <= 4 AND status <= 5,
    CONSTRAINT levels_parallel CHECK length(bid_prices) = length(bid_sizes) AND length(ask_prices) = length(ask_sizes)
        AND (empty(bid_orders) OR length(bid_orders) = length(bid_prices))
        AND (empty(ask_orders) OR length(ask_orders) = length(ask_prices))
)
ENGINE = Null;

CREATE TABLE IF NOT EXISTS quarantined
(
    code             LowCardinality(String),
    severity         UInt8,
    rule             LowCardinality(String),
    reason           String,
    exchange         LowCardinality(String),
    symbol           LowCardinality(String),
    endpoint         LowCardinality(String),
    receive_time_ns  Int64,
    source           UInt8,
    connection_id    LowCardinality(String),
    frame_sequence   Int64,
    frame_index      Int32,
    parser_version   UInt32,
    payload          String,
    record           String,
    outcome          UInt8,
    outcome_time_ns  Int64,

    time             DateTime64(9, 'UTC')  MATERIALIZED fromUnixTimestamp64Nano(receive_time_ns, 'UTC'),
    version          UInt128               MATERIALIZED bitShiftLeft(toUInt128(outcome_time_ns), 32) + parser_version,
    stored_time      DateTime64(9, 'UTC')  MATERIALIZED now64(9, 'UTC'),

    CONSTRAINT names_known CHECK severity <= 2 AND source <= 4 AND outcome <= 4
)
ENGINE = Null;
