-- When markets are open, of each venue: every session since 2003 and as far ahead as its calendar tells. Rows are added,
-- never changed (etl/model/reference.py): sessions_history has all of them, sessions what holds now, and
-- sessions_at('2026-01-31 12:00+00') what was known then.
CREATE TABLE sessions_history (
    exchange        text    NOT NULL,
    session_day     date    NOT NULL,
    session_kind    text    NOT NULL,
    opens_ns        bigint  NOT NULL,
    closes_ns       bigint  NOT NULL,
    calendar        text    NOT NULL,
    is_early_close  boolean NOT NULL,
    origin          text    NOT NULL,
    recorded_ns     bigint  NOT NULL,
    withdrawn       boolean NOT NULL,
    PRIMARY KEY (exchange, session_day, session_kind, opens_ns, recorded_ns)
);

CREATE FUNCTION time_of_ns(ns bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN timestamptz '1970-01-01 00:00:00+00' + (ns / 1000) * interval '1 microsecond';
-- STABLE is what PostgreSQL has timestamptz + interval for, because of days and months; microseconds know no time zone.

CREATE FUNCTION ns_of_time(moment timestamptz) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (extract(epoch FROM moment) * 1000000)::bigint * 1000;

CREATE FUNCTION sessions_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, session_day date, session_kind text, opens_ns bigint, opens timestamptz, closes_ns bigint,
    closes timestamptz, calendar text, is_early_close boolean, origin text, recorded_ns bigint, recorded timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, session_day, session_kind, opens_ns, time_of_ns(opens_ns), closes_ns, time_of_ns(closes_ns),
           calendar, is_early_close, origin, recorded_ns, time_of_ns(recorded_ns)
    FROM (
        SELECT DISTINCT ON (exchange, session_day, session_kind, opens_ns) *
        FROM sessions_history
        WHERE recorded_ns <= ns_of_time(known_time)
        ORDER BY exchange, session_day, session_kind, opens_ns, recorded_ns DESC
    ) AS last_told
    WHERE NOT withdrawn
$$;

CREATE VIEW sessions AS SELECT * FROM sessions_at('2262-01-01 00:00:00+00');
