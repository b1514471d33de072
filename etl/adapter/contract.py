"""The contract of an exchange file.

A venue file is pure: it opens nothing, sleeps for nothing, reads no clock, logs nothing. It states facts
(addresses, limits, which rule each channel's sequence obeys), says what to send, and turns a Frame into
outcomes. One object per connection; it holds that connection's state and dies with it.

    outcomes of a frame
    ├── Record (records.py)   published
    ├── Rejected              quarantined, with a code
    ├── Ignored               counted by name; the raw tape keeps it
    ├── Reply                 send this text on the same socket (a pong, the next step of a handshake)
    └── Fault                 the venue itself has something to say: see ``FaultKind``

Records, Rejected and Ignored are events, and each event of a frame is exactly one of them. Reply and Fault
accompany an event and are not counted.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import ClassVar

import msgspec
from msgspec import Struct

from etl.model.instruments import Instrument, Instruments
from etl.model.records import Frame, Kind, Record


class Rejected(Struct, frozen=True, gc=False):
    """An event that cannot be a record; ``index`` is its position in the frame."""

    code: str
    reason: str
    index: int = 0
    venue_symbol: str = ""


class Ignored(Struct, frozen=True, gc=False):
    """An event left aside on purpose; ``name`` is on the venue's documented list (``ignored_names``)."""

    name: str
    index: int = 0


class Reply(Struct, frozen=True, gc=False):
    """``bytes`` go out as a binary message."""

    payload: str | bytes


class FaultKind(Enum):
    """What the venue says of itself; ``etl/adapter/faults.py`` maps each to one policy."""

    READY = "ready"  # authenticated and subscribed: not an error, it starts the liveness clock
    TRANSIENT = "transient"  # reconnect with back-off
    SHUTDOWN = "shutdown"  # the venue announces that it will close: open the next connection first
    SLOW_CLIENT = "slow_client"  # we were cut off for reading too slowly
    AUTHENTICATION = "authentication"
    ENTITLEMENT = "entitlement"
    CONNECTION_LIMIT = "connection_limit"
    SUBSCRIPTION_LIMIT = "subscription_limit"
    RATE_LIMIT = "rate_limit"
    BANNED = "banned"
    REQUEST = "request"  # the venue calls what we sent wrong: a defect of ours, or of its documentation


class Fault(Struct, frozen=True, gc=False):
    kind: FaultKind
    code: str
    reason: str
    retry_after_s: float = 0.0


Outcome = Record | Rejected | Ignored | Reply | Fault


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
    """

    name: str
    kind: Kind
    rule: SequenceRule
    repair: Kind | None = None
    stale_after_s: float = 0.0
    family: str = ""
    interval_ns: int = 0
    depth: int = 0

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
    """What one connection asks for: venue symbols and channel names."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...]


class Request(Struct, frozen=True):
    """One request to a venue's history, without host and credentials.

    ``path`` includes the query; ``symbol`` is the venue's. ``weight`` is what it costs at the venue's
    limiter. ``end_ns`` (exclusive, 0 = open) tells ``next_request`` where to stop.
    """

    path: str
    kind: Kind
    symbol: str
    weight: int = 1
    end_ns: int = 0


class Split(Struct, frozen=True):
    """Prices before ``day`` (ISO, the venue's) times ``factor`` are prices after it: 0.25 where one became four."""

    symbol: str
    day: str
    factor: float


class Exchange:
    """Base of all venue files; see the module's head for what each method may do."""

    name: ClassVar[str]
    parser_version: ClassVar[int] = 1
    websocket_url: ClassVar[str]
    """Live address without the stream list; ``etl simulate`` replaces scheme and host."""
    rest_url: ClassVar[str] = ""
    websocket_url_others: ClassVar[tuple[str, ...]] = ()
    """The same stream under other host names; attempts to connect take turns."""
    channels: ClassVar[tuple[Channel, ...]]
    ignored_names: ClassVar[Mapping[str, str]]
    """Name → why it is left aside."""
    default_symbols: ClassVar[tuple[str, ...]]
    """Venue symbols that the demo subscribes to."""
    default_channels: ClassVar[tuple[str, ...]] = ()
    """Channel names that the demo subscribes to; empty = all of ``channels``."""
    key_variables: ClassVar[tuple[tuple[str, ...], ...]] = ()
    """Environment variables for key and secret; the first that is set of each group counts."""
    connections_max: ClassVar[int] = 0
    """Connections one key may hold at once, 0 = no such limit. 1 refuses ``--shard`` and overlap."""
    streams_max: ClassVar[int] = 0
    """Streams on one connection, 0 = no such limit."""
    connection_life_s: ClassVar[float] = 0.0
    """The venue closes a connection of this age, 0 = never; the worker changes over before."""
    request_weight_per_minute: ClassVar[int] = 0
    """Budget of the history interface, in the venue's weights; 0 = unpublished."""
    event_time_min_ns: ClassVar[int] = 0
    """No event of this market is older (bitcoin: 2009); validation refuses a venue that leaves it at 0."""
    untimed_kinds: ClassVar[frozenset[Kind]] = frozenset()
    """Kinds of which some or all events carry no time (spot bookTicker): epoch rules do not apply."""
    calendar: ClassVar[str] = "24/7"
    """exchange_calendars name of the sessions in which silence means something."""
    ready_on_open: ClassVar[bool] = False
    """True where no message acknowledges a subscription: the socket's opening is then the ``READY``."""
    archive_url: ClassVar[str] = ""
    """Where the venue's daily files lie, "" = it has none."""
    instruments_path: ClassVar[str] = ""
    """History path that answers with the venue's instrument list, "" where symbols need none."""

    splits_path: ClassVar[str] = ""
    """History path of the splits of ``{from_day}`` to ``{to_day}``, "" where nothing splits."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        self.credentials = credentials or Credentials()
        self.instruments = shipped_instruments(type(self)) if instruments is None else instruments

    @classmethod
    def read_instruments(cls, payload: bytes) -> Iterable[Instrument]:
        """The instruments of an answer to ``instruments_path``. Raises ``ValueError`` if it is not one."""
        return ()

    @classmethod
    def read_splits(cls, payload: bytes) -> Iterable[Split]:
        """The splits of an answer to ``splits_path``. Raises ``ValueError`` if it is not one."""
        return ()

    @classmethod
    def channel(cls, name: str) -> Channel | None:
        """The declared channel that ``name`` is, or is a variant of (``depth@1000ms`` of ``depth@100ms``)."""
        family = channel_family(name)
        same = [channel for channel in cls.channels if channel_family(channel.name) == family]
        return next((channel for channel in same if channel.name == name), same[0] if same else None)

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        """The address to open; ``base_url`` has no trailing slash."""
        raise NotImplementedError

    def open(self, subscription: Subscription) -> Sequence[str]:
        """Messages to send at once after the socket opened."""
        return ()

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        """Every event of ``frame`` as exactly one outcome. Never raises for anything a venue can send."""
        raise NotImplementedError

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        """Requests that must follow the opening so that books can be joined."""
        return ()

    def history_requests(
        self,
        kind: Kind,
        venue_symbol: str,
        start_ns: int,
        end_ns: int,
        first_id: int | None = None,
        channel: str = "",
    ) -> Iterator[Request]:
        """First requests that cover [start_ns, end_ns), or ids from ``first_id`` on. ``channel`` tells which bars,
        where a venue has several; "" = of one minute."""
        raise NotImplementedError

    def id_requests(self, kind: Kind, venue_symbol: str, first_id: int, last_id: int) -> Iterator[Request]:
        """Requests for exactly these ids, each a page by itself; none where the history is not asked by id."""
        return iter(())

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        """Path below ``archive_url`` of the file of that day (``2024-08-08``), "" where there is none."""
        return ""

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        """The page after ``frame``, the answer to ``request``; ``None`` after the last."""
        return None

    def headers(self) -> Mapping[str, str]:
        """Headers that authenticate history requests; never logged."""
        return {}

    def handshake_headers(self) -> Mapping[str, str]:
        """Headers of the websocket's opening request; never logged."""
        return {}


def channel_family(name: str) -> str:
    """``depth@100ms`` → ``depth``, ``kline_1m`` → ``kline``: variants differ in speed or interval, not in rule."""
    return name.partition("@")[0].partition("_")[0]


def shipped_instruments(exchange: type[Exchange]) -> Instruments:
    """The list that comes with the code: ``etl/exchanges/instruments/<name>.json``, in the venue's own form."""
    return _read_shipped(exchange.name, exchange.read_instruments)


@cache
def _read_shipped(name: str, read: Callable[[bytes], Iterable[Instrument]]) -> Instruments:
    try:
        payload = pkgutil.get_data("etl.exchanges", f"instruments/{name}.json")
    except FileNotFoundError:
        return Instruments()
    return Instruments(read(payload or b""))
