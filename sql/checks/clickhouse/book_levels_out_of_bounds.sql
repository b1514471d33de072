-- A level with a price of zero or below, or a negative size.
SELECT 'book_updates' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat(toString(side), ' level ', toString(level), ': ', toString(size), ' at ', toString(price)) AS detail
FROM book_updates
WHERE key_time >= toDateTime({day:Date}) AND key_time < toDateTime({day:Date}) + INTERVAL 1 DAY
  AND (price <= 0 OR size < 0)
ORDER BY key
