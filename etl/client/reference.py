"""Data about instruments and markets, over HTTP: what holds now, or what was known at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from datetime import time as clock
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from etl.client.tables import as_frame
from etl.model.times import NS_PER_US, Time, as_ns

NEW_YORK = ZoneInfo("America/New_York")
"""Whose days the names of stocks change on."""


class ReferenceData:
    """Empty = all. ``at``: as it was known then; left out = what holds now. docs/reference_data.md has the columns."""

    def listings(
        self, exchange: str = "", symbol: str = "", at: Time | None = None, frame: str = "polars"
    ) -> Any:
        """What the venues' lists say of their instruments: class, coins, tick and lot, expiry, strike, status."""
        return self._told("listings", frame, exchange=exchange, symbol=symbol, at=at)

    def sessions(
        self,
        exchange: str = "",
        start: Time | None = None,
        end: Time | None = None,
        at: Time | None = None,
        frame: str = "polars",
    ) -> Any:
        """When the venues' markets trade, and when not: all that touches [start, end)."""
        return self._told("sessions", frame, exchange=exchange, start=start, end=end, at=at)

    def corporate_actions(
        self, exchange: str = "", symbol: str = "", at: Time | None = None, frame: str = "polars"
    ) -> Any:
        """Splits, dividends, mergers and spin-offs, a row of each vendor."""
        return self._told("corporate_actions", frame, exchange=exchange, symbol=symbol, at=at)

    def symbol_names(
        self, exchange: str = "", symbol: str = "", at: Time | None = None, frame: str = "polars"
    ) -> Any:
        """Which name each instrument had since which day."""
        return self._told("symbol_names", frame, exchange=exchange, symbol=symbol, at=at)

    def symbol_spans(
        self,
        exchange: str = "",
        symbol: str = "",
        current_symbol: str = "",
        of_time: Time | None = None,
        frame: str = "polars",
    ) -> Any:
        """From when until when a name was whose, and what that instrument is called today. ``current_symbol``: all
        names of the instrument that is called so today; ``of_time``: whose each name was then."""
        asked = {"exchange": exchange, "symbol": symbol, "current_symbol": current_symbol, "of_time": of_time}
        return self._told("symbol_spans", frame, **asked)

    def observations(
        self, exchange: str = "", symbol: str = "", at: Time | None = None, frame: str = "polars"
    ) -> Any:
        """What series say of each period, in the vintage that was known."""
        return self._told("observations", frame, exchange=exchange, symbol=symbol, at=at)

    # ── of an instrument: what is asked for by the name of today, under all names that it ever had. What others had
    # under its name is left out; ``bars`` and the others go by the name of the day. Options are theirs.

    def trades_of(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        return self._of(self.trades, exchange, symbol, start, end, **options)

    def quotes_of(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        return self._of(self.quotes, exchange, symbol, start, end, **options)

    def bars_of(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        return self._of(self.bars, exchange, symbol, start, end, interval=interval, **options)

    def ohlcv_of(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        return self._of(self.ohlcv, exchange, symbol, start, end, interval=interval, **options)

    def _of(
        self,
        read: Callable[..., Any],
        exchange: str,
        symbol: str,
        start: Time,
        end: Time,
        frame: str = "polars",
        decimals: str = "exact",
        **options: Any,
    ) -> Any:
        asked = {**options, "decimals": decimals, "frame": "arrow"}
        spans = list(self._spans(exchange, symbol, as_ns(start), as_ns(end)))
        if not spans:  # the columns of nothing
            one = read(exchange, symbol, start, as_ns(start) + NS_PER_US, **asked)
            return as_frame(one.slice(0, 0), frame, decimals == "exact")
        tables = [read(exchange, name, from_ns, to_ns, **asked) for name, from_ns, to_ns in spans]
        return as_frame(pa.concat_tables(tables), frame, decimals == "exact")

    def _spans(
        self, exchange: str, symbol: str, start_ns: int, end_ns: int
    ) -> Iterator[tuple[str, int, int]]:
        """Its names, and when within the range each was its own. A name of which nothing is known is taken as it is."""
        known = self.symbol_spans(exchange, current_symbol=symbol, frame="arrow").to_pylist()
        if not known and not self.symbol_spans(exchange, symbol=symbol, frame="arrow").num_rows:
            yield symbol, start_ns, end_ns
        for span in known:
            from_ns = max(start_ns, _midnight_ns(span["first_day"]))
            to_ns = min(end_ns, _midnight_ns(span["until_day"]) if span["until_day"] else end_ns)
            if from_ns < to_ns:
                yield span["symbol"], from_ns, to_ns

    def trades(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        raise NotImplementedError

    def quotes(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        raise NotImplementedError

    def bars(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        raise NotImplementedError

    def ohlcv(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        raise NotImplementedError

    def _told(self, table: str, frame: str, **asked: str | Time | None) -> Any:
        raise NotImplementedError


def _midnight_ns(day: Any) -> int:
    return as_ns(datetime.combine(day, clock(), NEW_YORK))
