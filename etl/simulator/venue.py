"""What every simulated venue shares: connections, answers, and the contract of a venue's protocol.

A venue here opens nothing and reads no clock. It puts what it has to say into a connection's ``outbox``; the
server carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from etl.simulator.market import Bar, Instrument, Listing
from etl.simulator.session import History, Item, Session


class Connection:
    """One client on one socket. ``outbox`` holds control messages to send; ``closing`` ends it after them."""

    def __init__(self, path: str = "", query: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.query = query or {}
        self.key = ""
        self.authenticated = False
        self.streams: set[str] = set()
        self.outbox: list[bytes] = []
        self.closing = False
        self.muted_until_ns = 0
        self.is_raw = False
        """Whether events come without the envelope that names their stream (Binance ``/ws``)."""

    def write(self, payloads: Sequence[bytes]) -> None:
        """Send these frames, in this order, without waiting."""
        raise NotImplementedError

    def abort(self) -> None:
        """The connection is gone, now and without a word."""
        raise NotImplementedError

    @property
    def unread_bytes(self) -> int:
        """Sent, and not yet taken by the client."""
        return 0

    @property
    def is_open(self) -> bool:
        return True


class Answer(Struct, frozen=True):
    """``is_reference``: no market data, hence nothing that a store could miss."""

    status: int
    body: bytes
    headers: Mapping[str, str] = {}
    is_reference: bool = False


class Split(Struct, frozen=True):
    """``before`` shares became ``after``."""

    symbol: str
    before: int
    after: int
    age_days: int


SPLITS = (Split("SPLT", 1, 4, 10), Split("RVRS", 10, 1, 20))
"""Of stocks that are not traded here: the prices of those that are do not jump."""


def splits_between(now_ns: int, from_day: str, to_day: str) -> list[tuple[str, Split]]:
    """The splits of these days, each with its day, oldest first."""
    today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date()
    dated = sorted(((today - timedelta(days=split.age_days)).isoformat(), split) for split in SPLITS)
    return [(day, split) for day, split in dated if from_day <= day <= to_day]


class Venue:
    """Base of the simulated venues: facts, protocol, how events are written, and the request interface."""

    exchange: str
    default_symbols: tuple[str, ...]
    weights: Mapping[str, float]
    bar_channels: Mapping[str, int]
    sends_forming_bars = False
    past_kinds: Mapping[str, str | int]
    events_per_frame_max = 1

    def __init__(self, exchange: str) -> None:
        self.exchange = exchange
        self.refuse_logins = 0
        """How many of the next logins to refuse: the authentication fault."""
        self.refuse_connections = 0
        """How many of the next connections to refuse as one too many: the connection limit fault."""
        self.page_items_max = 0
        """Cuts pages of history shorter than asked for, 0 = as asked."""

    # protocol

    def refuse_upgrade(self) -> int:
        """The HTTP status that refuses a websocket, for venues that log nobody in; 0 = welcome."""
        return 0

    def opened(self, connection: Connection) -> None:
        """A client has connected."""

    def received(self, connection: Connection, text: str, others: Sequence[Connection]) -> None:
        """A client has said ``text``; ``others`` are the other open connections."""
        raise NotImplementedError

    def farewell(self, kind: str, now_ns: int) -> bytes | None:
        """The message before a close of that kind (``slow_client``, ``shutdown``, …), if the venue sends one."""
        return None

    def join(self, items: Sequence[Item], connection: Connection | None = None) -> bytes:
        """The frame that carries ``items``, as ``connection`` asked for it."""
        raise NotImplementedError

    def unknown_event(self, now_ns: int) -> bytes:
        """A frame of a type that nobody has documented."""
        raise NotImplementedError

    # writing

    def instrument(self, symbol: str) -> Instrument:
        raise NotImplementedError

    def split(self, stream: str) -> tuple[str, str]:
        raise NotImplementedError

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        raise NotImplementedError

    def bar(
        self, listing: Listing, channel: str, bar: Bar, now_ns: int, closed: bool, history: History
    ) -> list[Item]:
        raise NotImplementedError

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Answer | None:
        """The answer to a request, or ``None`` if it must wait for the session to get there."""
        raise NotImplementedError

    def page_limit(self, query: Mapping[str, str], default: int, most: int) -> int:
        asked = min(most, int(query.get("limit", default)))
        return min(asked, self.page_items_max) if self.page_items_max else asked
