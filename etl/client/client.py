"""``Client``: ranges of the past as frames, and streams of what was or is."""

from __future__ import annotations

import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from etl.client.cache import Cache
from etl.client.errors import ClientError
from etl.client.http import Http
from etl.client.reference import ReferenceData
from etl.client.stream import OnGap, Stream, Wanted
from etl.client.tables import FRAMES, as_frame
from etl.model.times import NS_PER_DAY, NS_PER_S, Time, as_ns

CLOSED_AFTER_NS = NS_PER_DAY
"""A day is kept on the disk once it has been over for so long: until then repairs may still come."""
CACHE_BYTES_MAX = 4 << 30
CACHE_FOLDER = Path("~/.cache/etl-client")
DECIMALS = ("exact", "float", "text")

"""ISO 8601 text, or a date or time; UTC where it names no zone. A date is its first moment."""
Progress = Callable[[int, int], None]
"""Rows so far, and in all."""


class Client(ReferenceData):
    """``token`` as ``etl gateway token create`` told it. ``ca_file``: of the authority that vouches for a gateway with
    TLS. Ranges are asked for by one thread at a time.

    ``cache_bytes_max``: of days that are over, kept under ``cache_folder``; 0 = none.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca_file: str = "",
        cache_folder: Path | str = CACHE_FOLDER,
        cache_bytes_max: int = CACHE_BYTES_MAX,
    ) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._context = (
            ssl.create_default_context(cafile=ca_file or None) if url.startswith("https") else None
        )
        self._http = Http(self._url, token, self._context)
        self._cache = Cache(Path(cache_folder).expanduser(), cache_bytes_max)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # ── ranges: [start, end), rows in the order of time and sequence ─────────────────────────────────────────
    #
    # store: clickhouse (also if left out) or lake. frame: polars, pandas or arrow. decimals: exact (Decimal), float or
    # text. progress: True, or a call.

    def trades(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        return self._range("trades", exchange, symbol, start, end, **options)

    def quotes(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        return self._range("quotes", exchange, symbol, start, end, **options)

    def books(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        """Messages, snapshots and changes; levels are lists of exact text."""
        return self._range("books", exchange, symbol, start, end, **options)

    def gaps(self, exchange: str, symbol: str, start: Time, end: Time, **options: Any) -> Any:
        """What is missing, in its last state; never from the cache."""
        return self._range("gaps", exchange, symbol, start, end, **options)

    def bars(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        """The venues' own."""
        return self._range("bars", exchange, symbol, start, end, {"interval": interval}, **options)

    def ohlcv(
        self, exchange: str, symbol: str, start: Time, end: Time, interval: str = "1m", **options: Any
    ) -> Any:
        """Bars that were made of the trades in the lake, of ``1s`` or ``1m``."""
        return self._range("ohlcv", exchange, symbol, start, end, {"interval": interval}, **options)

    def book_snapshots(
        self,
        exchange: str,
        symbol: str,
        start: Time,
        end: Time,
        every: str = "1s",
        depth: int = 20,
        **options: Any,
    ) -> Any:
        """Books of the lake as they stood at each multiple of ``every``, ``depth`` levels (0 = all), best first."""
        asked = {"every": every, "depth": str(depth)}
        return self._range("book_snapshots", exchange, symbol, start, end, asked, **options)

    def instruments(
        self, start: Time, end: Time, exchange: str = "", symbol: str = "", frame: str = "polars"
    ) -> Any:
        """What was recorded in a range."""
        return self._summed("instruments", start, end, exchange, symbol, frame)

    def coverage(
        self, start: Time, end: Time, exchange: str = "", symbol: str = "", frame: str = "polars"
    ) -> Any:
        """How many rows of each kind there are by UTC day."""
        return self._summed("coverage", start, end, exchange, symbol, frame)

    def estimate(
        self, table: str, exchange: str, symbol: str, start: Time, end: Time, store: str = ""
    ) -> int:
        """How many rows a range has, without asking for them."""
        params = _params(exchange, symbol, as_ns(start), as_ns(end))
        return self._http.estimate(table, params | ({"store": store} if store else {}))

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────

    def stream(
        self,
        exchange: Wanted = (),
        symbol: Wanted = (),
        kind: Wanted = (),
        *,
        start: Time | None = None,
        end: Time | None = None,
        speed: float = 0.0,
        cursor: str = "",
        snapshot: bool = False,
        bars: Wanted = (),
        book: int = 0,
        mid: bool = False,
        every_ms: int = 100,
        on_gap: OnGap | None = None,
    ) -> Stream:
        """``async for record in client.stream(…)``: typed records, from now on; from ``start`` (by the time of
        receipt), at ``speed`` times the pace of then or as fast as they are taken, over into live, or up to ``end``; or
        from a ``cursor``, which ``Stream.cursor`` told. A connection that breaks is made again, and the stream goes
        on where it was.

        ``bars`` (``"5s"``), ``book`` (so many levels) and ``mid`` are made of the records on the way: ``TradeBar``,
        ``BookTop``, ``Mid``, the last two at most every ``every_ms``. ``kind`` then names the records that come beside
        them; left out = gaps and corrections alone.

        ``on_gap`` hears of every gap, and of what the topic no longer has, which else raises ``LostError``.
        """
        if cursor and start is not None:
            raise ClientError("start or cursor, not both")
        asked: dict[str, Any] = {"exchange": _list(exchange), "symbol": _list(symbol), "kind": _list(kind)}
        if start is not None:
            asked["from"] = iso(as_ns(start))
        if end is not None:
            asked["to"] = iso(as_ns(end))
        if speed:
            asked["speed"] = speed
        if bars or book or mid:
            asked["derive"] = {"bars": _list(bars), "book": book, "mid": mid, "every_ms": every_ms}
        return Stream(self._url, self._token, self._context, asked, cursor, snapshot, on_gap)

    # ── how a range is got ───────────────────────────────────────────────────────────────────────────────────

    def _range(
        self,
        table: str,
        exchange: str,
        symbol: str,
        start: Time,
        end: Time,
        asked: Mapping[str, str] = {},
        *,
        store: str = "",
        frame: str = "polars",
        decimals: str = "exact",
        progress: bool | Progress = False,
    ) -> Any:
        _require(frame, FRAMES, "frame")
        _require(decimals, DECIMALS, "decimals")
        start_ns, end_ns = as_ns(start), as_ns(end)
        more = {"decimals": "float" if decimals == "float" else "text", **asked}
        if store:
            more["store"] = store
        tell = _teller(progress, lambda: self.estimate(table, exchange, symbol, start, end, store))
        tables: list[pa.Table] = []
        for first_ns, after_ns, is_closed in _days(start_ns, end_ns, time.time_ns()):
            params = _params(exchange, symbol, first_ns, after_ns) | more
            key = f"{self._url} {table} {sorted(params.items())}"
            found = self._cache.find(key) if is_closed and table != "gaps" else None
            if found is None:
                pages = []
                for page in self._http.pages(table, params):
                    pages.append(page)
                    tell(page.num_rows)
                found = pa.concat_tables(pages)
                if is_closed and table != "gaps":
                    self._cache.keep(key, found)
            else:
                tell(found.num_rows)
            tables.append(found)
        return as_frame(pa.concat_tables(tables), frame, decimals == "exact")

    def _summed(self, table: str, start: Time, end: Time, exchange: str, symbol: str, frame: str) -> Any:
        span = {"start": iso(as_ns(start)), "end": iso(as_ns(end))}
        return self._told(table, frame, exchange=exchange, symbol=symbol, limit="1000000", **span)

    def _told(self, table: str, frame: str, **asked: str | Time | None) -> Any:
        """An answer that has no pages. A text goes as it is, another time as a text."""
        _require(frame, FRAMES, "frame")
        given = {name: value for name, value in asked.items() if value is not None and value != ""}
        params = {name: one if isinstance(one, str) else iso(as_ns(one)) for name, one in given.items()}
        return as_frame(self._http.whole(table, params), frame, True)


def iso(ns: int) -> str:
    """To the microsecond."""
    return (
        f"{datetime.fromtimestamp(ns // NS_PER_S, UTC):%Y-%m-%dT%H:%M:%S}.{ns % NS_PER_S // 1_000:06}+00:00"
    )


def _days(start_ns: int, end_ns: int, now_ns: int) -> Iterator[tuple[int, int, bool]]:
    """The range cut at UTC midnights, and of each part whether it is a whole day that is closed. What is not goes
    together."""
    at = start_ns
    while at < end_ns:
        after = min(end_ns, (at // NS_PER_DAY + 1) * NS_PER_DAY)
        is_closed = at % NS_PER_DAY == 0 and after == at + NS_PER_DAY <= now_ns - CLOSED_AFTER_NS
        yield at, after, is_closed
        at = after


def _params(exchange: str, symbol: str, start_ns: int, end_ns: int) -> dict[str, str]:
    return {"exchange": exchange, "symbol": symbol, "start": iso(start_ns), "end": iso(end_ns)}


def _require(value: str, choices: tuple[str, ...], name: str) -> None:
    if value not in choices:
        raise ClientError(f"{name}: {', '.join(choices)}")


def _list(wanted: Wanted) -> list[str]:
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _teller(progress: bool | Progress, total: Callable[[], int]) -> Callable[[int], None]:
    """Called with the rows of each page."""
    if not progress:
        return lambda rows: None
    rows_max, had = total(), [0]

    def tell(rows: int) -> None:
        had[0] += rows
        if callable(progress):
            progress(had[0], rows_max)
            return
        end = "\n" if had[0] >= rows_max else ""
        print(f"\r{had[0]:,} of {rows_max:,} rows", end=end, file=sys.stderr, flush=True)

    return tell
