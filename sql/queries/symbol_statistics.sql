-- What is normal for each symbol: the last daily close, and mean and standard deviation of 30 daily returns.
-- Daily bars where the venue sends them, else the last print of each UTC day as it stands that sets a price (no odd lot,
-- no average price, nothing void). Parameters: as_of (DateTime).
-- Returns are simple (close / previous close - 1), and a day's previous close is multiplied by the split factors
-- that took effect since, so that a split is no return. Over a day on which something without a factor was given or taken
-- (a spin-off, rights) there is no return.
-- A stock is followed through its names (symbol_names), and told under the one it has: days on which its name was another's
-- are not its own, and neither are those on which nobody is known to have had it.
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
            FROM symbol_names
            WHERE first_day <= toDate32({as_of:DateTime})
            WINDOW whole AS
                (PARTITION BY exchange, instrument_id ORDER BY first_day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        )
        WHERE symbol != ''
    ),
    holders AS (SELECT exchange, symbol, instrument_id FROM spans WHERE isNull(until_day)),
    of_names AS
    (
        SELECT exchange, symbol, toDate32(time) AS day, argMax(toFloat64(close), receive_time_ns) AS close
        FROM bars
        WHERE interval = '1d' AND bar_state >= 2 AND time >= {as_of:DateTime} - INTERVAL 45 DAY AND time < {as_of:DateTime}
        GROUP BY exchange, symbol, day
        UNION ALL
        SELECT exchange, symbol, toDate32(time) AS day, argMax(toFloat64(last_price), (time, record_key)) AS close
        FROM trades_corrected
        WHERE sets_price AND time >= {as_of:DateTime} - INTERVAL 45 DAY AND time < toStartOfDay({as_of:DateTime})
          AND (exchange, symbol) NOT IN (SELECT exchange, symbol FROM bars WHERE interval = '1d')
        GROUP BY exchange, symbol, day
    ),
    daily AS
    (
        SELECT
            d.exchange AS exchange, d.day AS day, d.close AS close,
            s.instrument_id != '' AND (isNull(s.until_day) OR d.day < s.until_day) AS is_named,
            if(is_named, s.instrument_id, d.symbol) AS whose, if(is_named, s.current_symbol, d.symbol) AS symbol
        FROM of_names AS d
        ASOF LEFT JOIN spans AS s ON s.exchange = d.exchange AND s.symbol = d.symbol AND s.first_day <= d.day
        LEFT JOIN holders AS h ON h.exchange = d.exchange AND h.symbol = d.symbol
        WHERE if(is_named, s.current_symbol != '', h.instrument_id = '')
    ),
    told AS
    (
        SELECT exchange, symbol, effective_day, factor FROM symbol_splits
        UNION ALL
        SELECT f.exchange AS exchange, a.symbol AS symbol, a.effective_day AS effective_day, 0. AS factor
        FROM corporate_actions AS a
        CROSS JOIN (SELECT DISTINCT exchange FROM corporate_actions) AS f
        WHERE a.action_kind NOT IN ('split', 'stock_dividend', 'cash_dividend', 'name_change')
    ),
    actions AS
    (
        SELECT
            t.exchange AS exchange, t.effective_day AS effective_day, t.factor AS factor,
            multiIf(s.instrument_id != '' AND (isNull(s.until_day) OR t.effective_day < s.until_day), s.instrument_id,
                    h.instrument_id != '', h.instrument_id, t.symbol) AS whose
        FROM told AS t
        ASOF LEFT JOIN spans AS s ON s.exchange = t.exchange AND s.symbol = t.symbol AND s.first_day <= t.effective_day
        LEFT JOIN holders AS h ON h.exchange = t.exchange AND h.symbol = t.symbol
        WHERE t.effective_day <= toDate32({as_of:DateTime})
    ),
    adjusted AS
    (
        SELECT
            d.exchange AS exchange, d.whose AS whose, any(d.symbol) AS symbol, d.day AS day,
            any(d.close) * arrayProduct(groupArray(if(a.factor > 0 AND a.effective_day > d.day, a.factor, 1.))) AS close,
            groupArrayIf(a.effective_day, a.whose != '' AND a.factor = 0) AS broken
        FROM daily AS d
        LEFT JOIN actions AS a ON a.exchange = d.exchange AND a.whose = d.whose
        GROUP BY d.exchange, d.whose, d.day
    ),
    returns AS
    (
        SELECT
            exchange, whose, symbol, day, close AS day_close, broken,
            lagInFrame(close, 1, 0.) OVER before AS previous, lagInFrame(day, 1) OVER before AS previous_day,
            row_number() OVER (PARTITION BY exchange, whose ORDER BY day DESC) AS age
        FROM adjusted
        WINDOW before AS
            (PARTITION BY exchange, whose ORDER BY day ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    )
SELECT
    exchange,
    symbol,
    argMin(day_close, age)                                             AS close,
    ifNotFinite(avgIf(day_close / previous - 1, is_return), 0)         AS return_mean,
    ifNotFinite(stddevSampIf(day_close / previous - 1, is_return), 0)  AS return_deviation,
    count()                                                            AS days
FROM
(
    SELECT *, previous > 0 AND NOT arrayExists(on -> on > previous_day AND on <= day, broken) AS is_return
    FROM returns
    WHERE age <= 30
)
GROUP BY exchange, whose, symbol
ORDER BY exchange, symbol
