"""Deribit: perpetuals, dated futures, options and spot. https://docs.deribit.com

JSON-RPC over a websocket; requests are the same methods by GET. Without a key trades, books and tickers come in batches
of 100 ms, with one as they happen (``raw``); neither loses anything. Trades are numbered by instrument, changes of a
book point back at each other. Of a currency's options all trades are one stream: subscribe to ``option.BTC.*``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter import fields
from etl.adapter.build import STREAMS_KNOWN_MAX, Stream, StreamCache, stream_of
from etl.adapter.channels import variant
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    History,
    Ignored,
    Outcome,
    Rejected,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.dispatch import by_shape, read_all, read_one, read_rows
from etl.adapter.fields import ABSENT, UNREADABLE, inside, members, text_of
from etl.adapter.handshake import told
from etl.adapter.paging import NOT_A_ROW, id_pages, query_of, rows_of, with_query
from etl.errors import VenueError
from etl.exchanges import _deribit_wire as wire
from etl.exchanges._deribit_readers import Readers, Route
from etl.exchanges._deribit_requests import STREAMS_MAX, Requests
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, SizeUnit
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, interval_ns

OLD = "history"
"""The host that has all trades, of expired instruments too, and the newest of them late."""
RECENT_NS = NS_PER_DAY
"""The main host has the trades of so long."""
PAGE_ROWS, BARS_MAX = 1_000, 5_000


class Deribit(Exchange):
    name = "deribit"
    websocket_url = "wss://www.deribit.com/ws/api/v2"
    rest_url = "https://www.deribit.com"
    rest_urls: ClassVar[Mapping[str, str]] = {OLD: "https://history.deribit.com"}
    channels = (
        Channel("trades", Kind.TRADE, SequenceRule.CONTIGUOUS, Kind.TRADE, 120.0),
        Channel("book", Kind.BOOK, SequenceRule.BACK_POINTER, None, 60.0, symbols_max=STREAMS_MAX),
        Channel("quote", Kind.QUOTE, SequenceRule.NONE, None, 60.0, symbols_max=STREAMS_MAX),
        Channel("ticker", Kind.STATS, SequenceRule.NONE, None, 60.0, symbols_max=STREAMS_MAX),
        Channel("chart.trades.1", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, wire.BARS, NS_PER_MINUTE,
                symbols_max=STREAMS_MAX),
        Channel(wire.INSTRUMENT_STATE, Kind.STATUS, SequenceRule.NONE, market_wide=True),
    )  # fmt: skip
    default_symbols = ("BTC-PERPETUAL", "ETH-PERPETUAL", "BTC-25JUN27-100000-C")
    key_variables = (("DERIBIT_CLIENT_ID",), ("DERIBIT_CLIENT_SECRET",))
    key_is_optional = True
    changes: ClassVar[Mapping[str, str]] = {
        "2021": "`raw` channels need a login",
        "2026-01-13": "instruments have states of another life cycle (`open`, `locked`, `delivered`, …)",
        "2026-07-20": "trades bear `starbase_timestamp`, the matching engine's time in ns",
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscription": "the answer to a subscription, or to the end of one",
        "login": "the answer to a login",
        "heartbeat": "nothing else was sent; and the answer to our wish to be told",
        "test_request": "whether we are there; answered",
        "test": "the answer to our answer",
        "error": "the venue refuses something; told as a Fault",
        "instruments": "the list of instruments",
        "empty": "a message or a page without events",
        "platform": "announcements, and what is locked",
        "index": "index prices, volatility indices, and what is estimated of an expiry",
        "mark_prices": "mark prices of all options at once",
        "interest": "the running interest of a perpetual, which tickers have",
        "incremental_ticker": "the changed members of a ticker",
        "block_trades": "requests for quotes and block trades; what is traded comes with the trades",
    }
    event_time_min_ns = 1_464_739_200_000_000_000  # the venue opened in June 2016
    connections_max = 16
    streams_max = STREAMS_MAX
    messages_per_s = 3.0
    """A subscription costs 3,000 of 10,000 credits a second."""
    budgets = (Budget(100, 5.0),)
    history: ClassVar[Mapping[Kind, History]] = {Kind.TRADE: History("both"), Kind.BAR: History("time")}
    instruments_path = "/api/v2/public/get_instruments?currency=any&expired=false"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._requests = Requests(self.credentials)
        self._known = StreamCache(self._stream)
        self._readers = Readers(self._known)
        self._routes: dict[str, Route] = {}

    def _stream(self, place: tuple[str, str]) -> Stream:
        """Raises ``FieldFault`` for what is no symbol."""
        symbol, channel = place
        fields.require_name(symbol)
        known = self.channel(channel)
        is_bars = channel.startswith(wire.BARS)
        interval = wire.RESOLUTIONS[channel.rpartition(".")[2]] if is_bars else ""
        size_unit = SizeUnit.BASE if is_bars else wire.size_unit_of(symbol)
        depth = known.depth if known else 0
        return stream_of(
            self, symbol, channel, size_unit, interval=interval, depth=depth, key_unit_ns=NS_PER_MS
        )

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """``chart.trades.60``; ``book.none.10``, ten levels at most, whole each time."""
        family, _, parameter = name.rpartition(".")
        if family == wire.BARS and parameter in wire.RESOLUTIONS:
            return variant(cls.channels, family, name, wire.RESOLUTIONS[parameter])
        if family.startswith("book.") and parameter in ("1", "10", "20"):
            book = replace(cls.channels[1], name=name, family=wire.GROUPED_BOOK, rule=SequenceRule.RISING)
            return replace(book, depth=int(parameter))
        return None

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        return wire.read_instruments(payload)

    # what to send

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return self._requests.open(subscription, now_ns)

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        return self._requests.resubscribe(subscription)

    def unanswered(self) -> Sequence[str]:
        return self._requests.unanswered()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Trades from the host that has them all; the first page goes by time, those after it by number."""
        start_ms, end_ms = start_ns // NS_PER_MS, -(-end_ns // NS_PER_MS) - 1
        if kind is Kind.TRADE and first_id is not None:
            yield _trades(venue_symbol, end_ns, start_seq=first_id)
        elif kind is Kind.TRADE:
            span = {"start_timestamp": start_ms, "end_timestamp": end_ms}
            first = _trades(venue_symbol, end_ns, "_and_time", **span)
            yield replace(first, host=OLD, start_ns=start_ms * NS_PER_MS)
        elif kind is Kind.BAR:
            resolution = channel.rpartition(".")[2] or "1"
            step_ms = BARS_MAX * interval_ns(wire.RESOLUTIONS[resolution]) // NS_PER_MS
            for first_ms in range(start_ms, end_ms + 1, step_ms):
                query = {
                    "instrument_name": venue_symbol, "start_timestamp": first_ms,
                    "end_timestamp": min(end_ms, first_ms + step_ms - 1), "resolution": resolution,
                }  # fmt: skip
                path = f"/api/v2/public/get_tradingview_chart_data?{urlencode(query)}"
                yield Request(path, kind, venue_symbol, end_ns=end_ns)

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        """The number after the last comes too: it tells a hole of the venue's from numbers to come."""
        if kind is Kind.TRADE:
            for first, rows in id_pages(first_id, last_id, PAGE_ROWS - 1):
                yield _trades(venue_symbol, 0, start_seq=first, end_seq=first + rows)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """From where the old trades end the main host goes on, if the time that is asked for reaches so far. A page
        that ends before that time is of numbers that were given twice: it is the last."""
        if request.kind is not Kind.TRADE:
            return None
        rows = rows_of(frame.payload, "result", "trades")
        last, last_ns = _last(request, rows)
        if request.end_ns and rows and not request.start_ns <= last_ns < request.end_ns:
            return None
        has_more = bytes(inside(inside(frame.payload)["result"]).get("has_more", ABSENT)) == b"true"
        reaches_on = request.host == OLD and request.end_ns > frame.receive_time_ns - RECENT_NS
        if last is None:
            return replace(request, host="") if reaches_on else None
        if has_more and "end_seq" in query_of(request.path)[1]:
            return with_query(request, {"start_seq": last + 1})
        if not (has_more or reaches_on):
            return None
        following = _trades(request.symbol, request.end_ns, start_seq=last + 1)
        return replace(following, host=request.host if has_more else "", start_ns=request.start_ns)

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        outcomes = self._parse(frame)
        if over := self._readers.over:
            self._readers.over = []
            closed = [replace(bar, frame_index=place) for place, bar in enumerate(over, len(outcomes))]
            return [*outcomes, *closed]
        return outcomes

    def _parse(self, frame: Frame) -> Sequence[Outcome]:
        try:
            params = _notification(frame.payload).params
            route = self._routes[params.channel]
            found = route.decode(params.data)
        except (*UNREADABLE, KeyError):
            return by_shape(frame, self._object, lambda *_: (Rejected(Code.UNKNOWN_MESSAGE, "an array"),))
        events = found if type(found) is list else (found,)
        reads = {route.reader.wire: route.reader.read}
        return read_all(frame, events, reads, route, lambda _: route.symbol) or (Ignored("empty"),)

    def _object(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        message = members(payload)
        msgspec.json.decode(payload)  # a garbled word deep within costs the message
        method, params = text_of(message.get("method", ABSENT)), inside(message.get("params", ABSENT))
        if method == "subscription" and {"channel", "data"} <= params.keys():
            return self._event(frame, text_of(params["channel"]), params["data"])
        if method == "heartbeat":
            if text_of(params.get("type", ABSENT)) == "test_request":
                return told("test_request", 0, *self._requests.test(frame.receive_time_ns))
            return told("heartbeat", 0)
        if "error" in message and "method" not in message:
            return self._error(message)
        if "result" in message and "method" not in message:
            asked, query = query_of(frame.endpoint)
            if asked.startswith("http"):
                return self._page(frame, asked.rpartition("/")[2], query, message["result"])
            return self._answer(frame, _count(message.get("id", ABSENT)), message["result"])
        return (Rejected(Code.UNKNOWN_MESSAGE, f"an object of {', '.join(message)!r:.120}"),)

    def _event(self, frame: Frame, name: str, data: Raw) -> Sequence[Outcome]:
        """Of a channel that was not met before, or with anything wrong in it."""
        if ignored := wire.IGNORED_CHANNELS.get(name.partition(".")[0]):
            return (Ignored(ignored),)
        channel, symbol = wire.place_of(name)
        facts = self.channel(channel)
        if facts is None or not fields.is_name(symbol):
            return (Rejected(Code.UNKNOWN_MESSAGE, f"channel {name!r:.80}"),)
        reader = self._readers.by_family[facts.family]
        several: Any = list[reader.wire] | reader.wire  # type: ignore[name-defined]
        decode = msgspec.json.Decoder(several).decode
        route = Route(channel, symbol, name.rpartition(".")[2], reader, decode)
        if len(self._routes) < STREAMS_KNOWN_MAX:
            self._routes[name] = route
        if bytes(data)[:1] == b"[":
            return read_rows(frame, data, reader, route, symbol) or (Ignored("empty"),)
        return (read_one(frame, 0, data, reader, route, symbol),)

    def _page(self, frame: Frame, method: str, query: Mapping[str, str], result: Raw) -> Sequence[Outcome]:
        """An answer to a request."""
        symbol, rows = query.get("instrument_name", ""), inside(result).get("trades", ABSENT)
        if method == "get_instruments":
            return (Ignored("instruments"),)
        if method.startswith("get_last_trades") and bytes(rows)[:1] == b"[":
            reader = self._readers.by_family["trades"]
            place = Route("trades", "", "", reader, msgspec.json.decode)
            return read_rows(frame, rows, reader, place, symbol) or (Ignored("empty"),)
        channel = f"{wire.BARS}.{query.get('resolution', '')}"
        if method != "get_tradingview_chart_data" or self.channel(channel) is None:
            return (Rejected(Code.UNKNOWN_MESSAGE, f"an answer of {frame.endpoint!r:.80}"),)
        try:
            bars, stream = wire.bars_of(result), self._known[symbol, channel]
        except UNREADABLE as error:
            return (fields.rejected(error, 0, symbol),)
        return read_all(frame, bars, {wire.Bar: self._readers.bar}, stream, lambda _: symbol) or (
            Ignored("empty"),
        )

    def _answer(self, frame: Frame, number: int, result: Raw) -> Sequence[Outcome]:
        """``["trades.BTC-PERPETUAL.100ms",…]``: what is subscribed to; ``{"access_token":…,"expires_in":900,…}``;
        ``{"version":"1.2.26"}``; ``"ok"``."""
        said = msgspec.json.decode(result)
        if isinstance(said, list):
            return told("subscription", 0, *self._requests.taken(number, said))
        if isinstance(said, dict) and "access_token" in said:
            expires_s = _count(inside(result).get("expires_in", ABSENT))
            return told("login", 0, *self._requests.logged_in(expires_s, frame.receive_time_ns))
        if isinstance(said, dict) and "version" in said:
            return told("test", 0)
        if said == "ok":
            return told("heartbeat", 0)
        return (Rejected(Code.UNKNOWN_MESSAGE, f"a result {bytes(result)[:80]!r}"),)

    def _error(self, message: Mapping[str, Raw]) -> Sequence[Outcome]:
        """``{"jsonrpc":"2.0","id":1,"error":{"code":13778,"message":"raw_subscriptions_not_available_for_unauthorized"}}``;
        ``data`` may say more."""
        error = inside(message["error"])
        reason = (
            f"{text_of(error.get('message', ABSENT))} {bytes(error.get('data', ABSENT)).decode()}".strip()
        )
        fault = wire.fault(bytes(error.get("code", ABSENT)).decode(), reason)
        return told("error", 0, *self._requests.refused(_count(message.get("id", ABSENT)), fault))


def _trades(symbol: str, end_ns: int, by: str = "", **query: int) -> Request:
    """By number, both included, or (``_and_time``) by time."""
    parameters = {
        "instrument_name": symbol,
        **query,
        "count": PAGE_ROWS,
        "sorting": "asc",
        "include_old": "true",
    }
    path = f"/api/v2/public/get_last_trades_by_instrument{by}?{urlencode(parameters)}"
    return Request(path, Kind.TRADE, symbol, end_ns=end_ns)


def _last(request: Request, rows: Sequence[Any]) -> tuple[int | None, int]:
    """Number and time of the last row. Raises ``VenueError`` where it tells none."""
    try:
        return (rows[-1]["trade_seq"], rows[-1]["timestamp"] * NS_PER_MS) if rows else (None, 0)
    except NOT_A_ROW as error:
        raise VenueError(f"{request.path}: the last row tells no number: {error!r:.80}") from None


def _count(raw: Raw) -> int:
    """0 for what is none."""
    text = bytes(raw)
    return int(text) if text.isdigit() and len(text) < 16 else 0


_notification = msgspec.json.Decoder(wire.Notification).decode
