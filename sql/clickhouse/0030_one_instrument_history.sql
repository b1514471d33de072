-- What 0023 kept of ticks and lots is part of instruments_history (0026), which has all that a list says: of two tables of one
-- thing one goes. Rows of before the first list that 0026 has of an instrument are taken over, bare as they are: of those
-- times nobody kept more. Cut off behind the drop there is an empty table again, and the same rows are the same rows.
CREATE TABLE IF NOT EXISTS instrument_history
(
    exchange       LowCardinality(String),
    symbol         LowCardinality(String),
    valid_from     DateTime64(9, 'UTC'),
    price_step     LowCardinality(String),
    size_step      LowCardinality(String),
    price_figures  UInt8,
    stored_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, symbol, valid_from);

INSERT INTO instruments_history
    (exchange, venue_symbol, symbol, price_step, size_step, price_figures, recorded_ns, withdrawn)
SELECT
    h.exchange, if(empty(i.venue_symbol), h.symbol, i.venue_symbol), h.symbol, h.price_step, h.size_step, h.price_figures,
    toUnixTimestamp64Nano(h.valid_from), false
FROM (SELECT * FROM instrument_history FINAL) AS h
LEFT JOIN
(
    SELECT exchange, symbol, argMin(venue_symbol, recorded_ns) AS venue_symbol, min(recorded_ns) AS first_ns
    FROM instruments_history
    WHERE instrument_class != '' OR status != ''
    GROUP BY exchange, symbol
) AS i ON i.exchange = h.exchange AND i.symbol = h.symbol
WHERE i.first_ns = 0 OR toUnixTimestamp64Nano(h.valid_from) < i.first_ns;

DROP TABLE IF EXISTS instrument_history SYNC;
