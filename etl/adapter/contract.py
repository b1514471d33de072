"""The contract of an exchange file.

A venue file is pure: it opens nothing, sleeps for nothing, reads no clock, logs nothing. It states facts (addresses,
limits, which rule each channel's sequence obeys), says what to send, and turns a Frame into outcomes. One object per
connection; it holds that connection's state and dies with it.

    outcomes of a frame
    ├── Record (records.py)   published
    ├── Rejected              quarantined, with a code
    ├── Ignored               counted by name; the raw topic keeps it
    ├── Reply                 send this text on the same socket (a pong, the next step of a handshake)
    ├── Fault                 the venue itself has something to say: see ``FaultKind``
    ├── ConnectionSequence    the frame's number on its connection, where the venue counts over all of it
    ├── BookBroken            a book whose checksum does not hold
    ├── Behind                a stream of which the venue says that more has gone out than came
    ├── Context               what the frames after it mean, for who reads them later and alone
    └── Contract (series.py)  one of a series is listed, or over

Records, Rejected and Ignored are events, each event of a frame exactly one of them; the others are not counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import ClassVar, Literal

import msgspec
from msgspec import Struct

from etl.adapter.bulk import BulkBars
from etl.adapter.outcomes import (
    Behind,
    BookBroken,
    ConnectionSequence,
    Context,
    Fault,
    FaultCode,
    FaultKind,
    Ignored,
    Outcome,
    Rejected,
    Reply,
)  # fmt: skip
from etl.adapter.reference import TellsReference
from etl.adapter.series import Series
from etl.adapter.shipped import shipped
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind

__all__ = [
    "PONG", "Behind", "BookBroken", "Budget", "Channel", "ConnectionSequence", "Context", "Credentials", "Exchange",
    "Fault", "FaultCode", "FaultKind", "History", "Ignored", "KeepAlive", "Outcome", "Rejected", "Reply", "Request",
    "SequenceRule", "Subscription", "Ticket", "shipped_instruments",
]  # fmt: skip
"""What the outcomes are stands in ``outcomes.py``; a venue file imports all of it from here."""
JSON = "application/json"
PONG = "pong"
"""Name under which the bare answer to a keep-alive is counted."""
LISTING_WEIGHT = 20


class SequenceRule(Enum):
    """How a channel's sequence proves that nothing is missing (contract, section 4)."""

    CONTIGUOUS = "contiguous"  # sequence == last sequence + 1
    RANGE = "range"  # first_sequence == last sequence + 1
    BACK_POINTER = "back_pointer"  # previous_sequence == last sequence
    RISING = "rising"  # only rises: order, no proof
    INTERVAL = "interval"  # closed bars step by their interval
    NONE = "none"  # bounded by the connection's times only


class Channel(Struct, frozen=True):
    """One stream of a venue: its name on the wire, what it gives and how it proves completeness.

    ``repair`` names the history that can fill a hole exactly: a kind, or ``None`` where no history exists.
    ``stale_after_s`` is how long silence is normal on a liquid symbol, 0 = never stale.

    ``family`` names the stream that variants of other speed, interval or depth belong to ("" = ``name`` itself),
    ``interval_ns`` is the length of the channel's bars (0 = no bars, or of no fixed length), ``depth`` the levels a
    book keeps by the venue's contract (0 = all, or no book). Shared code reads these, never the name.

    ``socket`` names the socket that carries the channel where a feed needs several ("" = the main one). Frames
    received before ``checksum_until_ns`` carry a checksum of the book that the parser holds its own against (0 = none
    ever did, ``INT64_MAX`` = they do). No more than ``symbols_max`` of its streams go over one connection, each named
    and no star (0 = no such limit). ``replayed_max``: a subscription begins with so many of the newest events, in their
    order and none left out (0 = with none, or with others): where the last good one is among them, nothing is missing.
    ``market_wide``: its stream gives all instruments of the venue, whichever were asked for by name.
    """

    name: str
    kind: Kind
    rule: SequenceRule
    repair: Kind | None = None
    stale_after_s: float = 0.0
    family: str = ""
    interval_ns: int = 0
    depth: int = 0
    socket: str = ""
    checksum_until_ns: int = 0
    symbols_max: int = 0
    replayed_max: int = 0
    market_wide: bool = False

    def __post_init__(self) -> None:
        if not self.family:
            msgspec.structs.force_setattr(self, "family", self.name)


class Credentials(Struct, frozen=True):
    """Key and secret; never printed."""

    key: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        return "Credentials(…)"


class Subscription(Struct, frozen=True):
    """What one connection asks for. ``socket`` carries its channels, once ``Exchange.sockets`` told them apart."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    socket: str = ""


class Request(Struct, frozen=True):
    """One request to a venue's history, without credentials. One with a ``body`` is a POST, of JSON unless
    ``content_type`` says otherwise; it lies on the raw topic too. ``path`` includes the query, ``symbol`` is the
    venue's, ``weight`` what it costs at its limiter, ``host`` one of ``Exchange.rest_urls``, "" = the main one.
    ``end_ns`` (exclusive, 0 = open) tells ``next_request`` where to stop, ``start_ns`` where pages go back in time.
    """

    path: str
    kind: Kind
    symbol: str
    weight: int = 1
    end_ns: int = 0
    body: bytes = b""
    content_type: str = JSON
    start_ns: int = 0
    host: str = ""


class Budget(Struct, frozen=True):
    """What the venue takes of all of us: ``weight`` within any ``per_s`` seconds."""

    weight: int
    per_s: float


class KeepAlive(Struct, frozen=True):
    """``text`` is sent every ``every_s``. ``answer`` is what comes back where that is a bare text and no message of
    the venue's format: counted as ``PONG``, never parsed. Without an answer the connection ends as stale."""

    text: str
    every_s: float
    answer: str = ""


class Ticket(Struct, frozen=True):
    """What a venue hands out for one connection. ``query`` is shown at its opening, in the address; nothing logs or
    keeps it. ``url`` is where the venue would have it opened, "" = at its address. ``keepalive`` takes the place of
    the venue file's, with the same ``answer``."""

    query: str
    url: str = ""
    keepalive: KeepAlive | None = None

    def __repr__(self) -> str:
        return f"Ticket(…, {self.url!r}, {self.keepalive!r})"


class History(Struct, frozen=True):
    """How the past of a kind is asked for. By ``id`` alone: ``history_requests`` needs a first id. ``newest_max``: only
    so many of the newest rows are given (0 = all); ``next_request`` raises ``OutOfReach`` where they begin too late."""

    by: Literal["id", "time", "both"]
    newest_max: int = 0


class Exchange(TellsReference):
    """Base of all venue files; see the module's head for what each method may do."""

    name: ClassVar[str]
    parser_version: ClassVar[int] = 1
    websocket_url: ClassVar[str]
    """Live address without the stream list; ``etl simulate`` replaces scheme and host. "" = it has no stream, and
    is asked for its past alone."""
    rest_url: ClassVar[str] = ""
    rest_urls: ClassVar[Mapping[str, str]] = {}
    """Further hosts that answer requests, by the name that ``Request.host`` has of them."""
    websocket_url_others: ClassVar[tuple[str, ...]] = ()
    """The same stream under other host names; attempts to connect take turns."""
    socket_urls: ClassVar[Mapping[str, str]] = {}
    """Live address of a socket (``Channel.socket``) where it is not ``websocket_url``."""
    versions: ClassVar[tuple[tuple[int, type[Exchange]], ...]] = ()
    """Parsers of former protocols, oldest first, each with the time (ns, exclusive) until which it was spoken; see
    ``etl/adapter/versions.py``. They bear the same ``name``."""
    channels: ClassVar[tuple[Channel, ...]]
    ignored_names: ClassVar[Mapping[str, str]]
    """Name → why it is left aside."""
    ignored_events: ClassVar[Mapping[str, str]] = {}
    """An event's type at the venue → the name under which it is left aside."""
    changes: ClassVar[Mapping[str, str]] = {}
    """Date (of the change, or on which it was seen) → what the venue has changed that this file heeds."""
    default_symbols: ClassVar[tuple[str, ...]]
    """Venue symbols that the demo subscribes to."""
    default_channels: ClassVar[tuple[str, ...]] = ()
    """Channel names that the demo subscribes to; empty = all of ``channels``."""
    key_variables: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Environment variables for key and secret, by group the first that is set; ``…_PATH`` names a file with it."""
    key_is_optional: ClassVar[bool] = False
    """Whether the venue gives less without a key, and not nothing."""
    keyed_history: ClassVar[frozenset[Kind]] = frozenset()
    """Where only the history of these kinds takes a key; empty = all does, if ``key_variables`` names any."""
    connections_max: ClassVar[int] = 0
    """Connections one key may hold at once, 0 = no such limit. 1 refuses ``--shard`` and overlap."""
    streams_max: ClassVar[int] = 0
    """Streams on one connection, 0 = no such limit."""
    connection_life_s: ClassVar[float] = 0.0
    """The venue closes a connection of this age, 0 = never; the worker changes over before."""
    budgets: ClassVar[tuple[Budget, ...]] = ()
    """Limits of the history interface, in the venue's weights; a request waits for all of them."""
    connect_budgets: ClassVar[tuple[Budget, ...]] = ()
    """How many connections the venue opens to one address within any time, whoever asks; each weighs 1."""
    messages_per_s: ClassVar[float] = 0.0
    """How many messages a second one connection may send, 0 = no such limit."""
    fault_codes: ClassVar[tuple[FaultCode, ...]] = ()
    """Statuses and close codes that mean something of the venue's own; the first that fits counts. Any other status
    means what it means everywhere (``faults.py``), any other close code that the socket broke."""
    keepalive: ClassVar[KeepAlive | None] = None
    """What has to be sent lest the venue close the connection; protocol pings need no mention."""
    history: ClassVar[Mapping[Kind, History]] = {}
    """The kinds that ``history_requests`` can ask for."""
    history_of_all: ClassVar[frozenset[Kind]] = frozenset()
    """Of them those that it can ask for of all symbols at once, by ``*``."""
    history_together: ClassVar[Mapping[Kind, int]] = {}
    """Of them those that one request asks for of so many symbols, joined as ``carried.together`` does."""
    archive_kinds: ClassVar[frozenset[Kind]] = frozenset()
    """The kinds that have daily files."""
    archive_months: ClassVar[frozenset[Kind]] = frozenset()
    """Of them those that have a file of each whole month too, within a week of its end; its ``archive_path`` is that of
    ``2024-08``."""
    event_time_min_ns: ClassVar[int] = 0
    """No event of this market is older (bitcoin: 2009); validation refuses a venue that leaves it at 0."""
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset()
    """Kinds of which some or all events carry no time (spot bookTicker): epoch rules do not apply."""
    calendar: ClassVar[str] = "24/7"
    """The sessions in which silence means something: ``24/7``, ``us_overnight``, or a file of
    ``etl/adapter/calendars``."""
    delay_s: ClassVar[float] = 0.0
    """How long after its time this feed sends an event: its sessions begin and end so much later."""
    ready_on_open: ClassVar[bool] = False
    """True where no message acknowledges a subscription: the socket's opening is then the ``READY``."""
    archive_url: ClassVar[str] = ""
    """Where the venue's daily files lie, "" = it has none."""
    archive_checksum: ClassVar[str] = ".CHECKSUM"
    """Behind a file's address: that of its SHA-256. "" = it has none, and is held against the one of its packing."""
    archive_day_ns: ClassVar[int] = 0
    """When the day of a file begins, against midnight UTC: -8 h where it is one of Hong Kong."""
    archive_is_whole: ClassVar[bool] = False
    """Whether a file holds all symbols, so that ``*`` alone can be asked for."""
    bulk_bars: ClassVar[BulkBars | None] = None
    """How files of bars are read by columns, ``None`` = line by line."""
    archive_rests: ClassVar[frozenset[int]] = frozenset()
    """Days of the week (Monday = 0) on which the archive need not have a file."""
    instruments_path: ClassVar[str] = ""
    """History path of (the first page of) the venue's instrument list, "" where symbols need none."""
    series: ClassVar[Series | None] = None
    """How contracts are followed that come and go; ``None`` = a symbol stands for itself."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        self.credentials = credentials or Credentials()
        self.instruments = shipped_instruments(type(self)) if instruments is None else instruments

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """The instruments of one page of the list. Raises ``ValueError`` if it is not one."""
        return ()

    @classmethod
    def listing_requests(cls) -> Sequence[Request]:
        """First requests of the instrument list; ``next_request`` gives the pages after each."""
        path = cls.instruments_path
        return [Request(path, Kind.STATUS, "", LISTING_WEIGHT)] if path else ()

    @classmethod
    def channel(cls, name: str) -> Channel | None:
        """The facts of the channel called ``name``, declared or parametric; ``None`` if the venue has none such."""
        return next((channel for channel in cls.channels if channel.name == name), None) or cls.match(name)

    @classmethod
    def match(cls, name: str) -> Channel | None:
        """A channel whose name carries its parameters (``kline_5m``, ``depth20@100ms``), with facts to match."""
        return None

    @classmethod
    def sockets(cls, subscription: Subscription) -> tuple[Subscription, ...]:
        """``subscription`` cut by the sockets that carry its channels."""
        names: dict[str, list[str]] = {}
        for name in subscription.channels:
            channel = cls.channel(name)
            names.setdefault(channel.socket if channel else "", []).append(name)
        return tuple(
            Subscription(subscription.symbols, tuple(channels), socket) for socket, channels in names.items()
        )

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        """The address to open; ``base_url`` has no trailing slash. What is behind a ``#`` stays in the raw topic."""
        raise NotImplementedError

    def ticket_request(self) -> Request | None:
        """What has to be asked for before each connection; ``None`` where it may be opened at once."""
        return None

    def read_ticket(self, payload: bytes) -> Ticket:
        """Of the answer to ``ticket_request``. Raises ``VenueError`` where it holds none."""
        raise NotImplementedError

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        """Messages to send at once after the socket opened."""
        return ()

    def resubscribe(self, subscription: Subscription) -> Sequence[str | bytes]:
        """Messages that begin these channels of these symbols anew, and no others; none where a request does that."""
        return ()

    def change(self, joins: Subscription, leaves: Subscription) -> Sequence[str]:
        """Messages that add ``joins`` to what the connection carries, and take ``leaves`` away; either may be empty."""
        return ()

    def unanswered(self) -> Sequence[str]:
        """The streams subscribed to that the venue has neither granted nor refused yet, in its own spelling."""
        return ()

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """Every event of ``frame`` as exactly one outcome. Never raises for anything a venue can send."""
        raise NotImplementedError

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        """Requests that must follow the opening so that books can be joined."""
        return ()

    def history_requests(
        self, kind: Kind, venue_symbol: str, start_ns: int, end_ns: int,
        first_id: int | None = None, channel: str = "",
    ) -> Iterator[Request]:  # fmt: skip
        """First requests that cover [start_ns, end_ns), or ids from ``first_id`` on. ``channel`` tells which bars,
        where a venue has several; "" = of one minute."""
        raise NotImplementedError

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        """Requests for exactly these ids, each a page by itself; none where the history is not asked by id."""
        return iter(())

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        """Path below ``archive_url`` of the file of that day (``2024-08-08``, the venue's), "" where there is none."""
        return ""

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """The page after ``frame``, the answer to ``request``; ``None`` after the last. Raises ``VenueError`` where
        that cannot be read: only a page says the end, never a failure."""
        return None

    def headers(self, request: Request, now_ns: int) -> Mapping[str, str]:
        """Headers that authenticate ``request``; never logged."""
        return {}

    def key_query(self, request: Request) -> Mapping[str, str]:
        """Parameters that authenticate ``request`` where a venue takes its key in the address; never logged or kept."""
        return {}

    def calendar_requests(self, venue_symbol: str, from_day: str) -> Iterator[Request]:
        """Requests for the days, from ``from_day`` on, on which a series is told anew; each is made when the answers to
        those before it were parsed."""
        return iter(())

    def release_days(self, venue_symbol: str) -> Sequence[str]:
        """What those answers said, planned days too: ``2026-07-30``."""
        return ()

    def told_rows(self, request: Request, frame: Frame) -> int | None:
        """How many rows there are in all, where ``frame``, the answer to ``request``, says so: for estimates."""
        return None

    def handshake_headers(self, now_ns: int) -> Mapping[str, str]:
        """Headers of the websocket's opening request; never logged."""
        return {}


def shipped_instruments(exchange: type[Exchange]) -> Instruments:
    """The list that comes with the code: ``etl/exchanges/instruments/<name>.json``, in the venue's own form."""
    return shipped(exchange.name, exchange.read_instruments)
