-- One schema: a stock, its option, a coin, a prediction and a macro series as they stood at one time. Each price is the last print until
-- then; the series says what was known then, which a later revision does not change.
WITH prices AS (
    SELECT exchange, symbol, max(time) AS time, arg_max(last_price, (time, coalesce(sequence, -1))) AS last_price
    FROM trades
    WHERE time <= TIMESTAMPTZ '2026-11-30 12:00:00+00' AND date > DATE '2026-11-22'
    GROUP BY exchange, symbol
),
series AS (
    SELECT * FROM observations_asof('2026-11-30 12:00:00+00')
    WHERE exchange = 'fred' AND symbol = 'UNRATE' ORDER BY observation_date DESC LIMIT 1
)
SELECT stock.symbol AS stock, stock.last_price AS stock_price,
       option.symbol AS option, option.last_price AS option_price,
       coin.symbol AS coin, coin.last_price AS coin_price,
       contract.symbol AS contract, contract.last_price AS probability,
       series.symbol AS series, series.observation_date, series.value, series.unit, series.vintage_date
FROM prices AS stock
JOIN prices AS option ON option.exchange = 'polygon_options' AND regexp_extract(option.symbol, '^[A-Z]+') = stock.symbol
JOIN prices AS coin ON coin.exchange = 'binance' AND coin.symbol = 'BTC-USDT'
JOIN prices AS contract ON contract.exchange = 'kalshi'
CROSS JOIN series
WHERE stock.exchange = 'polygon' AND stock.symbol = 'AAPL'
ORDER BY option.symbol, contract.symbol;
