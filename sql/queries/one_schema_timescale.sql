-- One schema: a stock, its option, a coin, a prediction and a macro series as they stood at one time. Each price is the last print until
-- then; the series says what was known then, which a later revision does not change.
WITH moment AS (SELECT timestamptz '2026-11-30 12:00:00+00' AS at),
prices AS (
    SELECT DISTINCT ON (exchange, symbol) exchange, symbol, time, last_price
    FROM trades, moment
    WHERE key_time > at - INTERVAL '8 days' AND key_time <= at + INTERVAL '1 day' AND time <= at
    ORDER BY exchange, symbol, time DESC, sequence DESC NULLS LAST
)
SELECT stock.symbol AS stock, stock.last_price AS stock_price,
       option.symbol AS option, option.last_price AS option_price,
       coin.symbol AS coin, coin.last_price AS coin_price,
       contract.symbol AS contract, contract.last_price AS probability,
       series.symbol AS series, series.observation_date, series.value, series.unit, series.vintage_date
FROM moment
JOIN prices AS stock ON stock.exchange = 'polygon' AND stock.symbol = 'AAPL'
JOIN prices AS option ON option.exchange = 'polygon_options' AND substring(option.symbol FROM '^[A-Z]+') = stock.symbol
JOIN prices AS coin ON coin.exchange = 'binance' AND coin.symbol = 'BTC-USDT'
JOIN prices AS contract ON contract.exchange = 'kalshi'
CROSS JOIN LATERAL (
    SELECT * FROM observations_asof(moment.at) AS o
    WHERE o.exchange = 'fred' AND o.symbol = 'UNRATE' ORDER BY o.observation_date DESC LIMIT 1
) AS series
ORDER BY option.symbol, contract.symbol;
