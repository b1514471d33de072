-- Every instrument that the venues' lists tell of, and what they said of it since when. Rows are added, never changed:
-- instruments_history has all of them, each valid until the next of its key; instruments what holds now; and instruments_at
-- what was known at a time. Steps are decimal text, '' where the list does not say.
CREATE TABLE instruments_history (
    exchange          text NOT NULL,
    venue_symbol      text NOT NULL,
    symbol            text NOT NULL,
    instrument_class  text NOT NULL,
    base              text NOT NULL,
    quote             text NOT NULL,
    settle            text NOT NULL,
    underlying        text NOT NULL,
    contract_size     text NOT NULL,
    size_unit         text NOT NULL,
    price_step        text NOT NULL,
    size_step         text NOT NULL,
    price_figures     integer NOT NULL,
    expires_ns        bigint,
    strike            numeric,
    option_side       text NOT NULL,
    status            text NOT NULL,
    listed_day        date,
    delisted_day      date,
    alias_of          text NOT NULL,
    recorded_ns       bigint NOT NULL,
    withdrawn         boolean NOT NULL,
    PRIMARY KEY (exchange, venue_symbol, recorded_ns)
);

CREATE INDEX instruments_symbol ON instruments_history (symbol);

CREATE FUNCTION instruments_at(known_time timestamptz)
RETURNS TABLE (
    exchange text, venue_symbol text, symbol text, instrument_class text, base text, quote text, settle text,
    underlying text, contract_size text, size_unit text, price_step text, size_step text,
    price_figures integer, expires_ns bigint, expires timestamptz, strike numeric, option_side text,
    status text, listed_day date, delisted_day date, alias_of text, recorded_ns bigint, recorded timestamptz)
    LANGUAGE sql STABLE PARALLEL SAFE
AS $$
    SELECT exchange, venue_symbol, symbol, instrument_class, base, quote, settle, underlying, contract_size, size_unit,
           price_step, size_step, price_figures, expires_ns, time_of_ns(expires_ns), strike, option_side,
           status, listed_day, delisted_day, alias_of, recorded_ns, time_of_ns(recorded_ns)
    FROM (
        SELECT DISTINCT ON (exchange, venue_symbol) *
        FROM instruments_history
        WHERE recorded_ns <= ns_of_time(known_time)
        ORDER BY exchange, venue_symbol, recorded_ns DESC
    ) AS last_told
    WHERE NOT withdrawn
$$;

CREATE VIEW instruments AS SELECT * FROM instruments_at('2262-01-01 00:00:00+00');
