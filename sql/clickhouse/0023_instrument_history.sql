-- Ticks and lots as the venues' instrument lists told them: a row for each change, valid from the list that first said so
-- until the symbol's next row. Steps are decimal text, '' where the list does not say: what moves by 10^-25 has no column
-- of a fixed scale. The steps at a time t: argMax((price_step, size_step), valid_from) of the rows with valid_from <= t.
CREATE TABLE IF NOT EXISTS instrument_history
(
    exchange       LowCardinality(String),
    symbol         LowCardinality(String),
    valid_from     DateTime64(9, 'UTC'),
    price_step     LowCardinality(String),
    size_step      LowCardinality(String),
    price_figures  UInt8,
    stored_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, symbol, valid_from);
