"""What is asked of one table, as callers of Python say it, and the rows that answer it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Literal, TypedDict

import polars as pl
from msgspec import Struct

from etl.errors import StoreError, UsageError
from etl.lake import layout
from etl.lake.catalog import TIME_NS_MAX, File
from etl.lake.estimate import at_most, by_footers
from etl.lake.lookup import ANY, TIME_NS_MIN
from etl.lake.result import Result
from etl.lake.scan import SCHEMAS, columns, empty, scan, time_filters
from etl.lake.storage import Storage
from etl.lake.view import View
from etl.model.times import Duration, Time, as_ns, text_of

Names = str | Sequence[str] | None
"""One name, several, or all. Of symbols, ``BTC-*`` are all that begin so."""
Incomplete = Literal["warn", "clamp", "raise", "allow"]
_INCOMPLETE = ("warn", "clamp", "raise", "allow")
_STACK_LEVEL = 6
"""From the warning to whoever called a method of ``Lake``."""


class IncompleteWarning(UserWarning):
    """More was asked for than the lake has up to now."""


class Options(TypedDict, total=False):
    """``columns``: only these, in this order. ``version``: the commit of the table to read, or the name of a pin.
    ``incomplete``: what to do where ``end`` lies beyond ``complete_until`` (without an ``end`` that is the end).
    ``with_gaps``: a column ``gap``, true where a declared gap lies between a row and the one of its symbol before
    it, in a bar's own time, or within so long before a row (``"5m"``)."""

    columns: Sequence[str] | None
    version: int | str | None
    incomplete: Incomplete
    with_gaps: bool | Duration


class Asked(Struct, frozen=True):
    """[start_ns, end_ns) of ``exchanges`` (() = all) and ``symbols``; ``names`` are columns, () = all."""

    table: str
    view: View
    exchanges: tuple[str, ...]
    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int
    names: tuple[str, ...]
    complete_until_ns: int | None

    @property
    def is_one_symbol(self) -> bool:
        is_exact = len(self.symbols) == 1 and not self.symbols[0].endswith("*")
        return is_exact and len(self.exchanges) == 1


def asked(
    view: View,
    table: str,
    exchange: Names,
    symbol: Names,
    start: Time | None,
    end: Time | None,
    options: Options,
) -> Asked:
    """Raises ``UsageError`` for what does not exist, ``StoreError`` for what is not complete where that is to raise."""
    if table not in SCHEMAS:
        raise UsageError(f"{table}: no such table; there are {', '.join(SCHEMAS)}")
    if unknown := options.keys() - Options.__annotations__.keys():
        raise UsageError(f"{table}: no such option: {', '.join(sorted(unknown))}")
    names = tuple(options.get("columns") or ())
    if unknown := set(names) - {*columns(table), "gap"}:
        raise UsageError(f"{table}: no such column: {', '.join(sorted(unknown))}")
    start_ns = TIME_NS_MIN if start is None else as_ns(start)
    until_ns = view.complete_until_ns
    if table in layout.BARS_NS:
        until_ns = view.bars_until(table, _tuple(exchange))
    end_ns = _end(until_ns, None if end is None else as_ns(end), options.get("incomplete", "warn"))
    return Asked(table, view, _tuple(exchange), _tuple(symbol) or ANY, start_ns, end_ns, names, until_ns)


def _tuple(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def _end(until: int | None, end_ns: int | None, incomplete: str) -> int:
    if incomplete not in _INCOMPLETE:
        raise UsageError(f"incomplete={incomplete!r}: must be one of {', '.join(_INCOMPLETE)}")
    if end_ns is None:
        return TIME_NS_MAX if until is None else until
    if incomplete == "allow" or (until is not None and end_ns <= until):
        return end_ns
    told = "nobody has told up to when" if until is None else f"only up to {text_of(until)}"
    message = f"the lake is complete {told}, asked for is all before {text_of(end_ns)}"
    if incomplete == "raise" or (until is None and incomplete == "clamp"):
        raise StoreError(f"lake: {message}")
    if incomplete == "warn":
        warnings.warn(message, IncompleteWarning, stacklevel=_STACK_LEVEL)
        return end_ns
    return until or 0


def answer(storage: Storage, of: Asked, where: pl.Expr | None = None) -> Result:
    """Only rows ``where`` it is true."""
    lookup = of.view.lookup(of.table)
    parts: list[pl.LazyFrame] = []
    files: list[File] = []
    for exchange in of.exchanges or lookup.exchanges():
        found = lookup.find(exchange, of.symbols, of.start_ns, of.end_ns)
        if found:
            beside = lookup.beside(exchange, of.symbols, found)
            parts.append(scan(storage, of.table, found, beside, of.symbols))
            files += [*found, *beside]
    rows = pl.concat(parts, how="vertical_relaxed") if parts else empty(of.table)
    filters = [*time_filters(of.start_ns, of.end_ns), *([] if where is None else [where])]
    return Result(
        rows=rows.filter(filters) if filters else rows,
        table=of.table,
        complete_until_ns=of.complete_until_ns,
        start_ns=of.start_ns,
        end_ns=of.end_ns,
        versions={of.table: of.view.version(of.table)},
        scan=at_most(files),
        look=partial(by_footers, storage, files, of.symbols, of.start_ns, of.end_ns),
        names=of.names,
        is_one_symbol=of.is_one_symbol,
    )
