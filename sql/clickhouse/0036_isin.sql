-- Shares of India are known by their ISIN, as the exchanges' end-of-day files have it; '' where nobody says.
ALTER TABLE instruments_history
    ADD COLUMN IF NOT EXISTS isin String AFTER title;

CREATE OR REPLACE VIEW instruments_at AS
SELECT
    exchange, venue_symbol, symbol, instrument_class, base, quote, settle, underlying, contract_size, size_unit,
    price_step, size_step, price_figures, expires_ns, fromUnixTimestamp64Nano(expires_ns, 'UTC') AS expires, strike, option_side,
    status, listed_day, delisted_day, alias_of, figi, market, title, isin, recorded_ns, fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM instruments_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, venue_symbol
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW instruments AS SELECT * FROM instruments_at(known_time = '2262-01-01 00:00:00');
