"""What HTTP gives of the stores: tables, their columns, and the statement of a page. Pure.

A page is ordered by (time, sequence, record_key), and found in two steps: where it ends, from three columns, then its
rows. So any format can be passed through as the store writes it, and the next page's cursor is known before. Its end is
looked for near its beginning first (``reaches``): a page costs what it holds, not what the range does.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from etl.errors import EtlError, UsageError
from etl.model.times import NS_PER_DAY

COMMON = (
    "exchange",
    "symbol",
    "time",
    "event_time_ns",
    "receive_time_ns",
    "channel",
    "record_key",
    "sequence",
)
DECIMALS = frozenset(
    ("last_price", "volume", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "vwap",
     "quote_volume", "taker_buy_volume", "turnover")
)  # fmt: skip
DECIMAL_LISTS = frozenset(("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"))
FORMATS: Mapping[str, tuple[str, str]] = {
    "json": ("JSONEachRow", "application/x-ndjson"),
    "csv": ("CSVWithNames", "text/csv; charset=utf-8"),
    "arrow": ("ArrowStream", "application/vnd.apache.arrow.stream"),
    "parquet": ("Parquet", "application/vnd.apache.parquet"),
}
"""As they are asked for → ClickHouse's name, and the content's type."""
TEXT, FLOAT = "text", "float"
CLICKHOUSE, LAKE = "clickhouse", "lake"
STORES = (CLICKHOUSE, LAKE)
KEY_TIME_MARGIN_NS = NS_PER_DAY
"""The time of a record's identity is at most so far from its own: a day where the venue tells none."""
ANSWER_BYTES_MAX = 512 << 20
"""Of one answer, in the store and here."""
REACH_OF_RANGE = 64
"""The end of a range's first page is looked for within so small a part of it."""
REACH_PAGES = 2
"""That of the next ones within so many times what the page before took."""
WIDER = 8
"""Is it not there, within so much more, until the range ends: in all no more than a seventh is read twice."""
_ORDER = "(time, ifNull(sequence, -1), record_key)"
_CURSOR = re.compile(r"[\w-]{1,2000}")


class TooLarge(EtlError):
    """More than one question may read, or get."""


class Table(Struct, frozen=True):
    """``kind``: what a token must be good for."""

    name: str
    kind: str
    columns: tuple[str, ...]
    meaning: str


TABLES: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table("trades", "trade", ("last_price", "volume", "side", "trade_id", "size_unit", "market_center",
                                  "conditions", "flags", "source"), "Trades, one row an identity"),
        Table("quotes", "quote", ("bid", "bid_size", "ask", "ask_size", "size_unit", "bid_exchange", "ask_exchange",
                                  "conditions", "flags", "source"), "Best bid and offer"),
        Table("bars", "bar", ("interval", "open", "high", "low", "close", "volume", "vwap", "quote_volume",
                              "taker_buy_volume", "trade_count", "bar_state", "size_unit", "flags", "source"),
              "The venues' bars, the newest state of each"),
        Table("books", "book", ("book_action", "first_sequence", "previous_sequence", "bid_prices", "bid_sizes",
                                "ask_prices", "ask_sizes", "depth", "size_unit", "flags", "source"),
              "Messages of order books: snapshots and changes"),
        Table("gaps", "gap", ("gap_kind", "gap_state", "from_sequence", "to_sequence", "from_time_ns", "to_time_ns",
                              "reason", "attempts", "repaired_rows", "detected_time_ns", "source"),
              "What is missing, in its last state"),
    )
}  # fmt: skip

OHLCV, BOOK_SNAPSHOTS = "ohlcv", "book_snapshots"
MADE: Mapping[str, Table] = {
    table.name: table
    for table in (
        Table(OHLCV, "trade", ("exchange", "symbol", "time", "open", "high", "low", "close", "volume", "turnover",
                               "trades", "extended_hours"), "Bars that were made of the trades in the lake"),
        Table(BOOK_SNAPSHOTS, "book", ("exchange", "symbol", "time", "update_time_ns", "sequence", "bid_prices",
                                       "bid_sizes", "ask_prices", "ask_sizes", "gap"),
              "Order books as they stood at each multiple of a length of time, joined from their messages in the lake;"
              " gap: something may be missing in it"),
    )
}  # fmt: skip
"""What only the lake answers: a row is known by its time."""


class PageCursor(Struct, frozen=True, array_like=True):
    """The last row of a page, and the time that the page took in."""

    time_ns: int
    sequence: int
    record_key: str
    span_ns: int = 0

    def text(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def parse_page_cursor(text: str) -> PageCursor:
    """Raises ``UsageError``."""
    try:
        if not _CURSOR.fullmatch(text):
            raise ValueError
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=PageCursor)
    except (ValueError, msgspec.DecodeError):
        raise UsageError("cursor: not one that an earlier page gave") from None


class Question(Struct, frozen=True, kw_only=True):
    """A page of a range [start_ns, end_ns) of one instrument."""

    table: Table
    exchange: str
    symbol: str
    start_ns: int
    end_ns: int
    limit: int
    after: PageCursor | None = None
    interval: str = ""
    decimals: str = TEXT
    every_ns: int = 0
    depth: int = 0
    channel: str = ""

    @property
    def from_ns(self) -> int:
        """Where the page begins."""
        return self.after.time_ns if self.after else self.start_ns

    @property
    def instants(self) -> range:
        """Multiples of ``every_ns``, from here to the end of the range."""
        first_ns = self.after.time_ns + 1 if self.after else self.start_ns
        return range(-(-first_ns // self.every_ns) * self.every_ns, self.end_ns, self.every_ns)

    def up_to(self, end_ns: int) -> Question:
        return structs.replace(self, end_ns=end_ns)

    def reaches(self) -> Iterator[Question]:
        """The page within ever more of what is left of the range; the last is all of it."""
        width_ns = (self.end_ns - self.from_ns) // REACH_OF_RANGE
        if self.after and self.after.span_ns:
            width_ns = self.after.span_ns * REACH_PAGES
        while width_ns > 0 and self.from_ns + width_ns < self.end_ns:
            yield self.up_to(self.from_ns + width_ns)
            width_ns *= WIDER
        yield self

    def cursor_at(self, time_ns: int, sequence: int, record_key: str) -> PageCursor:
        """Of a page whose last row is this."""
        return PageCursor(time_ns, sequence, record_key, time_ns - self.from_ns)

    def parameters(self) -> dict[str, str]:
        """Of ``statement`` and the others, as ClickHouse takes them."""
        start_ns = self.from_ns
        values: dict[str, Any] = {
            "exchange": self.exchange, "symbol": self.symbol, "start": start_ns, "end": self.end_ns,
            "key_start": start_ns - KEY_TIME_MARGIN_NS, "key_end": self.end_ns + KEY_TIME_MARGIN_NS,
            "interval": self.interval,
        }  # fmt: skip
        if self.after:
            values |= {"after_sequence": self.after.sequence, "after_key": self.after.record_key}
        return {name: text_parameter(str(value)) for name, value in values.items()}


def text_parameter(text: str) -> str:
    """As the server reads a parameter: with the escapes of tab-separated text."""
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n")


def _time(name: str) -> str:
    return f"fromUnixTimestamp64Nano({{{name}:Int64}}, 'UTC')"


def _where(question: Question, last: bool = False) -> str:
    terms = [
        "exchange = {exchange:String} AND symbol = {symbol:String}",
        f"time >= {_time('start')} AND time < {_time('end')}",
        f"key_time >= {_time('key_start')} AND key_time < {_time('key_end')}",
    ]
    if question.table.name == "bars" and question.interval:
        terms.append("interval = {interval:String}")
    if question.after:
        terms.append(f"{_ORDER} > ({_time('start')}, {{after_sequence:Int64}}, {{after_key:String}})")
    if last:
        terms.append(f"{_ORDER} <= ({_time('last')}, {{last_sequence:Int64}}, {{last_key:String}})")
    return " AND ".join(terms)


def count_statement(question: Question) -> str:
    """How many rows there are from here to the end of the range."""
    return f"SELECT count() FROM {question.table.name} WHERE {_where(question)}"  # noqa: S608


def end_statement(question: Question) -> str:
    """Where a page that is full ends: no row if all that is left fits on it."""
    return (
        f"SELECT toUnixTimestamp64Nano(time), ifNull(sequence, -1), record_key FROM {question.table.name}"  # noqa: S608
        f" WHERE {_where(question)} ORDER BY {_ORDER} LIMIT 1 OFFSET {question.limit - 1}"
        " FORMAT JSONCompactEachRow"
    )


def rows_statement(question: Question, form: str, has_last: bool) -> str:
    """The rows of a page, up to ``last_parameters`` where it ``has_last``."""
    columns = ", ".join(_column(name, question.decimals) for name in (*COMMON, *question.table.columns))
    return (
        f"SELECT {columns} FROM {question.table.name} WHERE {_where(question, has_last)}"  # noqa: S608
        f" ORDER BY {_ORDER} FORMAT {FORMATS[form][0]}"
    )


def last_parameters(last: PageCursor) -> dict[str, str]:
    values = {"last": last.time_ns, "last_sequence": last.sequence, "last_key": last.record_key}
    return {name: text_parameter(str(value)) for name, value in values.items()}


def _column(name: str, decimals: str) -> str:
    if name == "time":
        return "time"
    convert = "toString" if decimals == TEXT else "toFloat64"
    if name in DECIMALS:
        return f"{convert}({name}) AS {name}"
    if name in DECIMAL_LISTS:
        return f"arrayMap(number -> {convert}(number), {name}) AS {name}"
    if name in ("exchange", "symbol", "channel", "interval", "side", "size_unit", "source", "bar_state", "gap_kind",
                "gap_state", "book_action", "market_center", "bid_exchange", "ask_exchange"):  # fmt: skip
        return f"toString({name}) AS {name}"  # a plain text in every format
    return name


SUMMED = {"trade": "trades", "quote": "quotes", "bar": "bars", "book": "books"}
"""Kinds whose rows are counted → their view."""


def instruments_statement(form: str) -> str:
    """What was recorded in a range, and when it began and ended in it."""
    return (
        "SELECT exchange, symbol, any(venue_symbol) AS venue_symbol, arraySort(groupUniqArray(kind)) AS kinds,"  # noqa: S608
        f" min(time) AS first_time, max(time) AS last_time FROM ({_summed()}) GROUP BY exchange, symbol"
        f" ORDER BY exchange, symbol LIMIT {{limit:UInt64}} FORMAT {FORMATS[form][0]}"
    )


def coverage_statement(form: str) -> str:
    """How many rows of each kind there are by UTC day."""
    return (
        "SELECT exchange, symbol, kind, toDate(time) AS day, count() AS rows, min(time) AS first_time,"  # noqa: S608
        f" max(time) AS last_time FROM ({_summed()}) GROUP BY exchange, symbol, kind, day"
        f" ORDER BY exchange, symbol, kind, day LIMIT {{limit:UInt64}} FORMAT {FORMATS[form][0]}"
    )


def _summed() -> str:
    return " UNION ALL ".join(
        "SELECT toString(exchange) AS exchange, toString(symbol) AS symbol, toString(venue_symbol) AS venue_symbol,"  # noqa: S608
        f" time, '{kind}' AS kind FROM {view} WHERE time >= {_time('start')} AND time < {_time('end')}"
        f" AND key_time >= {_time('key_start')} AND key_time < {_time('key_end')}"
        f" AND (empty({{exchanges:Array(String)}}) OR exchange IN {{exchanges:Array(String)}})"
        f" AND (empty({{symbol:String}}) OR symbol = {{symbol:String}})"
        f" AND (empty({{kinds:Array(String)}}) OR has({{kinds:Array(String)}}, '{kind}'))"
        for kind, view in SUMMED.items()
    )


def summed_parameters(
    exchanges: list[str], symbol: str, kinds: list[str], start_ns: int, end_ns: int, limit: int
) -> dict[str, str]:
    """Of ``instruments_statement`` and ``coverage_statement``; empty = all."""
    return {
        "start": str(start_ns), "end": str(end_ns), "limit": str(limit), "symbol": text_parameter(symbol),
        "key_start": str(start_ns - KEY_TIME_MARGIN_NS), "key_end": str(end_ns + KEY_TIME_MARGIN_NS),
        "exchanges": names_parameter(exchanges), "kinds": names_parameter(kinds),
    }  # fmt: skip


def names_parameter(names: list[str]) -> str:
    quoted = (name.replace("\\", "\\\\").replace("'", "\\'") for name in names)
    return text_parameter("[" + ",".join(f"'{name}'" for name in quoted) + "]")
