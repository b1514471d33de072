-- Stocks have lists too: their composite FIGI, the code of their main market (MIC), and the company's name; '' where nobody says.
ALTER TABLE instruments_history
    ADD COLUMN IF NOT EXISTS figi String AFTER alias_of,
    ADD COLUMN IF NOT EXISTS market LowCardinality(String) AFTER figi,
    ADD COLUMN IF NOT EXISTS title String AFTER market;

CREATE OR REPLACE VIEW instruments_at AS
SELECT
    exchange, venue_symbol, symbol, instrument_class, base, quote, settle, underlying, contract_size, size_unit,
    price_step, size_step, price_figures, expires_ns, fromUnixTimestamp64Nano(expires_ns, 'UTC') AS expires, strike, option_side,
    status, listed_day, delisted_day, alias_of, figi, market, title, recorded_ns, fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM instruments_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, venue_symbol
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW instruments AS SELECT * FROM instruments_at(known_time = '2262-01-01 00:00:00');
