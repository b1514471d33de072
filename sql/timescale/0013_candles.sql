-- What a trade's conditions keep it from (etl/model/sale_conditions.py): a trade with one of them sets no price, and counts
-- as a trade and adds to the volume only where adds_volume says so. A code means different things in different
-- vocabularies: among shares Polygon's numbers, the letters of tapes A and B (cta) and of tape C (utp), else other.
CREATE VIEW sale_conditions (vocabulary, code, adds_volume, extended_hours) AS
VALUES
    ('polygon', '2', true, false),
    ('polygon', '5', true, false),
    ('polygon', '7', true, false),
    ('polygon', '10', true, false),
    ('polygon', '12', true, true),
    ('polygon', '13', true, false),
    ('polygon', '15', false, false),
    ('polygon', '16', false, false),
    ('polygon', '20', true, false),
    ('polygon', '21', true, false),
    ('polygon', '22', true, false),
    ('polygon', '29', true, false),
    ('polygon', '32', true, false),
    ('polygon', '33', true, false),
    ('polygon', '37', true, false),
    ('polygon', '38', false, false),
    ('polygon', '52', true, false),
    ('polygon', '53', true, false),
    ('cta', 'B', true, false),
    ('cta', 'W', true, false),
    ('cta', 'G', true, false),
    ('cta', 'C', true, false),
    ('cta', '4', true, false),
    ('cta', 'T', true, true),
    ('cta', 'U', true, false),
    ('cta', 'M', false, false),
    ('cta', 'Q', false, false),
    ('cta', 'N', true, false),
    ('cta', 'H', true, false),
    ('cta', 'P', true, false),
    ('cta', 'R', true, false),
    ('cta', 'Z', true, false),
    ('cta', 'I', true, false),
    ('cta', '9', false, false),
    ('cta', 'V', true, false),
    ('cta', '7', true, false),
    ('utp', 'W', true, false),
    ('utp', 'G', true, false),
    ('utp', 'C', true, false),
    ('utp', '4', true, false),
    ('utp', 'T', true, true),
    ('utp', 'U', true, false),
    ('utp', 'M', false, false),
    ('utp', 'Q', false, false),
    ('utp', 'N', true, false),
    ('utp', 'H', true, false),
    ('utp', 'P', true, false),
    ('utp', 'R', true, false),
    ('utp', 'Z', true, false),
    ('utp', 'I', true, false),
    ('utp', '9', false, false),
    ('utp', 'V', true, false),
    ('utp', '7', true, false),
    ('other', 'INSURANCE_FUND', false, false),
    ('other', 'ADL', false, false);

CREATE VIEW sale_condition_codes AS
SELECT vocabulary,
       array_agg(code) AS any_codes,
       array_agg(code) FILTER (WHERE NOT extended_hours) AS regular_codes,
       array_agg(code) FILTER (WHERE NOT adds_volume) AS no_volume_codes
FROM sale_conditions
GROUP BY vocabulary;

-- As in 0012, with its place in time, and what each print sets. sets_extended_price: it sets prices in a minute or a day in
-- which no other does.
DROP VIEW trades_corrected;
CREATE VIEW trades_corrected AS
SELECT p.*,
       coalesce(NOT conditions && any_codes, true) AS sets_price,
       coalesce(conditions && any_codes AND NOT conditions && regular_codes, false) AS sets_extended_price,
       coalesce(NOT conditions && no_volume_codes, true) AS adds_volume
FROM (
    SELECT time, exchange, symbol, record_key, venue_symbol, channel, last_price, volume, side, trade_id, size_unit,
           market_center, conditions, tape, source, flags, false AS corrected,
           key_time, event_time_ns, sequence, frame_sequence, frame_index
    FROM trades AS t
    WHERE NOT EXISTS (
        SELECT
        FROM (SELECT exchange, symbol, key_time, voided_key AS record_key FROM corrections_keyed
              UNION ALL
              SELECT exchange, symbol, key_time, replacement_key FROM corrections_keyed WHERE replaces) AS c
        WHERE c.exchange = t.exchange AND c.symbol = t.symbol AND c.record_key = t.record_key
          AND c.key_time > t.key_time - INTERVAL '2 days' AND c.key_time < t.key_time + INTERVAL '2 days'
    )
    UNION ALL
    SELECT time, exchange, symbol, CASE WHEN trade_id IS NULL THEN record_key ELSE replacement_key END, venue_symbol, channel,
           last_price, volume, NULL, trade_id, size_unit, market_center, conditions, tape, source, flags, true,
           time, event_time_ns, sequence, frame_sequence, frame_index
    FROM corrections_keyed AS c
    WHERE replaces AND NOT EXISTS (
        -- a correction in place voids the former print of its key, not its own
        SELECT
        FROM corrections_keyed AS v
        WHERE v.exchange = c.exchange AND v.symbol = c.symbol AND v.voided_key = c.replacement_key
          AND NOT (v.replaces AND v.replacement_key = v.voided_key)
          AND v.key_time > c.key_time - INTERVAL '2 days' AND v.key_time < c.key_time + INTERVAL '2 days'
    )
) AS p
LEFT JOIN sale_condition_codes AS codes
    ON codes.vocabulary = CASE WHEN size_unit IS DISTINCT FROM 'share' THEN 'other'
                               WHEN exchange LIKE 'polygon%' THEN 'polygon'
                               WHEN tape = 'C' THEN 'utp'
                               ELSE 'cta' END;

-- Candles are tables that the load keeps. As continuous aggregates they could see neither corrections nor which of a
-- minute's prints set its prices. What is there is taken over, for its trades may have expired; hours of venues whose
-- trades have conditions are made anew by the next load, as are days that were to be refreshed.
--
-- A minute may have volume and no price: of odd lots only. Its prices may be of extended hours, for want of others; the day
-- takes those only where it has no others either.
CREATE TABLE candles_1m (
    exchange        text        NOT NULL,
    symbol          text        NOT NULL,
    bucket          timestamptz NOT NULL,
    open            numeric,
    high            numeric,
    low             numeric,
    close           numeric,
    volume          numeric     NOT NULL,
    turnover        numeric     NOT NULL,
    trades          bigint      NOT NULL,
    extended_hours  boolean     NOT NULL DEFAULT false
);
CREATE TABLE candles_1h (LIKE candles_1m INCLUDING ALL);
CREATE TABLE candles_1d (LIKE candles_1m INCLUDING ALL);

SELECT create_hypertable('candles_1m', by_range('bucket', INTERVAL '7 days'), create_default_indexes => false);
SELECT create_hypertable('candles_1h', by_range('bucket', INTERVAL '90 days'), create_default_indexes => false);
SELECT create_hypertable('candles_1d', by_range('bucket', INTERVAL '365 days'), create_default_indexes => false);

CREATE UNIQUE INDEX ohlcv_1m_identity ON candles_1m (exchange, symbol, bucket);
CREATE UNIQUE INDEX ohlcv_1h_identity ON candles_1h (exchange, symbol, bucket);
CREATE UNIQUE INDEX ohlcv_1d_identity ON candles_1d (exchange, symbol, bucket);

-- Hours with new prints whose candles are to be made anew; noted rises while that may be under way.
CREATE TABLE pending_candles (
    exchange  text        NOT NULL,
    symbol    text        NOT NULL,
    hour      timestamptz NOT NULL,
    noted     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (hour, exchange, symbol)
);

INSERT INTO candles_1m
SELECT exchange, symbol, bucket, open, high, low, close, coalesce(volume, 0), coalesce(turnover, 0), trades FROM ohlcv_1m;
INSERT INTO candles_1h
SELECT exchange, symbol, bucket, open, high, low, close, coalesce(volume, 0), coalesce(turnover, 0), trades FROM ohlcv_1h;
INSERT INTO candles_1d
SELECT exchange, symbol, bucket, open, high, low, close, coalesce(volume, 0), coalesce(turnover, 0), trades FROM ohlcv_1d;

INSERT INTO pending_candles (exchange, symbol, hour)
SELECT exchange, symbol, bucket
FROM candles_1h
WHERE bucket >= (SELECT min(range_start) FROM timescaledb_information.chunks WHERE hypertable_name = 'trades')
  AND (exchange ~ '^(alpaca|polygon|binance_usdm)'
       OR bucket >= (SELECT min(day)::timestamp AT TIME ZONE 'UTC' FROM pending_refreshes));

DROP MATERIALIZED VIEW ohlcv_1d;
DROP MATERIALIZED VIEW ohlcv_1h;
DROP MATERIALIZED VIEW ohlcv_1m;
DROP TABLE pending_refreshes;
ALTER TABLE candles_1m RENAME TO ohlcv_1m;
ALTER TABLE candles_1h RENAME TO ohlcv_1h;
ALTER TABLE candles_1d RENAME TO ohlcv_1d;
