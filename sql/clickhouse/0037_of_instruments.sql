-- Not bars alone: what else is told of a stock, under all the names that the instrument had which is called so today, as bars_of has it
-- since 0029. A name of which nothing is known is taken as it is. A day is New York's.
-- Each is a filter of its table and no join, so that a range of time is looked up where it lies.

CREATE OR REPLACE VIEW bars_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM bars
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);

CREATE OR REPLACE VIEW trades_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM trades
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);

CREATE OR REPLACE VIEW trades_corrected_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM trades_corrected
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);

CREATE OR REPLACE VIEW quotes_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM quotes
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);

CREATE OR REPLACE VIEW statuses_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM statuses
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);

CREATE OR REPLACE VIEW corrections_of AS
WITH (
    SELECT groupArray((symbol, first_day, until_day)) FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
) AS spans
SELECT {current_symbol:String} AS current_symbol, *
FROM corrections
WHERE exchange = {of_exchange:String} AND symbol IN
(
    SELECT symbol FROM symbol_spans
    WHERE exchange = {of_exchange:String} AND current_symbol = {current_symbol:String}
    UNION ALL
    SELECT {current_symbol:String}
)
AND
(
    arrayExists(
        span -> span.1 = symbol AND span.2 <= toDate32(time, 'America/New_York')
            AND (isNull(span.3) OR toDate32(time, 'America/New_York') < span.3),
        spans)
    OR {current_symbol:String} NOT IN (SELECT symbol FROM symbol_spans WHERE exchange = {of_exchange:String})
);
