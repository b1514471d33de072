-- Every instrument that the venues' lists tell of, and what they said of it since when. Rows are added, never changed:
-- instruments_history has all of them, each valid until the next of its key; instruments what holds now; and instruments_at
-- what was known at a time. Steps are decimal text, '' where the list does not say.
CREATE TABLE IF NOT EXISTS instruments_history
(
    exchange          LowCardinality(String),
    venue_symbol      String,
    symbol            String,
    instrument_class  LowCardinality(String),
    base              LowCardinality(String),
    quote             LowCardinality(String),
    settle            LowCardinality(String),
    underlying        LowCardinality(String),
    contract_size     LowCardinality(String),
    size_unit         LowCardinality(String),
    price_step        LowCardinality(String),
    size_step         LowCardinality(String),
    price_figures     UInt8,
    expires_ns        Nullable(Int64),
    strike            Nullable(Decimal(38, 19)),
    option_side       LowCardinality(String),
    status            LowCardinality(String),
    listed_day        Nullable(Date32),
    delisted_day      Nullable(Date32),
    alias_of          String,
    recorded_ns       Int64,
    withdrawn         Bool,
    stored_time       DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, venue_symbol, recorded_ns);

CREATE OR REPLACE VIEW instruments_at AS
SELECT
    exchange, venue_symbol, symbol, instrument_class, base, quote, settle, underlying, contract_size, size_unit,
    price_step, size_step, price_figures, expires_ns, fromUnixTimestamp64Nano(expires_ns, 'UTC') AS expires, strike, option_side,
    status, listed_day, delisted_day, alias_of, recorded_ns, fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM instruments_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, venue_symbol
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW instruments AS SELECT * FROM instruments_at(known_time = '2262-01-01 00:00:00');
