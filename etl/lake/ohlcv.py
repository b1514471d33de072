"""Bars made of one day's trades, by the rule that ``etl/sinks/candles.py`` has for TimescaleDB. Decimals are exact.

Each print sets what its conditions let it: prices, prices for want of others (extended hours), volume. DuckDB makes the
seconds, and the minutes of these. It multiplies no decimal of more than 38 digits: symbols whose prices or volumes are
not DECIMAL(18,8), or whose turnover might not fit, are added up in Python, 2 µs a print.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Any

import pyarrow as pa
from duckdb import DuckDBPyConnection

from etl.lake.layout import BARS_NS, DECIMAL, DERIVED_SCHEMAS
from etl.model.decimals import EXACT
from etl.model.times import NS_PER_S, NS_PER_US

_PRINTS = """
CREATE OR REPLACE TEMP VIEW prints AS
SELECT symbol, key_time_ns // {second} AS second, last_price, volume, sets_price, sets_extended_price, adds_volume,
       event_time_ns::HUGEINT * 10000000000000000000 + coalesce(sequence, frame_sequence * 10000 + frame_index) AS place
FROM trades_corrected
WHERE date = DATE '{day}' AND event_time_ns <> 0
"""
_WIDE_SYMBOLS = """
CREATE OR REPLACE TEMP TABLE wide_symbols AS
SELECT symbol
FROM prints
GROUP BY symbol
HAVING bool_or(TRY_CAST(last_price AS DECIMAL(18,8)) IS DISTINCT FROM last_price
               OR TRY_CAST(volume AS DECIMAL(18,8)) IS DISTINCT FROM volume)
    OR max(abs(last_price))::DOUBLE * sum(abs(volume)::DOUBLE) >= 1e18
"""
_SECONDS = """
CREATE OR REPLACE TEMP TABLE seconds AS
SELECT symbol, second,
       arg_min(price, place) FILTER (WHERE sets_price) AS open, max(price) FILTER (WHERE sets_price) AS high,
       min(price) FILTER (WHERE sets_price) AS low, arg_max(price, place) FILTER (WHERE sets_price) AS close,
       arg_min(price, place) FILTER (WHERE sets_extended_price) AS extended_open,
       max(price) FILTER (WHERE sets_extended_price) AS extended_high,
       min(price) FILTER (WHERE sets_extended_price) AS extended_low,
       arg_max(price, place) FILTER (WHERE sets_extended_price) AS extended_close,
       coalesce(sum(size) FILTER (WHERE adds_volume), 0)::DECIMAL(38,8) AS volume,
       coalesce(sum(price::DECIMAL(38,8) * size) FILTER (WHERE adds_volume), 0)::DECIMAL(38,16) AS turnover,
       count(*) FILTER (WHERE adds_volume) AS trades,
       bool_or(sets_extended_price) AND NOT bool_or(sets_price) AS extended_hours, bool_or(sets_price) AS regular
FROM (
    SELECT *, last_price::DECIMAL(18,8) AS price, prints.volume::DECIMAL(18,8) AS size
    FROM prints
    WHERE symbol NOT IN (FROM wide_symbols)
)
GROUP BY symbol, second
"""
_MINUTES = """
SELECT symbol, second // {seconds} AS number,
       arg_min(open, second) AS open, max(high) AS high, min(low) AS low, arg_max(close, second) AS close,
       arg_min(extended_open, second) AS extended_open, max(extended_high) AS extended_high,
       min(extended_low) AS extended_low, arg_max(extended_close, second) AS extended_close,
       sum(volume) AS volume, sum(turnover) AS turnover, sum(trades)::BIGINT AS trades,
       bool_or(extended_hours) AND NOT bool_or(regular) AS extended_hours
FROM seconds
GROUP BY ALL
"""
_SHOWN = """
SELECT symbol, number * {micros} AS time,
       coalesce(open, extended_open)::DECIMAL(38,19) AS open, coalesce(high, extended_high)::DECIMAL(38,19) AS high,
       coalesce(low, extended_low)::DECIMAL(38,19) AS low, coalesce(close, extended_close)::DECIMAL(38,19) AS close,
       volume::DECIMAL(38,19) AS volume, turnover::DECIMAL(38,19) AS turnover, trades, extended_hours
FROM ({bars})
WHERE trades > 0
"""
_EXACT_PRINTS = """
SELECT symbol, second, last_price, volume, sets_price, sets_extended_price, adds_volume
FROM prints
WHERE symbol IN (FROM wide_symbols)
ORDER BY symbol, second, place
"""
FETCH_ROWS = 10_000
_Print = tuple[str, int, Decimal | None, Decimal | None, bool, bool, bool]


def bars(lake: DuckDBPyConnection, day: str) -> dict[str, pa.Table]:
    """The rows of each table of bars, of the date ``day`` in ``lake``, which shows the files of one exchange."""
    for statement in (_PRINTS.format(second=NS_PER_S, day=day), _WIDE_SYMBOLS, _SECONDS):
        lake.execute(statement)
    return {table: _bars(lake, table, interval_ns) for table, interval_ns in BARS_NS.items()}


def _bars(lake: DuckDBPyConnection, table: str, interval_ns: int) -> pa.Table:
    schema, seconds = DERIVED_SCHEMAS[table], interval_ns // NS_PER_S
    many = _MINUTES.format(seconds=seconds) if seconds > 1 else "SELECT *, second AS number FROM seconds"
    made = lake.sql(_SHOWN.format(micros=interval_ns // NS_PER_US, bars=many)).to_arrow_table()
    made = made.append_column(schema.field("wide_decimals"), pa.nulls(len(made), schema[-1].type))
    rows = [made.cast(schema), _exact_bars(_exact_prints(lake), table, seconds)]
    return pa.concat_tables(rows).sort_by([("symbol", "ascending"), ("time", "ascending")])


def _exact_prints(lake: DuckDBPyConnection) -> Iterator[_Print]:
    found = lake.execute(_EXACT_PRINTS)
    while rows := found.fetchmany(FETCH_ROWS):
        yield from rows


def _exact_bars(prints: Iterator[_Print], table: str, seconds: int) -> pa.Table:
    schema = DERIVED_SCHEMAS[table]
    with localcontext(EXACT):
        rows = [
            _bar(symbol, number * seconds, list(group))
            for (symbol, number), group in groupby(prints, key=lambda item: (item[0], item[1] // seconds))
        ]
    return pa.Table.from_pylist([row for row in rows if row["trades"]], schema)


def _bar(symbol: str, second: int, prints: list[_Print]) -> dict[str, Any]:
    regular = [price for _, _, price, _, sets, _, _ in prints if sets and price is not None]
    extended = [price for _, _, price, _, _, sets, _ in prints if sets and price is not None]
    counted = [(price, size) for _, _, price, size, _, _, adds in prints if adds]
    prices = regular or extended
    values = {
        "open": prices[0] if prices else None,
        "high": max(prices, default=None),
        "low": min(prices, default=None),
        "close": prices[-1] if prices else None,
        "volume": sum((size for _, size in counted if size is not None), Decimal()),
        "turnover": sum((p * size for p, size in counted if p is not None and size is not None), Decimal()),
    }
    exact = {name: value.normalize() for name, value in values.items() if value is not None}
    wide = [(name, f"{value:f}") for name, value in exact.items() if _is_wide(value)]
    return {
        "symbol": symbol,
        "time": second * (NS_PER_S // NS_PER_US),
        **{name: value for name, value in exact.items() if not _is_wide(value)},
        "trades": len(counted),
        "extended_hours": any(item[5] for item in prints) and not any(item[4] for item in prints),
        "wide_decimals": wide or None,
    }


def _is_wide(value: Decimal) -> bool:
    """Whether DECIMAL(38,19) does not hold ``value``, which ends with no zero."""
    scale, whole_digits = -int(value.as_tuple().exponent), value.adjusted() + 1
    return bool(scale > DECIMAL.scale or whole_digits > DECIMAL.precision - DECIMAL.scale)
