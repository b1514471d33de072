-- Splits, as the venues' reference data tells them: prices before effective_day times factor are prices after it
-- (a 4:1 split has factor 0.25). Read by symbol_statistics, so that a split is no return.
CREATE TABLE IF NOT EXISTS symbol_splits
(
    exchange       LowCardinality(String),
    symbol         LowCardinality(String),
    effective_day  Date,
    factor         Float64,
    stored_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, symbol, effective_day);
