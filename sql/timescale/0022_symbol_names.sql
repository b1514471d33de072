-- Which name an instrument had since which day (etl/model/reference.py): rows are added, never changed, as in 0019. A name is used
-- again by others: it is one instrument's on one day. symbol_spans has from when until when a name was whose, and what that one is
-- called today; bars_of gives the bars of an instrument under all its names, by the name of today. A day is New York's.
CREATE TABLE symbol_names_history (
    exchange       text NOT NULL,
    instrument_id  text NOT NULL,
    first_day      date NOT NULL,
    symbol         text NOT NULL,
    figi           text NOT NULL,
    title          text NOT NULL,
    origin         text NOT NULL,
    recorded_ns    bigint NOT NULL,
    withdrawn      boolean NOT NULL,
    PRIMARY KEY (exchange, instrument_id, first_day, recorded_ns)
);

CREATE INDEX symbol_names_symbol ON symbol_names_history (exchange, symbol);

CREATE FUNCTION symbol_names_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, instrument_id text, first_day date, symbol text, figi text, title text, origin text,
    recorded_ns bigint, recorded timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, instrument_id, first_day, symbol, figi, title, origin, recorded_ns, time_of_ns(recorded_ns)
    FROM (
        SELECT DISTINCT ON (exchange, instrument_id, first_day) *
        FROM symbol_names_history
        WHERE recorded_ns <= ns_of_time(known_time)
        ORDER BY exchange, instrument_id, first_day, recorded_ns DESC
    ) AS last_told
    WHERE NOT withdrawn
$$;

CREATE VIEW symbol_names AS SELECT * FROM symbol_names_at('2262-01-01 00:00:00+00');

CREATE VIEW symbol_spans AS
SELECT exchange, instrument_id, symbol, first_day, until_day, current_symbol, figi, title, origin
FROM (
    SELECT exchange, instrument_id, symbol, first_day, figi, title, origin,
           lead(first_day) OVER whole AS until_day, last_value(symbol) OVER whole AS current_symbol
    FROM symbol_names
    WINDOW whole AS
        (PARTITION BY exchange, instrument_id ORDER BY first_day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
) AS named
WHERE symbol <> '';

CREATE FUNCTION symbols_at(of_time timestamptz)
RETURNS TABLE (exchange text, symbol text, instrument_id text, current_symbol text, figi text, title text)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, symbol, instrument_id, current_symbol, figi, title
    FROM symbol_spans
    WHERE first_day <= (of_time AT TIME ZONE 'America/New_York')::date
      AND (until_day IS NULL OR until_day > (of_time AT TIME ZONE 'America/New_York')::date)
$$;

CREATE FUNCTION bars_of(of_exchange text, named_today text)
RETURNS SETOF bars
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT b.*
    FROM bars AS b
    WHERE b.exchange = of_exchange
      AND b.symbol IN (
          SELECT s.symbol FROM symbol_spans AS s WHERE s.exchange = of_exchange AND s.current_symbol = named_today
          UNION ALL SELECT named_today)
      AND (EXISTS (
              SELECT FROM symbol_spans AS s
              WHERE s.exchange = of_exchange AND s.current_symbol = named_today AND s.symbol = b.symbol
                AND s.first_day <= (b.time AT TIME ZONE 'America/New_York')::date
                AND (s.until_day IS NULL OR s.until_day > (b.time AT TIME ZONE 'America/New_York')::date))
           OR NOT EXISTS (
              SELECT FROM symbol_spans AS s WHERE s.exchange = of_exchange AND s.symbol = named_today))
$$;
