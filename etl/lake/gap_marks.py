"""Which rows stand beside a hole: declared gaps held against the time before each row, or during it. Pure.

A gap is the time between the last good event and the first good one, both outside of it. It marks a row if they
overlap, so a row right before a gap is not marked and the first one after it is. Gaps that are repaired, from before
the first event, or that the venue itself has nothing for mark nothing, nor do losses whose time nobody knows
(``from_time_ns`` 0); the table of gaps has them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_

import polars as pl

from etl.errors import UsageError
from etl.exchanges import load
from etl.lake.catalog import TIME_NS_MAX
from etl.lake.lookup import TIME_NS_MIN
from etl.lake.scan import TIME_NS, symbol_filter
from etl.model.records import Kind
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S

GAP = "gap"
"""The column."""
HARMLESS_KINDS = ("start", "source_hole")
COLUMNS = ("exchange", "symbol", "channel", "gap_kind", "gap_state", "from_time_ns", "to_time_ns")
"""Of the table of gaps, as much as is needed here."""
STREAM = ["exchange", "symbol"]
ANY = "*"
_SPAN = ("__from", "__to")
_BAR_UNITS_NS = {
    "s": NS_PER_S,
    "m": NS_PER_MINUTE,
    "h": NS_PER_HOUR,
    "d": NS_PER_DAY,
    "w": 7 * NS_PER_DAY,
    "M": 31 * NS_PER_DAY,
}


def concerns(exchanges: Sequence[str], symbols: Sequence[str], start_ns: int, end_ns: int) -> pl.Expr:
    """Of gaps: those of these exchanges (() = all) and symbols within [start, end), and those of symbols unknown."""
    symbol = pl.col("symbol")
    series = symbol.str.ends_with(ANY) & reduce(or_, (_begins(one, symbol) for one in symbols))
    of_exchange = pl.col("exchange").is_in([*exchanges, ANY]) if exchanges else pl.lit(True)
    until = pl.col("to_time_ns")
    within = (pl.col("from_time_ns") < end_ns) & ((until == 0) | (until > start_ns))
    return of_exchange & (symbol_filter(symbols) | series) & within


def _begins(name: str, series: pl.Expr) -> pl.Expr:
    return pl.lit(name).str.starts_with(series.str.strip_suffix(ANY))


def holes(gaps: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """The times without data of ``kind``, of each exchange and symbol: ``__from`` to ``__to``, disjoint, in order."""
    known = gaps.filter(
        (pl.col("gap_state") != "repaired").fill_null(True)
        & ~pl.col("gap_kind").is_in(HARMLESS_KINDS).fill_null(False)
        & (pl.col("from_time_ns") > 0)
    )
    channels = known.select("exchange", "channel").unique().rows()
    other = [
        f"{exchange}\0{channel}" for exchange, channel in channels if not may_carry(exchange, channel, kind)
    ]
    known = known.filter(~pl.concat_str(["exchange", "channel"], separator="\0").is_in(other))
    start, end = pl.col("from_time_ns"), pl.col("to_time_ns")
    # events of one time may have a hole between them
    is_point = start == end
    spans = known.select(
        *STREAM,
        pl.when(is_point).then(start - 1).otherwise(start).alias(_SPAN[0]),
        pl.when(end == 0).then(TIME_NS_MAX).when(is_point).then(end + 1).otherwise(end).alias(_SPAN[1]),
    )
    return _merged(spans, STREAM)


def may_carry(exchange: str, channel: str, kind: Kind) -> bool:
    """Is ``channel`` one of ``kind``, or one that nobody declares?"""
    try:
        declared = load(exchange).channel(channel)
    except UsageError:
        return True
    return declared is None or declared.kind is kind


def _merged(spans: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    ordered = spans.sort([*by, *_SPAN])
    reached = pl.col(_SPAN[1]).cum_max().shift(1)
    is_new = (pl.col(_SPAN[0]) > (reached.over(by) if by else reached)).fill_null(True)
    numbered = ordered.with_columns(is_new.cum_sum().alias("__number"))
    merged = numbered.group_by([*by, "__number"], maintain_order=True).agg(
        pl.col(_SPAN[0]).min(), pl.col(_SPAN[1]).max()
    )
    return merged.drop("__number")


def before_each_row(start_ns: int) -> pl.Expr:
    """Since the row before of the same exchange and symbol; ``start_ns``: from where on rows were asked for."""
    first = pl.lit(start_ns) if start_ns > 0 else pl.col(TIME_NS)
    return pl.col(TIME_NS).shift(1).over(STREAM).fill_null(first)


def bar_end(interval_ns: int = 0) -> pl.Expr:
    """When the bar of a row is over, by its ``interval`` unless all have the same; of a month after 31 days."""
    if interval_ns:
        return pl.col(TIME_NS) + interval_ns
    unit = pl.col("interval").str.slice(-1).replace_strict(_BAR_UNITS_NS, default=0, return_dtype=pl.Int64)
    return pl.col(TIME_NS) + pl.col("interval").str.extract(r"^(\d+)").cast(pl.Int64).fill_null(0) * unit


def marked(rows: pl.LazyFrame, found: pl.DataFrame, begin: pl.Expr, end: pl.Expr) -> pl.LazyFrame:
    """``rows``, sorted by symbol and ``end``, with ``gap``: whether a hole lies between ``begin`` and ``end``, ns."""
    of_many = (pl.col("exchange") == ANY) | pl.col("symbol").str.ends_with(ANY)
    tests = [pl.col(_SPAN[1]) > pl.col("__begin"), *_of_many(found.filter(of_many))]
    return (
        rows.with_columns(end.alias("__end"))
        .sort([*STREAM, "__end"], maintain_order=True)
        .with_columns(begin.alias("__begin"))
        .join_asof(
            found.lazy(),
            left_on="__end",
            right_on=_SPAN[0],
            by=STREAM,
            allow_exact_matches=False,
            check_sortedness=False,
        )
        .with_columns(reduce(or_, (test.fill_null(False) for test in tests)).alias(GAP))
        .drop("__begin", "__end", *_SPAN)
    )


def _of_many(found: pl.DataFrame) -> Iterator[pl.Expr]:
    """The same test for holes of a whole venue, of a series, or of nobody knows whom: of these there are few."""
    for (exchange, symbol), spans in found.group_by(STREAM):
        of_exchange = pl.lit(True) if exchange == ANY else pl.col("exchange") == exchange
        merged = _merged(spans.select(_SPAN), [])
        before = pl.lit(merged[_SPAN[0]]).search_sorted(pl.col("__end"), side="left")
        until = pl.lit(pl.concat([pl.Series([TIME_NS_MIN]), merged[_SPAN[1]]])).gather(before)
        yield of_exchange & symbol_filter([str(symbol)]) & (until > pl.col("__begin"))
