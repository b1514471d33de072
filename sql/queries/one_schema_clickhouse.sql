-- One schema: a stock, its option, a coin, a prediction and a macro series as they stood at one time. Each price is the last print until
-- then; the series says what was known then, which a later revision does not change.
WITH
    toDateTime64('2026-11-30 12:00:00', 9, 'UTC') AS at,
    prices AS
    (
        SELECT exchange, symbol, argMax(last_price, (time, ifNull(sequence, -1))) AS last_price
        FROM trades
        WHERE key_time > at - INTERVAL 8 DAY AND key_time <= at + INTERVAL 1 DAY AND time <= at
        GROUP BY exchange, symbol
    )
SELECT stock.symbol AS stock, stock.last_price AS stock_price,
       option.symbol AS option, option.last_price AS option_price,
       coin.symbol AS coin, coin.last_price AS coin_price,
       contract.symbol AS contract, contract.last_price AS probability,
       series.symbol AS series, series.observation_date, series.value, series.unit, series.vintage_date
FROM (SELECT * FROM prices WHERE exchange = 'polygon' AND symbol = 'AAPL') AS stock
INNER JOIN (SELECT extract(symbol, '^[A-Z]+') AS underlying, symbol, last_price FROM prices WHERE exchange = 'polygon_options') AS option
    ON option.underlying = stock.symbol
CROSS JOIN (SELECT * FROM prices WHERE exchange = 'binance' AND symbol = 'BTC-USDT') AS coin
CROSS JOIN (SELECT * FROM prices WHERE exchange = 'kalshi') AS contract
CROSS JOIN
(
    SELECT * FROM observations_asof(at = '2026-11-30 12:00:00')
    WHERE exchange = 'fred' AND symbol = 'UNRATE' ORDER BY observation_date DESC LIMIT 1
) AS series
ORDER BY option.symbol, contract.symbol;
