-- Which name an instrument had since which day (etl/model/reference.py): rows are added, never changed, as in 0026. A name is used
-- again by others: it is one instrument's on one day. symbol_spans has from when until when a name was whose, and what that one is
-- called today; bars_of gives the bars of an instrument under all its names, by the name of today. A day is New York's.
CREATE TABLE IF NOT EXISTS symbol_names_history
(
    exchange       LowCardinality(String),
    instrument_id  String,
    first_day      Date32,
    symbol         LowCardinality(String),
    figi           String,
    title          String,
    origin         LowCardinality(String),
    recorded_ns    Int64,
    withdrawn      Bool,
    stored_time    DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(stored_time)
ORDER BY (exchange, instrument_id, first_day, recorded_ns);

CREATE OR REPLACE VIEW symbol_names_at AS
SELECT
    exchange, instrument_id, first_day, symbol, figi, title, origin, recorded_ns,
    fromUnixTimestamp64Nano(recorded_ns, 'UTC') AS recorded
FROM
(
    SELECT * FROM symbol_names_history
    WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
    ORDER BY recorded_ns DESC
    LIMIT 1 BY exchange, instrument_id, first_day
)
WHERE NOT withdrawn;

CREATE OR REPLACE VIEW symbol_names AS SELECT * FROM symbol_names_at(known_time = '2262-01-01 00:00:00');

CREATE OR REPLACE VIEW symbol_spans AS
SELECT exchange, instrument_id, symbol, first_day, until_day, current_symbol, figi, title, origin
FROM
(
    SELECT
        exchange, instrument_id, symbol, first_day, figi, title, origin,
        leadInFrame(toNullable(first_day)) OVER whole AS until_day,
        last_value(symbol) OVER whole AS current_symbol
    FROM symbol_names
    WINDOW whole AS
        (PARTITION BY exchange, instrument_id ORDER BY first_day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
)
WHERE symbol != '';

CREATE OR REPLACE VIEW symbols_at AS
SELECT exchange, symbol, instrument_id, current_symbol, figi, title
FROM symbol_spans
WHERE first_day <= toDate32({of_time:DateTime64(9, 'UTC')}, 'America/New_York')
  AND (until_day IS NULL OR until_day > toDate32({of_time:DateTime64(9, 'UTC')}, 'America/New_York'));

CREATE OR REPLACE VIEW bars_of AS
SELECT {current_symbol:String} AS current_symbol, b.* EXCEPT day
FROM
(
    SELECT *, toDate32(time, 'America/New_York') AS day
    FROM bars
    WHERE exchange = {of_exchange:String} AND symbol IN
    (
        SELECT symbol FROM symbol_spans
        WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
        UNION ALL
        SELECT {current_symbol:String}
    )
) AS b
ASOF LEFT JOIN
(
    SELECT symbol, first_day, until_day, 1 AS is_known FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS s ON s.symbol = b.symbol AND s.first_day <= b.day
WHERE (s.is_known = 1 AND (s.until_day IS NULL OR b.day < s.until_day))
   OR ({current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String}));
