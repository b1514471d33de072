-- Observations received that day whose dates are none, or whose key is not the day of their vintage.
SELECT 'observations' AS table_name, concat(exchange, ' ', symbol, ' ', record_key) AS key,
       concat('of ', observation_date, ', vintage ', vintage_date, ', key time ', toString(key_time)) AS detail
FROM observations
WHERE receive_time >= toDateTime({day:Date}) AND receive_time < toDateTime({day:Date}) + INTERVAL 1 DAY
  AND (isNull(toDate32OrNull(observation_date)) OR isNull(toDate32OrNull(vintage_date))
    OR toString(toDate32(key_time)) != vintage_date)
ORDER BY key
