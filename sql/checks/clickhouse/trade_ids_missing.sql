-- Ids that are missing before a trade of the day, of a venue whose ids are contiguous, and that no gap of the ledger
-- declares. A repaired gap declares nothing; several gaps may declare a hole together.
WITH declared AS
(
    SELECT exchange, symbol, groupArray((assumeNotNull(from_sequence), assumeNotNull(to_sequence))) AS ranges
    FROM gaps
    WHERE channel = 'trade' AND gap_state != 'repaired' AND isNotNull(from_sequence) AND isNotNull(to_sequence)
    GROUP BY exchange, symbol
)
SELECT 'trades' AS table_name,
       concat(exchange, ' ', symbol, ' ', toString(missing_from), '-', toString(missing_to)) AS key,
       concat(toString(missing_to - missing_from + 1), ' ids between two stored trades, in no gap') AS detail
FROM
(
    SELECT exchange, symbol, key_time,
           assumeNotNull(lagInFrame(sequence, 1, sequence) OVER w) + 1 AS missing_from,
           assumeNotNull(sequence) - 1 AS missing_to
    FROM trades
    WHERE key_time >= toDateTime({day:Date}) - INTERVAL 1 HOUR AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
      AND exchange IN ('binance', 'binance_usdm') AND channel = 'trade' AND isNotNull(sequence)
    WINDOW w AS (PARTITION BY exchange, symbol ORDER BY sequence ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
) AS hole
LEFT JOIN declared USING (exchange, symbol)
WHERE missing_to >= missing_from AND key_time >= toDateTime({day:Date})
  AND arrayReduce('intervalLengthSum',
          arrayMap(range -> greatest(range.1, missing_from), ranges),
          arrayMap(range -> greatest(least(range.2, missing_to) + 1, greatest(range.1, missing_from)), ranges))
      < missing_to - missing_from + 1
ORDER BY key
