-- A closed minute bar of a stock whose range the trades contradict. Only trades whose sale conditions update high, low
-- and last count: not odd lots, average price, cash, derivatively priced, extended hours, sold out of sequence, prior
-- reference, contingent and the like (CTA and UTP participant specifications; Polygon's numbers, Alpaca's letters).
SELECT 'bars' AS table_name, concat(b.exchange, ' ', b.symbol, ' ', b.record_key) AS key,
       concat('bar ', toString(b.low), '..', toString(b.high), ', eligible trades ', toString(t.low), '..', toString(t.high)) AS detail
FROM
(
    SELECT exchange, symbol, record_key, toStartOfMinute(key_time) AS minute, high, low
    FROM bars
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND interval = '1m' AND bar_state != 'open' AND exchange IN ('polygon', 'alpaca')
) AS b
INNER JOIN
(
    SELECT exchange, symbol, toStartOfMinute(key_time) AS minute, max(last_price) AS high, min(last_price) AS low
    FROM trades
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND exchange IN ('polygon', 'alpaca')
      AND NOT hasAny(conditions, if(exchange = 'polygon',
          ['2', '7', '10', '12', '13', '15', '16', '20', '21', '22', '29', '32', '33', '37', '38', '52', '53'],
          ['4', '7', '9', 'B', 'C', 'G', 'H', 'I', 'M', 'N', 'P', 'Q', 'R', 'T', 'U', 'V', 'W', 'Z']))
    GROUP BY exchange, symbol, minute
) AS t USING (exchange, symbol, minute)
WHERE t.high > b.high OR t.low < b.low
ORDER BY key
