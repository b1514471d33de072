-- First questions to the lake; each statement stands alone: etl query --store lake "…". Times are UTC.
-- Without the platform: duckdb -c "SELECT … FROM delta_scan('var/lake/tables/trades')"
-- (all rows of the files; the views of `etl query` show one row per identity).

-- What is there.
SELECT exchange, symbol, date, count(*) AS trades, sum(last_price * volume) AS turnover
FROM trades
GROUP BY ALL
ORDER BY ALL;

-- One-minute candles from trades as they stand, each by what its conditions let it set.
SELECT exchange, symbol, time_bucket(INTERVAL '1 minute', time) AS minute,
       arg_min(last_price, (time, record_key)) FILTER (WHERE sets_price) AS open,
       max(last_price) FILTER (WHERE sets_price) AS high, min(last_price) FILTER (WHERE sets_price) AS low,
       arg_max(last_price, (time, record_key)) FILTER (WHERE sets_price) AS close,
       sum(volume) FILTER (WHERE adds_volume) AS volume
FROM trades_corrected
GROUP BY ALL
ORDER BY ALL
LIMIT 100;

-- Each trade with the quote that stood when it was made.
SELECT t.exchange, t.symbol, t.time, t.last_price, q.bid, q.ask
FROM trades AS t
ASOF JOIN quotes AS q ON q.exchange = t.exchange AND q.symbol = t.symbol AND q.time <= t.time
ORDER BY t.time
LIMIT 100;

-- The levels of a book message, a row each.
SELECT exchange, symbol, time, book_action, unnest(bid_prices) AS price, unnest(bid_sizes) AS size
FROM book_updates
ORDER BY time
LIMIT 100;
