-- When markets are open, of each venue: every session since 2003 and as far ahead as its calendar tells. Rows are added,
-- never changed (etl/model/reference.py): sessions_history has all of them, sessions what holds now, and
-- sessions_at(known_time = '2026-01-31 12:00:00') what was known then.
CREATE TABLE IF NOT EXISTS sessions_history
(
    exchange        LowCardinality(String),
    session_day     Date32,
    session_kind    LowCardinality(String),
    opens_ns        Int64,
    closes_ns       Int64,
    calendar        LowCardinality(String),
    is_early_close  Bool,
    origin          LowCardinality(String),
    recorded_ns     Int64,
    withdrawn       Bool,
    stored_time     DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, session_day, session_kind, opens_ns, recorded_ns);

CREATE OR REPLACE VIEW sessions_at AS
SELECT
    exchange, session_day, session_kind, opens_ns, fromUnixTimestamp64Nano(opens_ns, 'UTC') AS opens, closes_ns,
    fromUnixTimestamp64Nano(closes_ns, 'UTC') AS closes, calendar, is_early_close, origin, recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM sessions_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, session_day, session_kind, opens_ns
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW sessions AS SELECT * FROM sessions_at(known_time = '2262-01-01 00:00:00');
