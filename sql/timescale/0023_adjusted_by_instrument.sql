-- Adjusted bars follow the instrument, not the name: of a stock that was renamed the bars under its former names are adjusted by its
-- later splits and dividends, and those that another one had under its name are not. Names and actions are those that were known
-- at the time. An action is that of whoever had its name on its day; had nobody, of whoever is called so now, since vendors give
-- some by the name of today. What is in no list of names goes by its symbol, as before.
DROP VIEW bars_adjusted;
DROP FUNCTION bars_adjusted_at(timestamptz);
DROP FUNCTION adjustment_factors_at(timestamptz);

CREATE FUNCTION symbol_spans_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, instrument_id text, symbol text, first_day date, until_day date, current_symbol text)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, instrument_id, symbol, first_day, until_day, current_symbol
    FROM (
        SELECT n.exchange, n.instrument_id, n.symbol, n.first_day,
               lead(n.first_day) OVER whole AS until_day, last_value(n.symbol) OVER whole AS current_symbol
        FROM symbol_names_at(known_time) AS n
        WINDOW whole AS
            (PARTITION BY n.exchange, n.instrument_id ORDER BY n.first_day
             ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ) AS named
    WHERE symbol <> ''
$$;

-- whose: an instrument of symbol_names, or a symbol of which they know nothing.
CREATE FUNCTION adjustment_factors_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, whose text, effective_day date, split_factor double precision, return_factor double precision,
    lacks_close boolean)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH spans AS MATERIALIZED (
        SELECT * FROM symbol_spans_at(known_time)
    ), of_days AS (
        SELECT a.exchange, coalesce(s.instrument_id, h.instrument_id, a.symbol) AS whose, a.effective_day,
               product(coalesce(a.shares_before::double precision / a.shares_after::double precision, 1)) AS split_of_day,
               coalesce(sum(a.cash_amount), 0)::double precision AS cash
        FROM corporate_actions_at(known_time) AS a
        LEFT JOIN spans AS s
            ON s.exchange = a.exchange AND s.symbol = a.symbol AND s.first_day <= a.effective_day
           AND (s.until_day IS NULL OR a.effective_day < s.until_day)
        LEFT JOIN spans AS h ON h.exchange = a.exchange AND h.symbol = a.symbol AND h.until_day IS NULL
        WHERE a.action_kind IN ('split', 'stock_dividend', 'cash_dividend')
          AND a.effective_day <= (least(known_time, now()) AT TIME ZONE 'America/New_York')::date
        GROUP BY 1, 2, 3
    ), named AS (
        SELECT d.exchange, d.whose, d.effective_day, s.symbol, s.first_day, s.until_day
        FROM of_days AS d
        JOIN spans AS s ON s.exchange = d.exchange AND s.instrument_id = d.whose
        UNION ALL
        SELECT d.exchange, d.whose, d.effective_day, d.whose, NULL, NULL
        FROM of_days AS d
        WHERE NOT EXISTS (SELECT FROM spans AS s WHERE s.exchange = d.exchange AND s.instrument_id = d.whose)
    ), with_close AS (
        SELECT d.*, (
            SELECT b.close::double precision
            FROM named AS n
            JOIN bars AS b ON b.exchange = n.exchange AND b.symbol = n.symbol AND b.interval = '1d' AND b.bar_state <> 'open'
            CROSS JOIN LATERAL (SELECT (b.time AT TIME ZONE 'America/New_York')::date AS day) AS x
            WHERE n.exchange = d.exchange AND n.whose = d.whose AND n.effective_day = d.effective_day
              AND d.cash > 0 AND x.day < d.effective_day
              AND (n.first_day IS NULL OR n.first_day <= x.day) AND (n.until_day IS NULL OR x.day < n.until_day)
            ORDER BY x.day DESC, b.receive_time_ns DESC
            LIMIT 1) AS close_before
        FROM of_days AS d
    )
    SELECT w.exchange, w.whose, w.effective_day,
           product(w.split_of_day) OVER later,
           product(w.split_of_day * CASE WHEN w.cash > 0 AND w.close_before > 0
                                         THEN 1 - w.cash / (w.close_before * w.split_of_day) ELSE 1 END) OVER later,
           bool_or(w.cash > 0 AND w.close_before IS NULL) OVER later
    FROM with_close AS w
    WINDOW later AS (PARTITION BY w.exchange, w.whose ORDER BY w.effective_day DESC)
$$;

CREATE FUNCTION bars_adjusted_at(known_time timestamptz)
RETURNS TABLE (
    "time" timestamptz, exchange text, symbol text, "interval" text, open numeric, high numeric, low numeric, close numeric,
    volume numeric, bar_state bar_state, split_factor double precision, return_factor double precision, lacks_close boolean,
    open_split double precision, high_split double precision, low_split double precision, close_split double precision,
    volume_split double precision, close_return double precision, instrument_id text,
    current_symbol text)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH factors AS MATERIALIZED (
        SELECT * FROM adjustment_factors_at(known_time)
    ), spans AS MATERIALIZED (
        SELECT * FROM symbol_spans_at(known_time)
    )
    SELECT b.time, b.exchange, b.symbol, b.interval, b.open, b.high, b.low, b.close, b.volume, b.bar_state,
           coalesce(f.split_factor, 1), coalesce(f.return_factor, 1), coalesce(f.lacks_close, false),
           b.open::double precision * coalesce(f.split_factor, 1), b.high::double precision * coalesce(f.split_factor, 1),
           b.low::double precision * coalesce(f.split_factor, 1), b.close::double precision * coalesce(f.split_factor, 1),
           b.volume::double precision / coalesce(f.split_factor, 1),
           b.close::double precision * coalesce(f.return_factor, 1),
           coalesce(s.instrument_id, ''), coalesce(s.current_symbol, b.symbol)
    FROM bars AS b
    LEFT JOIN spans AS s
        ON s.exchange = b.exchange AND s.symbol = b.symbol AND s.first_day <= (b.time AT TIME ZONE 'America/New_York')::date
       AND (s.until_day IS NULL OR (b.time AT TIME ZONE 'America/New_York')::date < s.until_day)
    LEFT JOIN LATERAL (
        SELECT * FROM factors AS x
        WHERE x.exchange = b.exchange AND x.whose = coalesce(s.instrument_id, b.symbol)
          AND x.effective_day > (b.time AT TIME ZONE 'America/New_York')::date
        ORDER BY x.effective_day
        LIMIT 1
    ) AS f ON true
    WHERE b.time < known_time
$$;

CREATE VIEW bars_adjusted AS SELECT * FROM bars_adjusted_at('2262-01-01 00:00:00+00');
