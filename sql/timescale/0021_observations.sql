-- Observations of series: what a series says of a period, and since which day (docs/storage.md).
CREATE TABLE observations (
    LIKE stats INCLUDING DEFAULTS INCLUDING CONSTRAINTS,
    observation_date  text,
    vintage_date      text,
    value             numeric,
    unit              text,
    release           text
);
ALTER TABLE observations
    DROP COLUMN mark_price, DROP COLUMN index_price, DROP COLUMN open_interest, DROP COLUMN funding_rate,
    DROP COLUMN next_funding_time_ns;

-- Vintages of a century: a chunk a decade.
SELECT create_hypertable('observations', by_range('key_time', INTERVAL '3650 days'), create_default_indexes => false);
CREATE UNIQUE INDEX observations_identity ON observations (exchange, symbol, key_time, record_key);

-- What was known at a time: SELECT * FROM observations_asof('2026-01-31 12:00:00+00'). A vintage tells its day alone: it counts
-- as known when the day is over where the source is (30 hours after its midnight UTC), or when we had it, if that was earlier.
-- Of two values of one vintage, which a source that keeps no vintages gives, the last that we had by then.
CREATE FUNCTION observations_asof(at timestamptz)
RETURNS TABLE (exchange text, symbol text, observation_date date, vintage_date date, value numeric, unit text, release text,
               known_time timestamptz)
LANGUAGE sql STABLE AS $$
    SELECT k.exchange, k.symbol, k.observation_date::date, k.vintage_date::date, k.value, k.unit, k.release, k.known_time
    FROM (
        SELECT DISTINCT ON (o.exchange, o.symbol, o.observation_date)
               o.*, least('epoch'::timestamptz + o.receive_time_ns / 1000 * INTERVAL '1 microsecond',
                          o.key_time + INTERVAL '30 hours') AS known_time
        FROM observations AS o
        WHERE least('epoch'::timestamptz + o.receive_time_ns / 1000 * INTERVAL '1 microsecond',
                    o.key_time + INTERVAL '30 hours') <= at
        ORDER BY o.exchange, o.symbol, o.observation_date, o.vintage_date DESC,
                 CASE WHEN 'epoch'::timestamptz + o.receive_time_ns / 1000 * INTERVAL '1 microsecond' <= at
                      THEN o.receive_time_ns ELSE -o.receive_time_ns END DESC
    ) AS k
    WHERE NOT 'withdrawn' = ANY (coalesce(k.flags, '{}'))
$$;
