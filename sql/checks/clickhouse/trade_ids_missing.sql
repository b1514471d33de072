-- Ids that are missing between two trades of a venue whose ids are contiguous, and that no gap of the ledger declares.
SELECT 'trades' AS table_name,
       concat(exchange, ' ', symbol, ' ', toString(missing_from), '-', toString(missing_to)) AS key,
       concat(toString(missing_to - missing_from + 1), ' ids between two stored trades, in no gap') AS detail
FROM
(
    SELECT exchange, symbol,
           lagInFrame(sequence, 1, sequence) OVER w + 1 AS missing_from,
           sequence - 1 AS missing_to
    FROM trades
    WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND exchange IN ('binance', 'binance_usdm') AND channel = 'trade' AND isNotNull(sequence)
    WINDOW w AS (PARTITION BY exchange, symbol ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
) AS hole
WHERE missing_to >= missing_from
  AND (exchange, symbol, missing_from, missing_to) NOT IN
  (
      SELECT h.exchange, h.symbol, h.missing_from, h.missing_to
      FROM
      (
          SELECT exchange, symbol, lagInFrame(sequence, 1, sequence) OVER w + 1 AS missing_from, sequence - 1 AS missing_to
          FROM trades
          WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
            AND exchange IN ('binance', 'binance_usdm') AND channel = 'trade' AND isNotNull(sequence)
          WINDOW w AS (PARTITION BY exchange, symbol ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
      ) AS h
      INNER JOIN gaps AS g ON g.exchange = h.exchange AND g.symbol = h.symbol
      WHERE g.channel = 'trade' AND g.from_sequence <= h.missing_from AND g.to_sequence >= h.missing_to
  )
ORDER BY key
