-- Not bars alone: what else is told of a stock, under all the names that the instrument had which is called so today, as bars_of has it
-- since 0022. A name of which nothing is known is taken as it is. A day is New York's.
CREATE FUNCTION names_of(of_exchange text, named_today text)
RETURNS TABLE (symbol text, from_time timestamptz, until_time timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT s.symbol, s.first_day::timestamp AT TIME ZONE 'America/New_York',
           coalesce(s.until_day::timestamp AT TIME ZONE 'America/New_York', 'infinity')
    FROM symbol_spans AS s
    WHERE s.exchange = of_exchange AND s.current_symbol = named_today
    UNION ALL
    SELECT named_today, '-infinity', 'infinity'
    WHERE NOT EXISTS (SELECT FROM symbol_spans AS s WHERE s.exchange = of_exchange AND s.symbol = named_today)
$$;

CREATE OR REPLACE FUNCTION bars_of(of_exchange text, named_today text)
RETURNS SETOF bars
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN bars AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;

CREATE OR REPLACE FUNCTION trades_of(of_exchange text, named_today text)
RETURNS SETOF trades
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN trades AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;

CREATE OR REPLACE FUNCTION trades_corrected_of(of_exchange text, named_today text)
RETURNS SETOF trades_corrected
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN trades_corrected AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;

CREATE OR REPLACE FUNCTION quotes_of(of_exchange text, named_today text)
RETURNS SETOF quotes
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN quotes AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;

CREATE OR REPLACE FUNCTION statuses_of(of_exchange text, named_today text)
RETURNS SETOF statuses
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN statuses AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;

CREATE OR REPLACE FUNCTION corrections_of(of_exchange text, named_today text)
RETURNS SETOF corrections
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT r.*
    FROM names_of(of_exchange, named_today) AS n
    JOIN corrections AS r ON r.exchange = of_exchange AND r.symbol = n.symbol AND r.time >= n.from_time AND r.time < n.until_time
$$;
