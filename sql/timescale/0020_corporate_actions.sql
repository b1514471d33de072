-- Splits, dividends, mergers and spin-offs as each vendor tells them (etl/model/reference.py): rows are added, never changed.
-- bars_adjusted has the factors that make a bar comparable with today's prices, bars_adjusted_at as one knew them at a time:
-- factors are computed here, never a vendor's; no table holds an adjusted price. docs/reference_data.md has the formulas.

CREATE TABLE corporate_actions_history (
    exchange       text NOT NULL,
    action_id      text NOT NULL,
    symbol         text NOT NULL,
    action_kind    text NOT NULL,
    effective_day  date NOT NULL,
    shares_before  numeric,
    shares_after   numeric,
    cash_amount    numeric,
    currency       text NOT NULL,
    new_symbol     text NOT NULL,
    declared_day   date,
    record_day     date,
    pay_day        date,
    recorded_ns    bigint NOT NULL,
    withdrawn      boolean NOT NULL,
    PRIMARY KEY (exchange, action_id, recorded_ns)
);

CREATE FUNCTION corporate_actions_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, action_id text, symbol text, action_kind text, effective_day date, shares_before numeric,
    shares_after numeric, cash_amount numeric, currency text, new_symbol text, declared_day date, record_day date,
    pay_day date, recorded_ns bigint, recorded timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, action_id, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, currency,
           new_symbol, declared_day, record_day, pay_day, recorded_ns, time_of_ns(recorded_ns)
    FROM (
        SELECT DISTINCT ON (exchange, action_id) *
        FROM corporate_actions_history
        WHERE recorded_ns <= ns_of_time(known_time)
        ORDER BY exchange, action_id, recorded_ns DESC
    ) AS last_told
    WHERE NOT withdrawn
$$;

CREATE VIEW corporate_actions AS SELECT * FROM corporate_actions_at('2262-01-01 00:00:00+00');

CREATE AGGREGATE product(double precision) (SFUNC = float8mul, STYPE = double precision, INITCOND = '1', PARALLEL = SAFE);

CREATE FUNCTION adjustment_factors_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, symbol text, effective_day date, split_factor double precision, return_factor double precision,
    lacks_close boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH of_days AS (
        SELECT a.exchange, a.symbol, a.effective_day,
               product(coalesce(a.shares_before::double precision / a.shares_after::double precision, 1)) AS split_of_day,
               coalesce(sum(a.cash_amount), 0)::double precision AS cash
        FROM corporate_actions_at(known_time) AS a
        WHERE a.action_kind IN ('split', 'stock_dividend', 'cash_dividend')
          AND a.effective_day <= (least(known_time, now()) AT TIME ZONE 'America/New_York')::date
        GROUP BY a.exchange, a.symbol, a.effective_day
    ), with_close AS (
        SELECT d.*, (
            SELECT b.close::double precision FROM bars AS b
            WHERE b.exchange = d.exchange AND b.symbol = d.symbol AND b.interval = '1d' AND b.bar_state <> 'open'
              AND d.cash > 0 AND (b.time AT TIME ZONE 'America/New_York')::date < d.effective_day
            ORDER BY (b.time AT TIME ZONE 'America/New_York')::date DESC, b.receive_time_ns DESC
            LIMIT 1) AS close_before
        FROM of_days AS d
    )
    SELECT w.exchange, w.symbol, w.effective_day,
           product(w.split_of_day) OVER later,
           product(w.split_of_day * CASE WHEN w.cash > 0 AND w.close_before > 0
                                         THEN 1 - w.cash / (w.close_before * w.split_of_day) ELSE 1 END) OVER later,
           bool_or(w.cash > 0 AND w.close_before IS NULL) OVER later
    FROM with_close AS w
    WINDOW later AS (PARTITION BY w.exchange, w.symbol ORDER BY w.effective_day DESC)
$$;

CREATE FUNCTION bars_adjusted_at(known_time timestamptz)
RETURNS TABLE (
    "time" timestamptz, exchange text, symbol text, "interval" text, open numeric, high numeric, low numeric, close numeric,
    volume numeric, bar_state bar_state, split_factor double precision, return_factor double precision, lacks_close boolean,
    open_split double precision, high_split double precision, low_split double precision, close_split double precision,
    volume_split double precision, close_return double precision)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH factors AS MATERIALIZED (SELECT * FROM adjustment_factors_at(known_time))
    SELECT b.time, b.exchange, b.symbol, b.interval, b.open, b.high, b.low, b.close, b.volume, b.bar_state,
           coalesce(f.split_factor, 1), coalesce(f.return_factor, 1), coalesce(f.lacks_close, false),
           b.open::double precision * coalesce(f.split_factor, 1), b.high::double precision * coalesce(f.split_factor, 1),
           b.low::double precision * coalesce(f.split_factor, 1), b.close::double precision * coalesce(f.split_factor, 1),
           b.volume::double precision / coalesce(f.split_factor, 1),
           b.close::double precision * coalesce(f.return_factor, 1)
    FROM bars AS b
    LEFT JOIN LATERAL (
        SELECT * FROM factors AS x
        WHERE x.exchange = b.exchange AND x.symbol = b.symbol
          AND x.effective_day > (b.time AT TIME ZONE 'America/New_York')::date
        ORDER BY x.effective_day
        LIMIT 1
    ) AS f ON true
    WHERE b.time < known_time
$$;

CREATE VIEW bars_adjusted AS SELECT * FROM bars_adjusted_at('2262-01-01 00:00:00+00');
