"""What every simulated venue shares: how it writes the market's facts, and how it gives them again.

A venue here opens nothing and reads no clock. It puts what it has to say into a connection's ``outbox``; the
server carries it out. How one is made stands in ``venues/__init__.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from etl.model.times import NS_PER_MS, interval_ns
from etl.simulator.address import TO_ALL, Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Conversation
from etl.simulator.frame_faults import Outgoing
from etl.simulator.history import PRINTS, TOPS, Entry, FactKind, History
from etl.simulator.market import Bar, Instrument, Listing, decimal_text, number_text
from etl.simulator.series import ContractSeries, Turn
from etl.simulator.session import Item, RecordedResponse, Session, SyntheticSession
from etl.simulator.told import Told
from etl.simulator.truth import EMPTY, TruthEvent
from etl.simulator.words import WORDS, Form, Template, Words

PRINT, TOP, CHANGE, BEST, LIQUIDATION, BAR = "print", "top", "change", "best", "liquidation", "bar"
RECORDED = "recorded"
KEPT: Mapping[str, FactKind] = {PRINT: PRINTS, TOP: TOPS}
"""What of the market's facts can be asked for again, beside bars."""


class Channel(Struct, frozen=True):
    """A stream per symbol. ``draws`` is what the market does for it:

    ``PRINT``        a trade
    ``TOP``          a change at the best prices
    ``CHANGE``       all changes of the book since the last one
    ``BEST``         nothing: the best prices as they are
    ``LIQUIDATION``  somebody's position is closed at the best prices as they are
    ``BAR``          the bar of ``interval`` ends
    ``RECORDED``     nothing: its frames come from a recording

    ``share`` is its share of events. Channels that draw the same are given the same event. ``is_counted``: its ids are
    contiguous, so that a frame that is lost on the way can be known to be missing.

    ``opening`` is what a client is sent first when it subscribes: the book as it stands, the best prices, or the last
    ``replayed_max`` trades.
    """

    draws: str
    form: Form
    share: float = 0.0
    interval: str = ""
    is_counted: bool = False
    opening: Form | None = None
    replayed_max: int = 0


UNDRAWN = Channel(RECORDED, Form("", "", "", 0))


class Response(Struct, frozen=True):
    """``events`` are what the body tells; ``lines``, of a daily file, its lines, an event each. ``is_reference``: no
    market data, hence nothing that a store could miss."""

    status: int
    body: bytes
    events: Sequence[TruthEvent] = ()
    headers: Mapping[str, str] = {}
    is_reference: bool = False
    lines: Sequence[bytes] = ()


class Venue(Conversation):
    """Base of the simulated venues. A subclass that names its ``exchange`` is found by its file."""

    exchange: str
    symbols: Mapping[str, Instrument]
    """What is listed, the default ones first."""
    channels: Mapping[str, Channel]
    words = WORDS
    separator = "."
    """Between the two parts of a stream's name."""
    symbol_leads = False
    """Whether the first part of a stream's name is the symbol, in small letters."""
    sends_forming_bars = False
    sends_empty_bars = False
    events_per_frame_max = 1
    """More than one: a frame is an array of events."""
    series: Sequence[ContractSeries] = ()
    """Those of its contracts, which come and go."""
    told: Told | None = None
    """What its recordings tell, ``None`` = they are judged frame by frame."""
    address: Address | None = None
    """Where its frames name their stream, ``None`` = a recording goes whole to every client."""
    key_header: str = ""
    """The header in which it wants a key; ``answer`` has it in its query, under the same name."""

    def __init__(self, exchange: str) -> None:
        super().__init__()
        self.exchange = exchange
        self.page_items_max = 0
        """Cuts pages of history shorter than asked for, 0 = as asked."""
        self._named: dict[str, tuple[Instrument, dict[str, str]]] = {}
        self._written: dict[tuple[frozenset[str], str, str], list[tuple[str, str]]] = {}

    @cached_property
    def shares(self) -> Mapping[str, float]:
        return {name: channel.share for name, channel in self.channels.items() if channel.share}

    @cached_property
    def prints(self) -> frozenset[str]:
        return frozenset(name for name, channel in self.channels.items() if channel.draws == PRINT)

    @cached_property
    def bar_channels(self) -> Mapping[str, int]:
        bars = ((name, channel) for name, channel in self.channels.items() if channel.draws == BAR)
        return {name: interval_ns(channel.interval) for name, channel in bars}

    # names

    def instrument(self, symbol: str) -> Instrument:
        return self.symbols.get(symbol) or self.unlisted(symbol)

    def unlisted(self, symbol: str) -> Instrument:
        """What a symbol that is not listed here trades as: whoever asks for it shall have it."""
        return Instrument(symbol, symbol, 2, 0, 10_000)

    def split(self, stream: str) -> tuple[str, str]:
        """Stream → (symbol, channel)."""
        first, _, second = stream.partition(self.separator)
        return (first.upper(), second) if self.symbol_leads else (second, first)

    def stream(self, symbol: str, channel: str) -> str:
        if self.symbol_leads:
            return f"{symbol.lower()}{self.separator}{channel}"
        return f"{channel}{self.separator}{symbol}"

    def expand(self, name: str) -> set[str]:
        symbol, channel = self.split(name)
        return {self.stream(one, channel) for one in self.symbols} if symbol == "*" else {name}

    def stream_of(self, payload: bytes) -> str | None:
        """The stream of a recorded frame, ``None`` for what is no market data. Only of a venue with an ``address``."""
        assert self.address is not None
        found = self.address.read(payload)
        if found is None or not self.address.symbol:
            return found and found[0]
        channel, symbol = found
        return self.stream(symbol, channel) if symbol else TO_ALL

    def list_recorded(self, symbols: Iterable[str], channels: Iterable[str] = ()) -> None:
        """What a recording has can be subscribed to, whether the market here has it or not."""
        more = [symbol for symbol in symbols if symbol not in self.symbols]
        names = [name for name in channels if name not in self.channels]
        self.symbols = {**self.symbols, **{symbol: self.unlisted(symbol) for symbol in more}}
        self.channels = {**self.channels, **dict.fromkeys(names, UNDRAWN)}

    def spelled(self, symbol: str, channel: str) -> str:
        """The channel under the name that the client used, where a venue has several."""
        return channel

    # writing

    def write(self, units: int, digits: int) -> str:
        """``units`` x 10^-digits as the venue writes decimals."""
        return number_text(units, digits)

    def words_of(self, symbol: str, fact: Any, **given: Any) -> Words:
        if symbol not in self._named:
            instrument = self.instrument(symbol)
            names = {"symbol": symbol, "lower": symbol.lower(), "unified": instrument.unified}
            self._named[symbol] = instrument, names
        instrument, names = self._named[symbol]
        return Words(self.words, self.write, instrument, fact, names | given)

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        symbol, draws = listing.instrument.symbol, self.channels[channel].draws
        fact: Any
        if draws == PRINT:
            fact = listing.print(time_ns)
        elif draws == TOP:
            fact = listing.top(time_ns)
        elif draws == CHANGE:
            fact = listing.change(time_ns)
        else:
            fact = listing.best(time_ns)
        if draws in KEPT:
            history.add(symbol, KEPT[draws], Entry(fact.number, time_ns, fact))
        return [
            self._item(symbol, name, stream, fact, listing=listing)
            for name, stream in self._streams(streams, symbol, draws)
        ]

    def opening(self, stream: str, session: Session, now_ns: int) -> list[Outgoing]:
        """The frames that begin a subscription."""
        symbol, name = self.split(stream)
        channel = self.channels.get(name)
        if channel is None or channel.opening is None or not isinstance(session, SyntheticSession):
            return []
        listing, time_ns = session.listing(symbol), now_ns + session.skew_ns
        facts: Sequence[Any]
        if channel.draws == PRINT:
            facts = [one.fact for one in session.history.last(symbol, PRINTS, channel.replayed_max)]
        else:
            facts = [listing.told(time_ns) if channel.draws == CHANGE else listing.best(time_ns)]
        items = [self._item(symbol, name, stream, fact, channel.opening, listing=listing) for fact in facts]
        return [Outgoing([item], item.payload) for item in items]

    def trades(self, symbol: str, now_ns: int) -> bool:
        return all(series.trades(symbol, now_ns) for series in self.series)

    def turned(self, turn: Turn, now_ns: int) -> list[Item]:
        """What is said of a contract that comes to be listed, opens, or is over."""
        return []

    def end(self, symbol: str) -> None:
        """It is over."""
        self._named.pop(symbol, None)
        self._written.clear()

    def _streams(self, streams: frozenset[str], symbol: str, draws: str) -> list[tuple[str, str]]:
        """The channels that draw the same and are subscribed to, each with its stream."""
        place = (streams, symbol, draws)
        if place not in self._written:
            named = [
                (name, self.stream(symbol, name)) for name, c in self.channels.items() if c.draws == draws
            ]
            self._written[place] = [(name, stream) for name, stream in named if stream in streams]
        return self._written[place]

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]:
        if not (bar.count or self.sends_empty_bars):
            return []
        symbol = listing.instrument.symbol
        if closed:
            history.add(symbol, bar.interval_ns, Entry(bar.start_ns, bar.start_ns, bar))
        stream, now_ms = self.stream(symbol, channel), now_ns // NS_PER_MS
        return [self._item(symbol, channel, stream, bar, is_closed=closed, now_ms=now_ms)]

    def _item(
        self, symbol: str, channel: str, stream: str, fact: Any, form: Form | None = None, **given: Any
    ) -> Item:
        known = self.channels[channel]
        spelled = self.spelled(symbol, channel)
        words = self.words_of(symbol, fact, channel=spelled, interval=known.interval, **given)
        form = form or known.form
        event = form.event(words)
        return Item(stream, self.encoded(form.text(words)), event)

    def encoded(self, text: str) -> bytes:
        """An event's text as it is sent; where frames are binary, it is not JSON that goes out."""
        return text.encode()

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        """The frame that carries ``items``, as ``connection`` asked for it."""
        if self.events_per_frame_max == 1:
            return items[0].payload
        return b"[" + b",".join([item.payload for item in items]) + b"]"

    def farewell(self, kind: str, now_ns: int) -> bytes | None:
        """The message before a close of that kind, if the venue sends one."""
        return self.dialect.reply(kind, now_ns)

    def unknown_event(self, now_ns: int) -> bytes:
        """A frame of a type that nobody has documented."""
        return self.dialect.reply("unknown_event", now_ns) or b"{}"

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        """The answer to a request, or ``None`` if it must wait for the session to get there. May raise
        ``ValueError``, ``LookupError``: the request is refused with it."""
        raise NotImplementedError

    def page_limit(self, query: Mapping[str, str], default: int, most: int) -> int:
        asked = min(most, int(query.get("limit", default)))
        return min(asked, self.page_items_max) if self.page_items_max else asked

    def rows(
        self, form: Form, symbol: str, entries: Sequence[Entry], **given: Any
    ) -> tuple[list[str], list[TruthEvent]]:
        """The entries as the venue writes them in an answer, and what they are."""
        texts, events = [], []
        for entry in entries:
            words = self.words_of(symbol, entry.fact, **given)
            events.append(form.event(words))
            texts.append(form.text(words))
        return texts, events

    def listings(self, text: str, row: str) -> Response:
        """What is listed, each as ``row`` has it (``$symbol $base $quote $tick $step``), in the place of ``$rows``."""
        template, rows = Template(row), []
        for one in self.symbols.values():
            base, _, quote = one.unified.partition("-")
            tick, step = decimal_text(1, one.price_digits), decimal_text(1, one.size_digits)
            words = {
                "symbol": one.symbol,
                "base": base,
                "quote": quote.partition("-")[0],
                "tick": tick,
                "step": step,
            }
            rows.append(template(words))
        return Response(200, text.replace("$rows", ",".join(rows)).encode(), is_reference=True)

    def book(
        self, form: Form, symbol: str, levels_max: int, session: Session, now_ns: int
    ) -> Response | None:
        """The whole book, or ``None`` until a recording has come to it. Raises ``LookupError``."""
        found = session.snapshot(symbol, now_ns)
        if isinstance(found, RecordedResponse):
            return Response(200, found.payload, [found.event])
        if found is None:
            return None
        kept = replace(found, bids=found.bids[:levels_max], asks=found.asks[:levels_max])
        words = self.words_of(symbol, kept, now_ms=now_ns // NS_PER_MS)
        event = form.event(words)
        return Response(200, form.text(words).encode(), [event])


def page(text: str, rows: Sequence[str], events: Sequence[TruthEvent]) -> Response:
    """``text`` with the rows in the place of ``$rows``."""
    return Response(200, text.replace("$rows", ",".join(rows)).encode(), list(events) or [EMPTY])
