-- A book with a level whose price is zero or below, or whose size is negative.
SELECT 'book_updates' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat('least price ', toString(arrayMin(arrayConcat(bid_prices, ask_prices))),
              ', least size ', toString(arrayMin(arrayConcat(bid_sizes, ask_sizes)))) AS detail
FROM books
WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
  AND (arrayExists(price -> price <= 0, bid_prices) OR arrayExists(price -> price <= 0, ask_prices)
       OR arrayExists(size -> size < 0, bid_sizes) OR arrayExists(size -> size < 0, ask_sizes))
ORDER BY key
