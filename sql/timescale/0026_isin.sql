-- Shares of India are known by their ISIN, as the exchanges' end-of-day files have it; '' where nobody says.
ALTER TABLE instruments_history
    ADD COLUMN isin text NOT NULL DEFAULT '';

CREATE INDEX instruments_isin ON instruments_history (isin) WHERE isin <> '';

DROP VIEW instruments;
DROP FUNCTION instruments_at(timestamptz);

CREATE FUNCTION instruments_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, venue_symbol text, symbol text, instrument_class text, base text, quote text, settle text,
    underlying text, contract_size text, size_unit text, price_step text, size_step text,
    price_figures integer, expires_ns bigint, expires timestamptz, strike numeric, option_side text,
    status text, listed_day date, delisted_day date, alias_of text, figi text, market text, title text, isin text, recorded_ns bigint, recorded timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, venue_symbol, symbol, instrument_class, base, quote, settle, underlying, contract_size, size_unit,
           price_step, size_step, price_figures, expires_ns, time_of_ns(expires_ns), strike, option_side,
           status, listed_day, delisted_day, alias_of, figi, market, title, isin, recorded_ns, time_of_ns(recorded_ns)
    FROM (
        SELECT DISTINCT ON (exchange, venue_symbol) *
        FROM instruments_history
        WHERE recorded_ns <= ns_of_time(known_time)
        ORDER BY exchange, venue_symbol, recorded_ns DESC
    ) AS last_told
    WHERE NOT withdrawn
$$;

CREATE VIEW instruments AS SELECT * FROM instruments_at('2262-01-01 00:00:00+00');
