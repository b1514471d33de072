"""The candles of TimescaleDB, ``ohlcv_1m``, ``ohlcv_1h`` and ``ohlcv_1d``: tables that the load keeps.

    rows of a batch ─▶ pending_candles (exchange, symbol, hour)     in the transaction of the rows
    refresh         ─▶ ohlcv_1m ─▶ ohlcv_1h, ohlcv_1d               a transaction per day

A candle is made of ``trades_corrected``, hence of prints as they stand, each setting what its conditions let it
(``etl/model/sale_conditions.py``). Buckets go by key time (the event time floored to a millisecond or so), those of a
replacement by the time of its correction, hence only prints with an event time. Open and close order prints by time,
then sequence (hundreds can share a millisecond), as one number: ``first`` and ``last`` take no row or array.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Literal

from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
from etl.wire.columns import Rows

_NOTE = """
INSERT INTO pending_candles (exchange, symbol, hour)
SELECT exchange, symbol, to_timestamp(hour_s)
FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS noted (exchange, symbol, hour_s)
ON CONFLICT (hour, exchange, symbol) DO UPDATE SET noted = pending_candles.noted + 1
"""
_NOTE_CORRECTED = """
WITH batch AS (
    SELECT c.*
    FROM corrections_keyed AS c
    JOIN unnest(%(exchanges)s::text[], %(symbols)s::text[], %(keys)s::text[]) AS new (exchange, symbol, record_key)
        ON (c.exchange, c.symbol, c.record_key) = (new.exchange, new.symbol, new.record_key)
    WHERE c.key_time >= {start} AND c.key_time < {end}
), touched AS (
    SELECT exchange, symbol, time FROM batch
    UNION ALL
    SELECT t.exchange, t.symbol, t.key_time
    FROM batch
    JOIN trades AS t ON t.exchange = batch.exchange AND t.symbol = batch.symbol
        AND t.record_key IN (batch.voided_key, batch.replacement_key) AND t.key_time >= {start} AND t.key_time < {end}
    UNION ALL
    SELECT former.exchange, former.symbol, former.time
    FROM batch
    JOIN corrections_keyed AS former ON former.exchange = batch.exchange AND former.symbol = batch.symbol
        AND former.replacement_key = batch.voided_key AND former.key_time >= {start} AND former.key_time < {end}
)
INSERT INTO pending_candles (exchange, symbol, hour)
SELECT DISTINCT exchange, symbol, time_bucket(INTERVAL '1 hour', time) FROM touched
ON CONFLICT (hour, exchange, symbol) DO UPDATE SET noted = pending_candles.noted + 1
"""
"""The hours of the voided print, of what takes its place, and of a former replacement that is voided now."""

_NEARBY_DAYS = 2
"""A correction's key time is the print's day in New York: the print lies within so many days of it."""

_PENDING = "unnest(%(exchanges)s::text[], %(symbols)s::text[], %(hours)s::timestamptz[]) AS p (exchange, symbol, hour)"
_IN_PENDING = (
    "c.exchange = p.exchange AND c.symbol = p.symbol"
    " AND c.bucket >= p.hour AND c.bucket < p.hour + INTERVAL '1 hour'"
)
_DAY = "{column} >= {start} AND {column} < {end}"
_ORDER = "event_time_ns * 1e19 + coalesce(sequence, frame_sequence * 10000 + frame_index)"

_REMOVE_MINUTES = f"""
DELETE FROM ohlcv_1m AS c USING {_PENDING}
WHERE {_IN_PENDING} AND {_DAY.replace("{column}", "c.bucket")}
"""  # noqa: S608  names of ours
_MAKE_MINUTES = f"""
INSERT INTO ohlcv_1m (exchange, symbol, bucket, open, high, low, close, volume, turnover, trades, extended_hours)
SELECT p.exchange, p.symbol, minute.*
FROM {_PENDING} CROSS JOIN LATERAL (
    SELECT time_bucket(INTERVAL '1 minute', key_time) AS bucket,
           coalesce(first(last_price, {_ORDER}) FILTER (WHERE sets_price),
                    first(last_price, {_ORDER}) FILTER (WHERE sets_extended_price)),
           coalesce(max(last_price) FILTER (WHERE sets_price), max(last_price) FILTER (WHERE sets_extended_price)),
           coalesce(min(last_price) FILTER (WHERE sets_price), min(last_price) FILTER (WHERE sets_extended_price)),
           coalesce(last(last_price, {_ORDER}) FILTER (WHERE sets_price),
                    last(last_price, {_ORDER}) FILTER (WHERE sets_extended_price)),
           coalesce(sum(volume) FILTER (WHERE adds_volume), 0),
           coalesce(sum(last_price * volume) FILTER (WHERE adds_volume), 0),
           count(*) FILTER (WHERE adds_volume),
           bool_or(sets_extended_price) AND NOT bool_or(sets_price)
    FROM trades_corrected AS t
    WHERE t.exchange = p.exchange AND t.symbol = p.symbol AND t.event_time_ns IS NOT NULL
      AND t.key_time >= p.hour AND t.key_time < p.hour + INTERVAL '1 hour' AND {_DAY.replace("{column}", "t.key_time")}
    GROUP BY 1
    HAVING bool_or(adds_volume)
) AS minute
"""  # noqa: S608
_MAKE_LONGER = f"""
WITH touched AS (
    SELECT DISTINCT p.exchange, p.symbol, time_bucket({{interval}}, p.hour) AS bucket FROM {_PENDING}
), removed AS (
    DELETE FROM {{table}} AS c USING touched
    WHERE c.exchange = touched.exchange AND c.symbol = touched.symbol AND c.bucket = touched.bucket
      AND {_DAY.replace("{column}", "c.bucket")}
      AND NOT EXISTS (SELECT FROM ohlcv_1m AS m
                      WHERE m.exchange = c.exchange AND m.symbol = c.symbol
                        AND m.bucket >= c.bucket AND m.bucket < c.bucket + {{interval}}
                        AND {_DAY.replace("{column}", "m.bucket")})
)
INSERT INTO {{table}}
    (exchange, symbol, bucket, open, high, low, close, volume, turnover, trades, extended_hours)
SELECT touched.exchange, touched.symbol, touched.bucket, candle.*
FROM touched CROSS JOIN LATERAL (
    SELECT coalesce(first(open, bucket) FILTER (WHERE regular), first(open, bucket) FILTER (WHERE open IS NOT NULL)),
           coalesce(max(high) FILTER (WHERE regular), max(high)),
           coalesce(min(low) FILTER (WHERE regular), min(low)),
           coalesce(last(close, bucket) FILTER (WHERE regular), last(close, bucket) FILTER (WHERE close IS NOT NULL)),
           sum(volume), sum(turnover), sum(trades), bool_or(extended_hours) AND NOT bool_or(regular)
    FROM (
        SELECT m.*, m.open IS NOT NULL AND NOT (m.extended_hours AND {{regular_only}}) AS regular
        FROM ohlcv_1m AS m
        WHERE m.exchange = touched.exchange AND m.symbol = touched.symbol AND m.bucket >= touched.bucket
          AND m.bucket < touched.bucket + {{interval}} AND {_DAY.replace("{column}", "m.bucket")}
    ) AS minutes
    HAVING count(*) > 0
) AS candle
ON CONFLICT (exchange, symbol, bucket) DO UPDATE
SET (open, high, low, close, volume, turnover, trades, extended_hours)
    = (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume, excluded.turnover, excluded.trades,
       excluded.extended_hours)
"""  # noqa: S608
"""An hour takes every minute's prices, a day those of extended hours only for want of others, as venues' bars do."""

_LONGER = (("ohlcv_1h", "1 hour", False), ("ohlcv_1d", "1 day", True))


def note_trades(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """In the rows' transaction: the hours whose candles they change."""
    values = rows.values
    hours = {
        (exchange, symbol, time_ns // NS_PER_HOUR * NS_PER_HOUR // NS_PER_S)
        for exchange, symbol, time_ns in zip(
            values["exchange"], values["symbol"], values["key_time_ns"], strict=True
        )
    }
    connection.execute(_NOTE, [list(column) for column in zip(*sorted(hours), strict=True)])


def note_corrections(connection: psycopg.Connection[Any], rows: Rows) -> None:
    """In the transaction of ``rows``, after them and the trades of their batch: the hours whose candles they change."""
    values = rows.values
    nearby_ns = _NEARBY_DAYS * NS_PER_DAY
    start_ns, end_ns = min(values["key_time_ns"]) - nearby_ns, max(values["key_time_ns"]) + nearby_ns
    connection.execute(
        SQL(_NOTE_CORRECTED).format(**_bounds(start_ns // NS_PER_S, end_ns // NS_PER_S)),
        {"exchanges": values["exchange"], "symbols": values["symbol"], "keys": values["record_key"]},
    )


def refresh(connection: psycopg.Connection[Any]) -> int:
    """Make the pending candles anew, a day at a time; returns the number of days.

    An hour is taken off the list only with its candles, and not if it was noted again meanwhile.
    """
    days = connection.execute(
        "SELECT DISTINCT extract(epoch FROM time_bucket(INTERVAL '1 day', hour))::bigint FROM pending_candles"
        " ORDER BY 1"
    ).fetchall()
    for (day_s,) in days:
        with connection.transaction():
            _refresh_day(connection, day_s)
    return len(days)


def _refresh_day(connection: psycopg.Connection[Any], day_s: int) -> None:
    # of two loads one waits, and then finds the day done
    connection.execute("LOCK TABLE pending_candles IN SHARE UPDATE EXCLUSIVE MODE")
    bounds = _bounds(day_s, day_s + NS_PER_DAY // NS_PER_S)
    pending = connection.execute(
        SQL(
            "SELECT exchange, symbol, hour, noted FROM pending_candles WHERE hour >= {start} AND hour < {end}"
        ).format(**bounds)
    ).fetchall()
    if not pending:
        return
    exchanges, symbols, hours, noted = (list(column) for column in zip(*pending, strict=True))
    parameters = {"exchanges": exchanges, "symbols": symbols, "hours": hours, "noted": noted}
    connection.execute(SQL(_REMOVE_MINUTES).format(**bounds), parameters)
    connection.execute(SQL(_MAKE_MINUTES).format(**bounds), parameters)
    for table, interval, regular_only in _LONGER:
        statement = SQL(_MAKE_LONGER).format(
            table=SQL(table), interval=SQL(f"INTERVAL '{interval}'"), regular_only=Literal(regular_only), **bounds
        )  # fmt: skip
        connection.execute(statement, parameters)
    connection.execute(
        "DELETE FROM pending_candles WHERE (exchange, symbol, hour, noted) IN (SELECT * FROM unnest("
        "%(exchanges)s::text[], %(symbols)s::text[], %(hours)s::timestamptz[], %(noted)s::bigint[]))",
        parameters,
    )


def _bounds(start_s: int, end_s: int) -> dict[str, Composed]:
    """As literals, so that the plan opens only the chunks between."""
    start, end = (SQL("to_timestamp({})").format(Literal(second)) for second in (start_s, end_s))
    return {"start": start, "end": end}
