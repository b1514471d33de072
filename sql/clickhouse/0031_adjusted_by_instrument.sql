-- Adjusted bars follow the instrument, not the name: of a stock that was renamed the bars under its former names are adjusted by its
-- later splits and dividends, and those that another one had under its name are not. Names and actions are those that were known
-- at the time. An action is that of whoever had its name on its day; had nobody, of whoever is called so now, since vendors give
-- some by the name of today. What is in no list of names goes by its symbol, as before.
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
        SELECT exchange, symbol, action_kind, effective_day, shares_before, shares_after, cash_amount
        FROM
        (
            SELECT * FROM corporate_actions_history
            WHERE recorded_ns <= toUnixTimestamp64Nano({known_time:DateTime64(9, 'UTC')})
            ORDER BY recorded_ns DESC
            LIMIT 1 BY exchange, action_id
        )
        WHERE NOT withdrawn AND action_kind IN ('split', 'stock_dividend', 'cash_dividend')
          AND effective_day <= toDate32({known_time:DateTime64(9, 'UTC')}, 'America/New_York')
          AND effective_day <= toDate32(now(), 'America/New_York')
    ),
    of_days AS
    (
        SELECT
            t.exchange AS exchange,
            multiIf(s.instrument_id != '' AND (isNull(s.until_day) OR t.effective_day < s.until_day), s.instrument_id,
                    h.instrument_id != '', h.instrument_id, t.symbol) AS whose,
            t.effective_day AS effective_day,
            arrayProduct(groupArray(
                if(isNull(t.shares_after), 1., toFloat64(t.shares_before) / toFloat64(t.shares_after)))) AS split_of_day,
            sum(ifNull(toFloat64(t.cash_amount), 0.)) AS cash
        FROM told AS t
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
                SELECT exchange, whose FROM of_days WHERE cash > 0
                UNION ALL
                SELECT exchange, symbol FROM spans WHERE (exchange, instrument_id) IN (SELECT exchange, whose FROM of_days WHERE cash > 0)
            )
        ) AS b
        ASOF LEFT JOIN spans AS s ON s.exchange = b.exchange AND s.symbol = b.symbol AND s.first_day <= b.day
        GROUP BY exchange, whose, day
    ),
    with_close AS
    (
        SELECT d.exchange AS exchange, d.whose AS whose, d.effective_day AS effective_day,
               d.split_of_day AS split_of_day, d.cash AS cash, c.close AS close_before
        FROM of_days AS d
        ASOF LEFT JOIN closes AS c ON c.exchange = d.exchange AND c.whose = d.whose AND c.day < d.effective_day
    ),
    factors AS
    (
        SELECT
            exchange, whose, effective_day,
            arrayProduct(groupArray(split_of_day) OVER later) AS split_factor,
            arrayProduct(groupArray(split_of_day
                * if(cash > 0 AND close_before > 0, 1 - cash / (close_before * split_of_day), 1.)) OVER later) AS return_factor,
            max(cash > 0 AND NOT close_before > 0) OVER later AS lacks_close
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
    b.instrument_id AS instrument_id, b.current_symbol AS current_symbol
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
