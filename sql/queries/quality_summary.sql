-- Quality per venue and day (ClickHouse), of [from, until).
--   gaps_per_million   declared gaps, starts aside, for a million events
--   share_repaired     of the gaps that a history can fill (repaired or still open); 1 where there was none
--   latency_ms         from receipt to storing, of streamed events
--   coverage           share of the day's span, from first to last event, over all (symbol, channel) with events,
--                      in which nothing is known to be missing for good or still missing; a gap without end lasts
--                      up to the venue's last event
WITH
    events AS (
        SELECT exchange, symbol, channel, toDate(time) AS day, time, receive_time_ns, stored_time, source FROM trades
        WHERE time >= {from:DateTime64(9, 'UTC')} AND time < {until:DateTime64(9, 'UTC')}
        UNION ALL SELECT exchange, symbol, channel, toDate(time), time, receive_time_ns, stored_time, source FROM quotes
        WHERE time >= {from:DateTime64(9, 'UTC')} AND time < {until:DateTime64(9, 'UTC')}
        UNION ALL SELECT exchange, symbol, channel, toDate(time), time, receive_time_ns, stored_time, source FROM books
        WHERE time >= {from:DateTime64(9, 'UTC')} AND time < {until:DateTime64(9, 'UTC')}
        UNION ALL SELECT exchange, symbol, channel, toDate(time), time, receive_time_ns, stored_time, source FROM bars
        WHERE time >= {from:DateTime64(9, 'UTC')} AND time < {until:DateTime64(9, 'UTC')}
    ),
    by_day AS (
        SELECT
            exchange, day,
            count() AS events,
            uniqExact(symbol, channel) AS channels,
            dateDiff('millisecond', min(time), max(time)) / 1000 AS span_s,
            toUnixTimestamp64Nano(max(time)) AS last_ns,
            quantileIf(0.5)((toUnixTimestamp64Nano(stored_time) - receive_time_ns) / 1e6, source = 'stream') AS p50,
            quantileIf(0.99)((toUnixTimestamp64Nano(stored_time) - receive_time_ns) / 1e6, source = 'stream') AS p99
        FROM events GROUP BY exchange, day
    ),
    holes AS (
        SELECT
            exchange, day,
            count() AS gaps,
            countIf(gap_state = 'repaired') AS repaired,
            countIf(gap_state = 'open') AS open,
            countIf(gap_state = 'source_hole') AS source_holes,
            countIf(gap_state = 'unrepairable') AS unrepairable,
            sumIf(greatest(0, end_ns - from_time_ns), gap_state != 'repaired' AND from_time_ns > 0) / 1e9 AS missing_s
        FROM
        (
            SELECT
                g.exchange AS exchange, toDate(g.time) AS day, gap_state, from_time_ns,
                if(to_time_ns = 0, d.last_ns, to_time_ns) AS end_ns
            FROM gaps AS g LEFT JOIN by_day AS d ON g.exchange = d.exchange AND toDate(g.time) = d.day
            WHERE gap_kind != 'start' AND g.time >= {from:DateTime64(9, 'UTC')} AND g.time < {until:DateTime64(9, 'UTC')}
        )
        GROUP BY exchange, day
    )
SELECT
    toString(d.exchange) AS exchange,
    toString(d.day) AS day,
    d.events AS events,
    h.gaps AS gaps,
    round(1e6 * h.gaps / d.events, 3) AS gaps_per_million,
    h.repaired AS repaired, h.open AS open, h.source_holes AS source_holes, h.unrepairable AS unrepairable,
    if(h.repaired + h.open = 0, 1, round(h.repaired / (h.repaired + h.open), 4)) AS share_repaired,
    round(d.p50, 3) AS latency_p50_ms,
    round(d.p99, 3) AS latency_p99_ms,
    if(d.span_s = 0, 1, round(greatest(0, 1 - h.missing_s / (d.span_s * d.channels)), 6)) AS coverage
FROM by_day AS d LEFT JOIN holes AS h ON d.exchange = h.exchange AND d.day = h.day
ORDER BY exchange, day
