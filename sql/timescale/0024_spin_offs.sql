-- Of a spin-off the return factor takes the worth of what was given: so many shares of the new stock, at the open of its first daily
-- bar from the ex date on, of the same feed; bars that began before it are told what no factor covers (unadjusted) and by what the
-- stock ended (ended_by, ended_day): a merger has no price after it to be compared with. What only another vendor tells of a stock
-- and day counts too, splits and dividends excepted: Polygon tells no spin-offs. docs/decisions/adjusted_views.md
DROP VIEW bars_adjusted;
DROP FUNCTION bars_adjusted_at(timestamptz);
DROP FUNCTION adjustment_factors_at(timestamptz);

-- What is told of the stocks of each feed: its own vendor's splits and dividends, and of the rest whoever tells it.
-- given: what the shares of a spin-off were worth, for a share; 0 = nobody can say.
CREATE FUNCTION feed_actions_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, symbol text, action_kind text, effective_day date, shares_before numeric, shares_after numeric,
    cash_amount numeric, given double precision)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH told AS MATERIALIZED (
        SELECT a.*
        FROM corporate_actions_at(known_time) AS a
        WHERE a.action_kind <> 'name_change'
          AND a.effective_day <= (least(known_time, now()) AT TIME ZONE 'America/New_York')::date
    ), ranked AS (
        SELECT f.exchange AS feed, t.*,
               first_value(t.exchange) OVER (PARTITION BY f.exchange, t.symbol, t.action_kind, t.effective_day
                                             ORDER BY t.exchange <> f.exchange, t.exchange) AS teller
        FROM told AS t
        CROSS JOIN (SELECT DISTINCT x.exchange FROM told AS x) AS f
        WHERE t.action_kind NOT IN ('split', 'stock_dividend', 'cash_dividend')
    ), of_feeds AS (
        SELECT t.exchange, t.symbol, t.action_kind, t.effective_day, t.shares_before, t.shares_after, t.cash_amount, t.new_symbol
        FROM told AS t
        WHERE t.action_kind IN ('split', 'stock_dividend', 'cash_dividend')
        UNION ALL
        SELECT r.feed, r.symbol, r.action_kind, r.effective_day, r.shares_before, r.shares_after, r.cash_amount, r.new_symbol
        FROM ranked AS r
        WHERE r.exchange = r.teller
    )
    SELECT t.exchange, t.symbol, t.action_kind, t.effective_day, t.shares_before, t.shares_after, t.cash_amount,
           CASE WHEN t.action_kind = 'spin_off' AND t.shares_before > 0 AND n.open > 0 AND n.day < t.effective_day + 7
                THEN coalesce(t.shares_after::double precision / t.shares_before::double precision * n.open, 0) ELSE 0 END
    FROM of_feeds AS t
    LEFT JOIN LATERAL (
        SELECT x.day, b.open::double precision AS open
        FROM bars AS b
        CROSS JOIN LATERAL (SELECT (b.time AT TIME ZONE 'America/New_York')::date AS day) AS x
        WHERE t.action_kind = 'spin_off' AND b.exchange = t.exchange AND b.symbol = t.new_symbol AND b.interval = '1d'
          AND b.bar_state <> 'open' AND x.day >= t.effective_day
          AND x.day < (known_time AT TIME ZONE 'America/New_York')::date
        ORDER BY x.day, b.receive_time_ns DESC
        LIMIT 1
    ) AS n ON true
$$;

-- whose: an instrument of symbol_names, or a symbol of which they know nothing.
CREATE FUNCTION adjustment_factors_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, whose text, effective_day date, split_factor double precision, return_factor double precision,
    lacks_close boolean, unadjusted text, ended text)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    WITH spans AS MATERIALIZED (
        SELECT * FROM symbol_spans_at(known_time)
    ), of_days AS (
        SELECT a.exchange, coalesce(s.instrument_id, h.instrument_id, a.symbol) AS whose, a.effective_day,
               product(CASE WHEN a.action_kind IN ('split', 'stock_dividend')
                            THEN a.shares_before::double precision / a.shares_after::double precision ELSE 1 END) AS split_of_day,
               coalesce(sum(a.cash_amount) FILTER (WHERE a.action_kind = 'cash_dividend'), 0)::double precision AS cash,
               sum(a.given) AS given,
               string_agg(a.action_kind, ',') FILTER (WHERE a.given = 0 AND a.action_kind NOT IN (
                   'split', 'stock_dividend', 'cash_dividend', 'cash_merger', 'stock_merger', 'stock_and_cash_merger',
                   'redemption', 'worthless_removal', 'unit_split')) AS without_factor,
               string_agg(a.action_kind, ',') FILTER (WHERE a.given > 0 OR a.action_kind = 'cash_dividend') AS with_price,
               min(a.effective_day || ' ' || a.action_kind) FILTER (WHERE a.action_kind IN (
                   'cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption', 'worthless_removal', 'unit_split'))
                   AS ended
        FROM feed_actions_at(known_time) AS a
        LEFT JOIN spans AS s
            ON s.exchange = a.exchange AND s.symbol = a.symbol AND s.first_day <= a.effective_day
           AND (s.until_day IS NULL OR a.effective_day < s.until_day)
        LEFT JOIN spans AS h ON h.exchange = a.exchange AND h.symbol = a.symbol AND h.until_day IS NULL
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
              AND d.cash + d.given > 0 AND x.day < d.effective_day
              AND (n.first_day IS NULL OR n.first_day <= x.day) AND (n.until_day IS NULL OR x.day < n.until_day)
            ORDER BY x.day DESC, b.receive_time_ns DESC
            LIMIT 1) AS close_before
        FROM of_days AS d
    ), covered AS (
        SELECT w.*, w.cash + w.given AS paid,
               coalesce(w.cash + w.given > 0 AND w.cash + w.given < w.close_before * w.split_of_day, false) AS is_covered
        FROM with_close AS w
    )
    SELECT exchange, whose, effective_day, split_factor, return_factor, lacks_close,
           coalesce(array_to_string(ARRAY(SELECT DISTINCT unnest(string_to_array(lacks, ',')) ORDER BY 1), ','), ''), ended
    FROM (
        SELECT w.exchange, w.whose, w.effective_day,
               product(w.split_of_day) OVER later AS split_factor,
               product(w.split_of_day * CASE WHEN w.is_covered THEN 1 - w.paid / (w.close_before * w.split_of_day) ELSE 1 END)
                   OVER later AS return_factor,
               bool_or(w.cash > 0 AND NOT w.is_covered) OVER later AS lacks_close,
               string_agg(CASE WHEN w.is_covered THEN w.without_factor ELSE concat_ws(',', w.without_factor, w.with_price) END, ',')
                   FILTER (WHERE NOT w.is_covered AND w.with_price IS NOT NULL OR w.without_factor IS NOT NULL) OVER later AS lacks,
               min(w.ended) OVER later AS ended
        FROM covered AS w
        WINDOW later AS (PARTITION BY w.exchange, w.whose ORDER BY w.effective_day DESC)
    ) AS found
$$;

CREATE FUNCTION bars_adjusted_at(known_time timestamptz)
RETURNS TABLE (
    "time" timestamptz, exchange text, symbol text, "interval" text, open numeric, high numeric, low numeric, close numeric,
    volume numeric, bar_state bar_state, split_factor double precision, return_factor double precision, lacks_close boolean,
    open_split double precision, high_split double precision, low_split double precision, close_split double precision,
    volume_split double precision, close_return double precision, instrument_id text,
    current_symbol text, unadjusted text, ended_by text, ended_day date)
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
           coalesce(s.instrument_id, ''), coalesce(s.current_symbol, b.symbol), coalesce(f.unadjusted, ''),
           coalesce(split_part(f.ended, ' ', 2), ''), split_part(f.ended, ' ', 1)::date
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
