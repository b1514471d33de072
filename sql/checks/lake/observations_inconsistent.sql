-- Observations received that day whose dates are none, or whose key is not the day of their vintage.
SELECT 'observations' AS table_name, concat_ws(' ', exchange, symbol, record_key) AS key,
       format('of {}, vintage {}, key time {} ns', observation_date, vintage_date, key_time_ns) AS detail
FROM observations
WHERE date = $day
  AND (TRY_CAST(observation_date AS DATE) IS NULL
    OR strftime(make_timestamp(key_time_ns // 1000), '%Y-%m-%d') IS DISTINCT FROM vintage_date)
ORDER BY key
