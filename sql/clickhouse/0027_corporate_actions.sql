-- Splits, dividends, mergers and spin-offs as each vendor tells them (etl/model/reference.py): rows are added, never changed.
-- bars_adjusted has the factors that make a bar comparable with today's prices, bars_adjusted_at as one knew them at a time:
-- factors are computed here, never a vendor's; no table holds an adjusted price. docs/reference_data.md has the formulas.

CREATE TABLE IF NOT EXISTS corporate_actions_history
(
    exchange       LowCardinality(String),
    action_id      String,
    symbol         LowCardinality(String),
    action_kind    LowCardinality(String),
    effective_day  Date32,
    shares_before  Nullable(Decimal(38, 19)),
    shares_after   Nullable(Decimal(38, 19)),
    cash_amount    Nullable(Decimal(38, 19)),
    currency       LowCardinality(String),
    new_symbol     LowCardinality(String),
    declared_day   Nullable(Date32),
    record_day     Nullable(Date32),
    pay_day        Nullable(Date32),
    recorded_ns    Int64,
    withdrawn      Bool,
    stored_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, action_id, recorded_ns);

CREATE OR REPLACE VIEW corporate_actions_at AS
SELECT
    exchange, action_id, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, currency,
    new_symbol, declared_day, record_day, pay_day, recorded_ns, fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM corporate_actions_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, action_id
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW corporate_actions AS SELECT * FROM corporate_actions_at(known_time = '2262-01-01 00:00:00');

-- Was a table that users kept splits in, which become actions; the symbol statistics read it. Cut off behind the drop there is
-- none any more, and behind the view the same rows are added once more, under the same identities.
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

INSERT INTO corporate_actions_history
    (exchange, action_id, symbol, action_kind, effective_day, shares_before, shares_after, recorded_ns, withdrawn, stored_time)
SELECT
    exchange, concat('symbol_splits ', symbol, ' ', toString(effective_day)), symbol, 'split', effective_day,
    toDecimal128(factor, 19), 1, toUnixTimestamp64Nano(toDateTime64(stored_time, 9, 'UTC')), false, stored_time
FROM (SELECT * FROM symbol_splits ORDER BY stored_time DESC LIMIT 1 BY exchange, symbol, effective_day);

DROP TABLE IF EXISTS symbol_splits SYNC;
CREATE OR REPLACE VIEW symbol_splits AS
SELECT
    exchange, symbol, effective_day, toFloat64(shares_before) / toFloat64(shares_after) AS factor,
    toDateTime64(recorded, 3, 'UTC') AS stored_time
FROM corporate_actions
WHERE action_kind IN ('split', 'stock_dividend');

CREATE OR REPLACE VIEW bars_adjusted_at AS
WITH
    told AS
    (
        SELECT exchange, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount
        FROM
        (
            SELECT * FROM corporate_actions_history
            WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
            ORDER BY recorded_ns DESC
            LIMIT 1 BY exchange, action_id
        )
        WHERE NOT withdrawn AND action_kind IN ('split', 'stock_dividend', 'cash_dividend')
          AND effective_day <= toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')
          AND effective_day <= toDate32(now(), 'America/New_York')
    ),
    of_days AS
    (
        SELECT
            exchange, symbol, effective_day,
            arrayProduct(groupArray(
                if(isNull(shares_after), 1., toFloat64(shares_before) / toFloat64(shares_after)))) AS split_of_day,
            sum(ifNull(toFloat64(cash_amount), 0.)) AS cash
        FROM told
        GROUP BY exchange, symbol, effective_day
    ),
    closes AS
    (
        SELECT exchange, symbol, toDate32(time, 'America/New_York') AS day, argMax(toFloat64(close), receive_time_ns) AS close
        FROM bars
        WHERE interval = '1d' AND bar_state >= 2
          AND (exchange, symbol) IN (SELECT exchange, symbol FROM of_days WHERE cash > 0)
        GROUP BY exchange, symbol, day
    ),
    with_close AS
    (
        SELECT d.exchange AS exchange, d.symbol AS symbol, d.effective_day AS effective_day,
               d.split_of_day AS split_of_day, d.cash AS cash, c.close AS close_before
        FROM of_days AS d
        ASOF LEFT JOIN closes AS c ON c.exchange = d.exchange AND c.symbol = d.symbol AND c.day < d.effective_day
    ),
    factors AS
    (
        SELECT
            exchange, symbol, effective_day,
            arrayProduct(groupArray(split_of_day) OVER later) AS split_factor,
            arrayProduct(groupArray(split_of_day
                * if(cash > 0 AND close_before > 0, 1 - cash / (close_before * split_of_day), 1.)) OVER later) AS return_factor,
            max(cash > 0 AND NOT close_before > 0) OVER later AS lacks_close
        FROM with_close
        WINDOW later AS (PARTITION BY exchange, symbol ORDER BY effective_day DESC)
    )
SELECT
    b.time AS time, b.exchange AS exchange, b.symbol AS symbol, b.interval AS interval, b.open AS open, b.high AS high,
    b.low AS low, b.close AS close, b.volume AS volume, b.bar_state AS bar_state,
    if(f.split_factor > 0, f.split_factor, 1.) AS split_factor,
    if(f.split_factor > 0, f.return_factor, 1.) AS return_factor,
    f.lacks_close > 0 AS lacks_close,
    toFloat64(b.open) * split_factor AS open_split, toFloat64(b.high) * split_factor AS high_split,
    toFloat64(b.low) * split_factor AS low_split, toFloat64(b.close) * split_factor AS close_split,
    toFloat64(b.volume) / split_factor AS volume_split, toFloat64(b.close) * return_factor AS close_return
FROM (SELECT *, toDate32(time, 'America/New_York') AS day FROM bars WHERE time < {known_time:DateTime64(9, 'UTC')}) AS b
ASOF LEFT JOIN factors AS f ON f.exchange = b.exchange AND f.symbol = b.symbol AND b.day < f.effective_day;

CREATE OR REPLACE VIEW bars_adjusted AS SELECT * FROM bars_adjusted_at(known_time = '2262-01-01 00:00:00');
