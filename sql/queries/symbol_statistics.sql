-- What is normal for each symbol: the last daily close, and mean and standard deviation of 30 daily returns.
-- Daily bars where the venue sends them, else the last print of each UTC day as it stands that sets a price (no odd lot,
-- no average price, nothing void). Parameters: as_of (DateTime).
-- Returns are simple (close / previous close - 1), and a day's previous close is multiplied by the split factors
-- that took effect since, so that a split is no return.
WITH
    daily AS
    (
        SELECT exchange, symbol, toDate(time) AS day, argMax(toFloat64(close), receive_time_ns) AS close
        FROM bars
        WHERE interval = '1d' AND bar_state >= 2 AND time >= {as_of:DateTime} - INTERVAL 45 DAY AND time < {as_of:DateTime}
        GROUP BY exchange, symbol, day
        UNION ALL
        SELECT exchange, symbol, toDate(time) AS day, argMax(toFloat64(last_price), (time, record_key)) AS close
        FROM trades_corrected
        WHERE sets_price AND time >= {as_of:DateTime} - INTERVAL 45 DAY AND time < toStartOfDay({as_of:DateTime})
          AND (exchange, symbol) NOT IN (SELECT exchange, symbol FROM bars WHERE interval = '1d')
        GROUP BY exchange, symbol, day
    ),
    adjusted AS
    (
        SELECT
            d.exchange AS exchange, d.symbol AS symbol, d.day AS day,
            d.close * arrayProduct(groupArray(if(s.effective_day > d.day AND s.effective_day <= toDate({as_of:DateTime}), s.factor, 1.))) AS close
        FROM daily AS d
        LEFT JOIN symbol_splits AS s ON s.exchange = d.exchange AND s.symbol = d.symbol
        GROUP BY d.exchange, d.symbol, d.day, d.close
    ),
    returns AS
    (
        SELECT
            exchange, symbol, day, close AS day_close,
            lagInFrame(close, 1, 0.) OVER (PARTITION BY exchange, symbol ORDER BY day
                                           ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS previous,
            row_number() OVER (PARTITION BY exchange, symbol ORDER BY day DESC) AS age
        FROM adjusted
    )
SELECT
    exchange,
    symbol,
    argMin(day_close, age)                                               AS close,
    ifNotFinite(avgIf(day_close / previous - 1, previous > 0), 0)        AS return_mean,
    ifNotFinite(stddevSampIf(day_close / previous - 1, previous > 0), 0) AS return_deviation,
    count()                                                              AS days
FROM returns
WHERE age <= 30
GROUP BY exchange, symbol
ORDER BY exchange, symbol
