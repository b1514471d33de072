"""Polygon, now also called Massive: US stocks and options, crypto. https://massive.com/docs/websocket

One socket per asset class and key: a second connection closes the older one, so a feed is one connection and
a restart never overlaps. Feeds: ``polygon`` (stocks), ``polygon_options``, ``polygon_crypto``. They differ in
address and symbols only; each parses every frame of the venue, stream and history, of any asset class.

Decided from the frames:
- A trade and its history answer meet in the same reader: the wire types give both the same names.
- ``t`` is the SIP's time (stream ms, history ns); crypto and forex history have the participant's time only.
- The taker's side is said of crypto only, by a condition.
- ``dv`` of a bar is its volume in decimals (of futures it is money): read where it is within one of ``v``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from etl.adapter.carried import ALL
from etl.adapter.contract import (
    Budget,
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    History,
    Ignored,
    Outcome,
    Rejected,
    Reply,
    Request,
    SequenceRule,
    Subscription,
    shipped_instruments,
)
from etl.adapter.dispatch import Reader, Tagged, elements, read_all, read_one
from etl.adapter.fields import UNDECODABLE, FieldFault, listing, readable, rejected
from etl.adapter.handshake import Grants, Handshake, kind_of_words, told
from etl.adapter.paging import next_url
from etl.errors import VenueError
from etl.exchanges import _polygon_answers as answers
from etl.exchanges import _polygon_flat as flat
from etl.exchanges import _polygon_grouped as grouped
from etl.exchanges import _polygon_readers as reads
from etl.exchanges import _polygon_requests as requests
from etl.exchanges import _polygon_wire as wire
from etl.exchanges._polygon_reference import TellsOfStocks
from etl.exchanges._polygon_wire import Page
from etl.model.codes import Code
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MINUTE, NS_PER_S


class Polygon(TellsOfStocks, Exchange):
    name = "polygon"
    parser_version = 2
    changes: ClassVar[Mapping[str, str]] = {
        "2025-11-03": "sizes of quotes are shares, no more round lots",
        "2025-12": "splits lie under `/stocks/v1/splits` too; `/v3/reference/splits`, which is asked, still answers",
        "2026-07": "bars tell decimal volumes (`dv`), `otc`; trades and quotes `trft`",
    }
    websocket_url = "wss://socket.massive.com/stocks"
    websocket_url_others = ("wss://socket.polygon.io/stocks",)
    rest_url = "https://api.massive.com"
    channels: ClassVar[tuple[Channel, ...]] = (
        Channel("T", Kind.TRADE, SequenceRule.RISING, Kind.TRADE, 30.0),
        Channel("Q", Kind.QUOTE, SequenceRule.RISING, Kind.QUOTE, 30.0),
        Channel("A", Kind.BAR, SequenceRule.NONE, Kind.BAR, interval_ns=NS_PER_S),
        Channel("AM", Kind.BAR, SequenceRule.NONE, Kind.BAR, 180.0, interval_ns=NS_PER_MINUTE),
        Channel("LULD", Kind.STATUS, SequenceRule.NONE),
    )
    ignored_events: ClassVar[Mapping[str, str]] = {
        name: name for name in ("NOI", "FMV", "LV", "V", "C", "CA", "CAS", "XL2", "XAS")
    }
    ignored_names: ClassVar[Mapping[str, str]] = {
        "status": "control messages of the connection and errors of the history interface",
        "empty_frame": "an array without events",
        "csv_header": "the first line of a flat file",
        "empty_page": "a history answer without rows",
        "NOI": "auction imbalance",
        "FMV": "fair market value, a model's price",
        "LV": "launchpad's last value, no trade behind it",
        "V": "an index's value",
        "C": "forex quote",
        "CA": "forex minute bar",
        "CAS": "forex second bar",
        "XL2": "crypto book of single venues, without a sequence",
        "XAS": "crypto second bar",
        "forex_tick": "forex quote of the old history interface",
        "grouped": "bars of all symbols of a day, adjusted for splits or of another market",
        "prev": "the last day's bar, by an address of its own",
        "correction_record": "what a print was before its correction (code 12); the print has its own row",
        "snapshot": "the venue's own summary of a day, a chain or a market",
    }
    default_symbols: ClassVar[tuple[str, ...]] = ("AAPL", "MSFT", "NVDA", "AMZN", "TSLA", "SPY")
    key_variables = (("POLYGON_API_KEY", "MASSIVE_API_KEY"),)
    connections_max = 1
    budgets = (Budget(6_000, 60.0),)
    """The venue asks paid plans to stay below 100 requests a second."""
    history: ClassVar[Mapping[Kind, History]] = dict.fromkeys(
        (Kind.TRADE, Kind.QUOTE, Kind.BAR), History("time")
    )
    history_of_all = frozenset({Kind.BAR})
    event_time_min_ns = 1_041_379_200_000_000_000
    """2003-01-01; the venue's history begins in September 2003."""
    calendar = "XNYS"
    archive_kinds = frozenset({Kind.BAR})
    archive_checksum = ""
    archive_day_ns = flat.DAY_NS
    archive_rests = frozenset((5, 6))
    archive_is_whole = True
    bulk_bars = flat.BULK
    flat_folder: ClassVar[str] = "us_stocks_sip"

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        if instruments is None:
            instruments = shipped_instruments(PolygonCrypto)  # the only names that need a list
        super().__init__(credentials, instruments)
        self._reads = reads.readers(self)
        tagged = [Reader(kind, read) for kind, read in self._reads.items() if kind.__struct_config__.tag]
        self._events = Tagged("ev", tagged, self.ignored_events, ("sym", "pair", "T"))
        self._grants = Grants()
        self._headings: tuple[str, tuple[str, ...]] = ("", flat.HEADINGS)
        """Of the flat file that is read: its name, its columns."""
        self._handshake = Handshake(
            {
                "connected": lambda _: _reply("auth", self.credentials.key),
                "auth_success": lambda subscription: _reply(
                    "subscribe", ",".join(self._streams(subscription))
                ),
                "success": FaultKind.READY,
            }
        )

    # the connection

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """The server speaks first; ``parse`` answers its ``connected`` and ``auth_success``."""
        self._handshake.subscription = subscription
        return ()

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.credentials.key}"} if self.credentials.key else {}

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        streams = ",".join(self._streams(subscription))
        return [_reply(action, streams).payload for action in ("unsubscribe", "subscribe")]

    def unanswered(self) -> Sequence[str]:
        asked = self._handshake.subscription
        return self._grants.unanswered(self._streams(asked)) if asked else ()

    def _streams(self, subscription: Subscription) -> list[str]:
        symbols = [self._spellings(symbol)[0] for symbol in subscription.symbols]
        return [f"{channel}.{symbol}" for channel in subscription.channels for symbol in symbols]

    def _control(self, tag: str, raw: bytes | Raw, index: int) -> Sequence[Outcome] | None:
        """``{"ev":"status","status":"auth_success","message":"authenticated"}``"""
        if tag != "status":
            return None
        message = msgspec.json.decode(raw, type=wire.Control)
        status, text = message.status, message.message
        if status == "success" and not text.startswith("subscribed"):
            return told("status", index)
        if status == "success":
            self._grants.grant(_STREAM_NAMES.findall(text))
        if self._handshake.knows(status):
            return self._handshake.take("status", status, text, index)
        kind = kind_of_words(answers.FAULTS, f"{status} {text}")
        if kind is None:
            return [Rejected(Code.UNKNOWN_MESSAGE, f"status {status[:40]!r}", index)]
        fault, asked = Fault(kind, status, text), self._handshake.subscription
        if kind is not FaultKind.ENTITLEMENT or asked is None:
            return told("status", index, fault)
        return told("status", index, self._grants.refuse(_STREAM_NAMES.findall(text), asked.channels, fault))

    # frames

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """About 2.2 µs for a trade, 3 µs for a quote, in frames of several."""
        outcomes = self._events.read(frame, frame.payload, _STREAM)
        if outcomes is not None:
            return outcomes or [Ignored("empty_frame")]
        payload = readable(frame).payload
        if payload.lstrip()[:1] == b"{":
            return self._answer(frame, payload)
        if frame.endpoint.startswith(flat.ARCHIVE):
            return list(self._flat_file(frame)) or [Ignored("empty_frame")]
        return self._events.read_each(frame, payload, _STREAM, self._control)

    def _answer(self, frame: Frame, payload: bytes) -> Sequence[Outcome]:
        """``{"results":[…],"status":"OK","request_id":"…","next_url":"…"}`` and its older relatives."""
        try:
            answer = msgspec.json.decode(payload, type=wire.Answer)
            array = answers.array_of(answer.results, answer.ticks, answer.last)
            rows = elements(array)
        except UNDECODABLE as error:
            return [rejected(error, 0, "")]
        if answer.ev:
            return self._events.read_element(frame, 0, payload, _STREAM, self._control)
        if not rows:
            return answers.without_rows(answer)
        page = grouped.page_of(frame.endpoint)
        if page is None and (summary := _SUMMARY.search(frame.endpoint)):
            return [Ignored(summary[1] or summary[2], index) for index in range(len(rows))]
        row_type = wire.row_type(rows[0])
        page = page or answers.page_of(frame.endpoint, answer, rows if row_type is wire.HISTORY_BAR else ())
        if isinstance(row_type, type):
            try:
                events: list[wire.Event] = msgspec.json.decode(array, type=list[row_type])  # type: ignore[valid-type]
            except UNDECODABLE:
                pass  # one row of the page is bad: find it
            else:
                symbol_at = lambda at: events[at].sym or page.venue_symbol  # noqa: E731
                return reads.with_voids(read_all(frame, events, self._reads, page, symbol_at))
        return reads.with_voids([self._row(frame, index, row, page) for index, row in enumerate(rows)])

    def _flat_file(self, frame: Frame) -> Iterator[Outcome]:
        name = frame.endpoint.partition("#")[0]
        reader, page = Reader(wire.HISTORY_BAR, self._reads[wire.HISTORY_BAR]), Page("", "1m")
        try:
            lines = frame.payload.decode().splitlines()
        except UnicodeDecodeError as error:
            yield rejected(error, 0, "")
            return
        for index, line in enumerate(lines):
            cells = flat.cells_of(line)
            if flat.START in cells:
                self._headings = (name, tuple(cells))
                yield Ignored("csv_header", index)
                continue
            names = self._headings[1] if self._headings[0] == name else flat.HEADINGS
            try:
                row = flat.row_of(dict(zip(names, cells, strict=False)))
            except FieldFault as error:
                yield rejected(error, index, "")
                continue
            yield read_one(frame, index, row, reader, page, "")

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        return f"/{self.flat_folder}/minute_aggs_v1/{day[:4]}/{day[5:7]}/{day}.csv.gz"

    def _row(self, frame: Frame, index: int, row: Raw, page: Page) -> Outcome:
        row_type = wire.row_type(row)
        if isinstance(row_type, str):
            return Ignored(row_type, index)
        if row_type is None:
            return Rejected(Code.UNKNOWN_MESSAGE, "a row of unknown shape", index, page.venue_symbol)
        return read_one(frame, index, row, Reader(row_type, self._reads[row_type]), page, page.venue_symbol)

    # requests

    def _spellings(self, venue_symbol: str) -> tuple[str, str, str]:
        """A symbol as the stream, the history of ticks and the history of bars write it."""
        return venue_symbol, venue_symbol, venue_symbol

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """Trades and quotes by SIP time, widened to whole ms (the stream's unit); bars not adjusted for splits,
        as the stream sends them: of minutes, of all symbols at once of days."""
        if kind not in self.history:
            return
        if kind in self.history_of_all and venue_symbol == ALL:
            paths = grouped.paths(start_ns, end_ns)
        else:
            _, ticks, bars = (quote(spelled, safe=":") for spelled in self._spellings(venue_symbol))
            paths = iter((requests.path_of(kind, ticks, bars, start_ns, end_ns, channel),))
        for path in paths:
            yield Request(path, kind, venue_symbol, 1, end_ns)

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """By ``next_url``; the key it may carry does not get into the path."""
        try:
            answer = msgspec.json.decode(frame.payload, type=wire.Answer)
        except UNDECODABLE as error:
            raise VenueError(f"{request.path}: no page: {error}") from None
        return next_url(request, answer.next_url, ("apikey",))


class PolygonDelayed(Polygon):
    """All of the market, 15 minutes late, for plans without real time; ids, times and history are ``polygon``'s."""

    name = "polygon_delayed"
    websocket_url = "wss://delayed.massive.com/stocks"
    websocket_url_others = ("wss://delayed.polygon.io/stocks",)
    delay_s = 900.0


class PolygonOptions(Polygon):
    name = "polygon_options"
    changes: ClassVar[Mapping[str, str]] = {}
    websocket_url = "wss://socket.massive.com/options"
    websocket_url_others = ("wss://socket.polygon.io/options",)
    channels = (Polygon.channels[0], replace(Polygon.channels[1], symbols_max=1_000), *Polygon.channels[2:4])
    """https://massive.com/docs/websocket/options/quotes: of so many contracts, and a key has one connection."""
    default_symbols = ("O:SPY261218C00600000",)
    flat_folder = "us_options_opra"
    history_of_all = frozenset()
    actions_paths, names_path, listed_paths, ticker_market = (), "", (), ""

    def _spellings(self, venue_symbol: str) -> tuple[str, str, str]:
        name = f"O:{venue_symbol.removeprefix('O:')}"
        return name, name, name


class PolygonCrypto(Polygon):
    name = "polygon_crypto"
    changes: ClassVar[Mapping[str, str]] = {
        "2026-07": "a trade's condition tells the taker: 1 sold, 2 bought"
    }
    websocket_url = "wss://socket.massive.com/crypto"
    websocket_url_others = ("wss://socket.polygon.io/crypto",)
    channels = (
        Channel("XT", Kind.TRADE, SequenceRule.NONE, Kind.TRADE, 60.0),
        Channel("XQ", Kind.QUOTE, SequenceRule.NONE, None, 60.0),
        Channel("XA", Kind.BAR, SequenceRule.INTERVAL, Kind.BAR, 180.0, interval_ns=NS_PER_MINUTE),
    )
    default_symbols = ("BTC-USD", "ETH-USD")
    archive_kinds = history_of_all = frozenset()
    history = dict.fromkeys((Kind.TRADE, Kind.BAR), History("time"))
    actions_paths, names_path, listed_paths, ticker_market = (), "", (), ""
    event_time_min_ns = 1_262_304_000_000_000_000
    """2010-01-01."""
    calendar = "24/7"
    instruments_path = "/v3/reference/tickers?market=crypto&limit=1000"

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """``{"results":[{"ticker":"X:BTCUSD","base_currency_symbol":"BTC","currency_symbol":"USD",…},…]}``"""
        return [
            Instrument(row.ticker, f"{row.base_currency_symbol}-{row.currency_symbol}")
            for row in listing(payload, wire.Tickers).results
            if row.base_currency_symbol and row.currency_symbol
        ]

    def _spellings(self, venue_symbol: str) -> tuple[str, str, str]:
        """The stream and the ticks say ``BTC-USD``, the bars ``BTCUSD``."""
        name = venue_symbol.removeprefix("X:")
        pair = name if "-" in name else self.instruments.symbol(f"X:{name}")
        return pair, f"X:{pair}", f"X:{pair.replace('-', '')}"


class PolygonIndices(Polygon):
    """Values, and bars that have no volume."""

    name = "polygon_indices"
    changes: ClassVar[Mapping[str, str]] = {}
    websocket_url = "wss://socket.massive.com/indices"
    websocket_url_others = ("wss://socket.polygon.io/indices",)
    channels = (
        Channel("V", Kind.STATS, SequenceRule.NONE, None, 30.0),
        *(channel for channel in Polygon.channels if channel.kind is Kind.BAR),
    )
    ignored_names: ClassVar[Mapping[str, str]] = {
        name: why for name, why in Polygon.ignored_names.items() if name != "V"
    }
    ignored_events: ClassVar[Mapping[str, str]] = {ev: ev for ev in Polygon.ignored_events if ev != "V"}
    default_symbols = ("I:SPX", "I:NDX")
    history: ClassVar[Mapping[Kind, History]] = {Kind.BAR: History("time")}
    actions_paths, names_path, listed_paths, ticker_market = (), "", (), ""
    history_of_all = frozenset()


def _reply(action: str, parameters: str) -> Reply:
    return Reply(msgspec.json.encode({"action": action, "params": parameters}).decode())


_STREAM = Page()
_STREAM_NAMES = re.compile(r"\b[A-Z]+[0-9]?\.[^\s,]+")
"""``Q.AAPL``"""
_SUMMARY = re.compile(r"/(grouped)/|/(prev)(?:[?#]|$)")
"""Addresses whose bars are no channel's: of all symbols of a day, as ``grouped`` reads none, of the last day by another
rule."""
