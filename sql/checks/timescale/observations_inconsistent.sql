-- Observations received that day whose dates are none, or whose key is not the day of their vintage.
SELECT 'observations' AS table_name, exchange || ' ' || symbol || ' ' || record_key AS key,
       'of ' || coalesce(observation_date, '') || ', vintage ' || coalesce(vintage_date, '') || ', key time ' || key_time AS detail
FROM observations
WHERE time >= %(day)s::date AND time < %(day)s::date + 1
  AND (observation_date IS NULL OR observation_date !~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
    OR to_char(key_time AT TIME ZONE 'UTC', 'YYYY-MM-DD') IS DISTINCT FROM vintage_date)
ORDER BY 2
