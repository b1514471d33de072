"""``Lake``: the lake as one researches in it, from Python.

    lake = Lake()                                   # of the settings; or Lake("/data/lake"), Lake("s3://bucket/prefix?…")
    trades = lake.trades("binance", "BTC-USDT", "2026-03-02", "2026-03-03")
    trades.lazy().group_by("side").agg(pl.col("volume").sum()).collect()

A Lake shows one commit of each table until ``refresh``; ``at`` goes back to a pin. Times are UTC, [start, end). Files
are found in the tables' logs, and Polars reads of them what is asked for.
"""

from __future__ import annotations

import time
from copy import copy
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
from msgspec import structs

from etl import settings as settings_module
from etl.errors import UsageError
from etl.lake import books, gap_marks, layout, pins
from etl.lake.asked import Asked, Names, Options, answer, asked
from etl.lake.book_levels import Numbers
from etl.lake.books import Begin, BookAt, Progress
from etl.lake.catalog import Catalog
from etl.lake.log import DeltaLog
from etl.lake.lookup import ANY, TIME_NS_MIN
from etl.lake.pins import Pin
from etl.lake.query import connect_to
from etl.lake.reference_data import ReferenceData
from etl.lake.result import Result
from etl.lake.scan import instant
from etl.lake.storage import open_storage
from etl.lake.view import View, newest, older
from etl.model.records import Kind
from etl.model.tables import KIND_BY_TABLE
from etl.model.times import Duration, Time, as_ns, duration_ns
from etl.settings import Settings

WHOLE_BOOKS = pl.col("book_action") == "snapshot"


class Lake(ReferenceData):
    """``place``: settings, a folder or the address of a bucket; None = the settings of this process.

    Raises ``StoreError`` for a lake that cannot be read, ``UsageError`` for what cannot be meant; so do all methods."""

    def __init__(self, place: Settings | str | Path | None = None) -> None:
        if not isinstance(place, Settings):
            loaded = settings_module.load()
            place = loaded if place is None else settings_module.changed(loaded, lake_url=str(place))
        self._settings = place
        self._storage = open_storage(place)
        self._catalog = Catalog(self._storage)
        self._views: dict[tuple[str, int | str], View] = {}
        self._pin = ""
        self._view = newest(self._catalog.read(), place.topics.normalized)

    # ── what it shows ──

    def refresh(self) -> None:
        """Show the newest commits, by reading those that came since; of a pin there are none."""
        if self._pin:
            return
        before = self._view
        self._view = newest(self._catalog.later(before.state), self._settings.topics.normalized)
        self._view.follow(before)
        if self._view.versions() != before.versions():
            self.__dict__.pop("_database", None)

    def at(self, pin: str) -> Lake:
        """The lake as it was when ``pin`` was made."""
        pinned = copy(self)
        pinned.__dict__.pop("_database", None)
        pinned._pin, pinned._view = pin, self._view_of("", pin)
        return pinned

    def pin(self, name: str) -> Pin:
        """Keep what this Lake shows, under a name; its files stay until ``unpin``."""
        return pins.write(self._storage, name, self._view, time.time_ns())

    def unpin(self, name: str) -> None:
        pins.delete(self._storage, name)

    def pins(self) -> list[Pin]:
        return pins.pins(self._storage)

    @property
    def complete_until_ns(self) -> int | None:
        """What was published before then is in the lake (the end of the last export), None = no export has told."""
        return self._view.complete_until_ns

    @property
    def complete_until(self) -> datetime | None:
        """The same to the microsecond, UTC."""
        return None if self.complete_until_ns is None else instant(self.complete_until_ns)

    @property
    def versions(self) -> dict[str, int]:
        """The commit of each table that is shown."""
        return self._view.versions()

    # ── tables ──

    def trades(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Prints: ``last_price``, ``volume``, ``side`` (the taker's), ``trade_id``, …"""
        return self.table("trades", exchange, symbol, start, end, **options)

    def quotes(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Best prices: ``bid``, ``bid_size``, ``ask``, ``ask_size``."""
        return self.table("quotes", exchange, symbol, start, end, **options)

    def l2(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Messages of order books as they came, snapshots and changes: ``book_action``, lists of prices and sizes."""
        return self.table("book_updates", exchange, symbol, start, end, **options)

    def books(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Of these, the whole books that venues sent: best first, as deep as the channel. ``book_snapshots`` makes them
        of changes too."""
        return self.table("book_updates", exchange, symbol, start, end, WHOLE_BOOKS, **options)

    def bars(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        interval: str | None = None, **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Candles that venues sent, of ``interval`` (``1m``) or all, each in its last state (``bar_state``)."""
        where = None if interval is None else pl.col("interval") == interval
        return self.table("bars", exchange, symbol, start, end, where, **options)

    def ohlcv(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        interval: str = "1m", **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Bars that ``etl compact`` made of the trades, of ``1s`` or ``1m``: what they can answer costs a hundredth."""
        return self.table(f"ohlcv_{interval}", exchange, symbol, start, end, **options)

    def gaps(
        self, exchange: Names = None, symbol: Names = None, start: Time | None = None, end: Time | None = None,
        **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """The gap ledger: what is declared missing of that time, in its last state, also of symbols unknown (``*``)."""
        options.pop("with_gaps", None)
        found = self._asked("gaps", exchange, symbol, start, end, options)
        return self._gaps(found)

    def _gaps(self, of: Asked) -> Result:
        """From before ``start_ns`` on: what began then may still last."""
        names = of.names
        overlap = gap_marks.concerns(of.exchanges, of.symbols, of.start_ns, of.end_ns)
        everything = structs.replace(
            of, table="gaps", exchanges=(), symbols=ANY, start_ns=TIME_NS_MIN, names=()
        )
        found = answer(self._storage, everything, overlap)
        return structs.replace(found, start_ns=of.start_ns, names=names)

    def table(
        self, table: str, exchange: Names = None, symbol: Names = None, start: Time | None = None,
        end: Time | None = None, where: pl.Expr | None = None, **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """Any table: ``agg_trades``, ``statuses``, ``stats``, ``observations``, ``corrections`` and the others; only
        rows ``where`` it is true."""
        with_gaps = options.pop("with_gaps", False)
        of = self._asked(table, exchange, symbol, start, end, options)
        found = answer(self._storage, of, where)
        return self._marked(found, of, with_gaps) if with_gaps else found

    def _asked(
        self,
        table: str,
        exchange: Names,
        symbol: Names,
        start: Time | None,
        end: Time | None,
        options: Options,
    ) -> Asked:
        view = self._view_of(table, options.get("version"))
        return asked(view, table, exchange, symbol, start, end, options)

    def _marked(self, result: Result, of: Asked, window: Duration | bool) -> Result:
        holes = self._holes(of)
        is_bar = of.table in ("bars", *layout.BARS_NS)
        end = gap_marks.bar_end(layout.BARS_NS.get(of.table, 0)) if is_bar else pl.col("time_ns")
        if window is not True:
            begin = end - duration_ns(window)
        else:
            begin = pl.col("time_ns") if is_bar else gap_marks.before_each_row(of.start_ns)
        rows = gap_marks.marked(result.rows, holes, begin, end)
        names = (*of.names, *(() if gap_marks.GAP in of.names else (gap_marks.GAP,))) if of.names else ()
        return structs.replace(result, rows=rows, names=names, holes=holes)

    def _holes(self, of: Asked) -> pl.DataFrame:
        gaps = self._gaps(structs.replace(of, names=())).rows.select(gap_marks.COLUMNS).collect()
        return gap_marks.holes(gaps, KIND_BY_TABLE.get(of.table, Kind.TRADE))

    # ── more than a table ──

    def book(
        self, exchange: str, symbol: str, at: Time, *, depth: int = 0, channel: str = "", **options: Unpack[Options]
    ) -> BookAt:  # fmt: skip
        """The order book at an instant: the last snapshot before it and the changes since, ``depth`` levels (0 = all).
        ``channel`` only where the symbol has several books."""
        at_ns = as_ns(at)
        of = self._asked("book_updates", exchange, symbol, at_ns, at_ns + 1, options)
        begin, found = self._books(of, np.array([at_ns]), depth, channel)
        return books.book_at(found, begin.family)

    def book_snapshots(
        self, exchange: str, symbol: str, start: Time, end: Time, *, every: Duration = "1s", depth: int = 20,
        channel: str = "", **options: Unpack[Options],
    ) -> Result:  # fmt: skip
        """The order book at every multiple of ``every`` in [start, end): ``bid_prices``, ``bid_sizes``, ``ask_prices``,
        ``ask_sizes``, best first, ``depth`` levels at most (0 = all); ``update_time_ns`` and ``sequence`` of its last
        message; ``gap``: something may be missing since its snapshot. Before the first snapshot all of it is null."""
        names = tuple(options.pop("columns", None) or ())
        of = self._asked("book_updates", exchange, symbol, start, end, options)
        step_ns = duration_ns(every)
        first = -(-of.start_ns // step_ns) * step_ns
        if (of.end_ns - first) // step_ns > books.INSTANTS_MAX:
            raise UsageError(
                f"book_snapshots: more than {books.INSTANTS_MAX:,} instants, ask for less at once"
            )
        _, found = self._books(of, np.arange(first, of.end_ns, step_ns), depth, channel)
        messages = answer(self._storage, of)
        return structs.replace(
            messages, rows=found.lazy(), table="book_snapshots", names=names, is_ordered=True, look=None
        )

    def book_messages(
        self, exchange: str, symbol: str, start: Time, end: Time, *, channel: str = "", **options: Unpack[Options]
    ) -> pl.DataFrame:  # fmt: skip
        """What makes the book in [start, end): the last snapshot before ``start`` and the changes since, each joined to
        the one before it, in the order in which they apply; none that a book cannot take."""
        of = self._asked("book_updates", exchange, symbol, start, end, options)
        _, progress = self._progress_of(of, channel)
        return progress.applied

    def _books(self, of: Asked, instants_ns: Numbers, depth: int, channel: str) -> tuple[Begin, pl.DataFrame]:
        (exchange,), (symbol,) = of.exchanges, of.symbols
        begin, progress = self._progress_of(of, channel)
        holes = self._holes(of)
        return begin, books.snapshots(exchange, symbol, progress, instants_ns, depth, holes)

    def _progress_of(self, of: Asked, channel: str) -> tuple[Begin, Progress]:
        """The messages of one book, from its last snapshot before ``of.start_ns`` on."""
        (exchange,) = of.exchanges
        rows = answer(self._storage, structs.replace(of, start_ns=TIME_NS_MIN)).rows
        begin = books.begin_of(rows, exchange, of.start_ns, channel)
        return begin, books.follow(books.messages_of(rows, begin, of.start_ns), begin.time_ns)

    def sql(self, query: str) -> Any:
        """A DuckDB relation (``.df()``, ``.pl()``, ``.arrow()``, ``.fetchall()``): each table is a view, one row per
        identity, and ``trades_corrected`` holds prints as corrections leave them. ``complete_until`` is the Lake's."""
        return self._database.sql(query)

    @cached_property
    def _database(self) -> Any:
        return connect_to(self._storage, self._view.state)

    def _view_of(self, table: str, version: int | str | None) -> View:
        if version is None:
            return self._view
        key = (table if isinstance(version, int) else "", version)
        if key not in self._views:
            self._views[key] = (
                self._older(table, version) if isinstance(version, int) else pins.read(self._storage, version)
            )
        return self._views[key]

    def _older(self, table: str, version: int) -> View:
        log = DeltaLog(self._storage, layout.table_folder(table))
        return older(table, log.read(), log.read(version), pins.pinned(self._storage))
