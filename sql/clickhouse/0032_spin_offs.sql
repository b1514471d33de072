-- Of a spin-off the return factor takes the worth of what was given: so many shares of the new stock, at the open of its first daily
-- bar from the ex date on, of the same feed; bars that began before it are told what no factor covers (unadjusted) and by what the
-- stock ended (ended_by, ended_day): a merger has no price after it to be compared with. What only another vendor tells of a stock
-- and day counts too, splits and dividends excepted: Polygon tells no spin-offs. docs/decisions/adjusted_views.md
CREATE OR REPLACE VIEW bars_adjusted_at AS
WITH
    spans AS
    (
        SELECT exchange, symbol, first_day, until_day, instrument_id, current_symbol
        FROM
        (
            SELECT
                exchange, instrument_id, symbol, first_day,
                leadInFrame(toNullable(first_day)) OVER whole AS until_day,
                last_value(symbol) OVER whole AS current_symbol
            FROM
            (
                SELECT * FROM symbol_names_history
                WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
                ORDER BY recorded_ns DESC
                LIMIT 1 BY exchange, instrument_id, first_day
            )
            WHERE NOT withdrawn
            WINDOW whole AS
                (PARTITION BY exchange, instrument_id ORDER BY first_day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        WHERE symbol != ''
    ),
    told AS
    (
        SELECT exchange, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, new_symbol
        FROM
        (
            SELECT * FROM corporate_actions_history
            WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
            ORDER BY recorded_ns DESC
            LIMIT 1 BY exchange, action_id
        )
        WHERE NOT withdrawn AND action_kind != 'name_change'
          AND effective_day <= toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')
          AND effective_day <= toDate32(now(), 'America/New_York')
    ),
    of_feeds AS
    (
        SELECT * FROM told WHERE action_kind IN ('split', 'stock_dividend', 'cash_dividend')
        UNION ALL
        SELECT feed AS exchange, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount, new_symbol
        FROM
        (
            SELECT
                f.exchange AS feed, t.* EXCEPT (exchange), t.exchange AS told_by,
                first_value(t.exchange) OVER
                    (PARTITION BY f.exchange, t.symbol, t.action_kind, t.effective_day
                     ORDER BY t.exchange != f.exchange, t.exchange) AS teller
            FROM (SELECT * FROM told WHERE action_kind NOT IN ('split', 'stock_dividend', 'cash_dividend')) AS t
            CROSS JOIN (SELECT DISTINCT exchange FROM told) AS f
        )
        WHERE told_by = teller
    ),
    first_bars AS
    (
        SELECT exchange, symbol, day, argMax(toFloat64(open), receive_time_ns) AS open
        FROM (SELECT *, toDate32(time, 'America/New_York') AS day FROM bars)
        WHERE interval = '1d' AND bar_state >= 2 AND day < toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')
          AND (exchange, symbol) IN (SELECT exchange, new_symbol FROM of_feeds WHERE action_kind = 'spin_off')
        GROUP BY exchange, symbol, day
    ),
    valued AS
    (
        SELECT
            t.*,
            if(t.action_kind = 'spin_off' AND t.shares_before > 0 AND n.open > 0 AND n.day < t.effective_day + 7,
               ifNull(toFloat64(t.shares_after) / toFloat64(t.shares_before), 0.) * n.open, 0.) AS given
        FROM of_feeds AS t
        ASOF LEFT JOIN first_bars AS n ON n.exchange = t.exchange AND n.symbol = t.new_symbol AND t.effective_day <= n.day
    ),
    of_days AS
    (
        SELECT
            t.exchange AS exchange,
            multiIf(s.instrument_id != '' AND (isNull(s.until_day) OR t.effective_day < s.until_day), s.instrument_id,
                    h.instrument_id != '', h.instrument_id, t.symbol) AS whose,
            t.effective_day AS effective_day,
            arrayProduct(groupArray(if(t.action_kind IN ('split', 'stock_dividend'),
                                       toFloat64(t.shares_before) / toFloat64(t.shares_after), 1.))) AS split_of_day,
            sum(if(t.action_kind = 'cash_dividend', ifNull(toFloat64(t.cash_amount), 0.), 0.)) AS cash,
            cash + sum(t.given) AS paid,
            groupUniqArrayIf(toString(t.action_kind), t.given = 0 AND t.action_kind NOT IN
                ('split', 'stock_dividend', 'cash_dividend', 'cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption',
                 'worthless_removal', 'unit_split')) AS without_factor,
            groupUniqArrayIf(toString(t.action_kind), t.given > 0 OR t.action_kind = 'cash_dividend') AS with_price,
            minIf(concat(toString(t.effective_day), ' ', t.action_kind), t.action_kind IN
                ('cash_merger', 'stock_merger', 'stock_and_cash_merger', 'redemption', 'worthless_removal', 'unit_split')) AS ended
        FROM valued AS t
        ASOF LEFT JOIN spans AS s ON s.exchange = t.exchange AND s.symbol = t.symbol AND s.first_day <= t.effective_day
        LEFT JOIN (SELECT exchange, symbol, instrument_id FROM spans WHERE isNull(until_day)) AS h
            ON h.exchange = t.exchange AND h.symbol = t.symbol
        GROUP BY exchange, whose, effective_day
    ),
    closes AS
    (
        SELECT
            b.exchange AS exchange,
            if(s.instrument_id != '' AND (isNull(s.until_day) OR b.day < s.until_day), s.instrument_id, b.symbol) AS whose,
            b.day AS day, argMax(toFloat64(b.close), b.receive_time_ns) AS close
        FROM
        (
            SELECT exchange, symbol, toDate32(time, 'America/New_York') AS day, close, receive_time_ns
            FROM bars
            WHERE interval = '1d' AND bar_state >= 2 AND (exchange, symbol) IN
            (
                SELECT exchange, whose FROM of_days WHERE paid > 0
                UNION ALL
                SELECT exchange, symbol FROM spans WHERE (exchange, instrument_id) IN (SELECT exchange, whose FROM of_days WHERE paid > 0)
            )
        ) AS b
        ASOF LEFT JOIN spans AS s ON s.exchange = b.exchange AND s.symbol = b.symbol AND s.first_day <= b.day
        GROUP BY exchange, whose, day
    ),
    with_close AS
    (
        SELECT
            d.*, c.close AS close_before,
            d.paid > 0 AND d.paid < c.close * d.split_of_day AS is_covered
        FROM of_days AS d
        ASOF LEFT JOIN closes AS c ON c.exchange = d.exchange AND c.whose = d.whose AND c.day < d.effective_day
    ),
    factors AS
    (
        SELECT
            exchange, whose, effective_day,
            arrayProduct(groupArray(split_of_day) OVER later) AS split_factor,
            arrayProduct(groupArray(split_of_day * if(is_covered, 1 - paid / (close_before * split_of_day), 1.)) OVER later)
                AS return_factor,
            max(cash > 0 AND NOT is_covered) OVER later AS lacks_close,
            arrayStringConcat(arraySort(arrayDistinct(arrayFlatten(groupArray(
                if(is_covered, without_factor, arrayConcat(without_factor, with_price))) OVER later))), ',') AS unadjusted,
            minIf(ended, ended != '') OVER later AS ended
        FROM with_close
        WINDOW later AS (PARTITION BY exchange, whose ORDER BY effective_day DESC)
    )
SELECT
    b.time AS time, b.exchange AS exchange, b.symbol AS symbol, b.interval AS interval, b.open AS open, b.high AS high,
    b.low AS low, b.close AS close, b.volume AS volume, b.bar_state AS bar_state,
    if(f.split_factor > 0, f.split_factor, 1.) AS split_factor,
    if(f.split_factor > 0, f.return_factor, 1.) AS return_factor,
    f.lacks_close > 0 AS lacks_close,
    toFloat64(b.open) * split_factor AS open_split, toFloat64(b.high) * split_factor AS high_split,
    toFloat64(b.low) * split_factor AS low_split, toFloat64(b.close) * split_factor AS close_split,
    toFloat64(b.volume) / split_factor AS volume_split, toFloat64(b.close) * return_factor AS close_return,
    b.instrument_id AS instrument_id, b.current_symbol AS current_symbol, f.unadjusted AS unadjusted,
    splitByChar(' ', f.ended)[2] AS ended_by, toDate32OrNull(splitByChar(' ', f.ended)[1]) AS ended_day
FROM
(
    SELECT
        n.*,
        s.instrument_id != '' AND (isNull(s.until_day) OR n.day < s.until_day) AS is_named,
        if(is_named, s.instrument_id, '') AS instrument_id, if(is_named, s.instrument_id, n.symbol) AS whose,
        if(is_named, s.current_symbol, n.symbol) AS current_symbol
    FROM (SELECT *, toDate32(time, 'America/New_York') AS day FROM bars WHERE time < {known_time:DateTime64(9, 'UTC')}) AS n
    ASOF LEFT JOIN spans AS s ON s.exchange = n.exchange AND s.symbol = n.symbol AND s.first_day <= n.day
) AS b
ASOF LEFT JOIN factors AS f ON f.exchange = b.exchange AND f.whose = b.whose AND b.day < f.effective_day;

CREATE OR REPLACE VIEW bars_adjusted AS SELECT * FROM bars_adjusted_at(known_time = '2262-01-01 00:00:00');
