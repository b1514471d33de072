"""What a frame becomes: the outcomes of ``Exchange.parse``, as a tree at the head of ``contract.py``."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from etl.adapter.series import Contract
from etl.model.records import GapKind, Record


class Rejected(Struct, frozen=True, gc=False):
    """An event that cannot be a record; ``index`` is its position in the frame."""

    code: str
    reason: str
    index: int = 0
    venue_symbol: str = ""


class Ignored(Struct, frozen=True, gc=False):
    """An event left aside on purpose; ``name`` is on the venue's documented list (``ignored_names``).
    ``stands_for``: the record in whose place it came: its id is seen, and published as a hole."""

    name: str
    index: int = 0
    stands_for: Record | None = None


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
    UNANSWERED = "unanswered"  # told by the worker: a stream neither granted nor refused in time
    REQUEST = "request"  # the venue calls what we sent wrong: a defect of ours, or of its documentation


class Fault(Struct, frozen=True, gc=False):
    kind: FaultKind
    code: str
    reason: str
    retry_after_s: float = 0.0
    channels: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    """Of the subscription these channels alone, of these venue symbols if any, are refused; all else goes on."""


class FaultCode(Struct, frozen=True, gc=False):
    """What a status of HTTP (three digits) or the code of a closing websocket (four) means at one venue. ``words``, in
    small letters, stand in what it says, "" = whatever it says. The ``kind`` takes ``wait_s`` at least."""

    code: int
    kind: FaultKind
    words: str = ""
    wait_s: float = 0.0


class ConnectionSequence(Struct, frozen=True, gc=False):
    """The frame's number where the venue counts over a connection, control messages too: one more than the last of its
    ``scope`` (Kalshi's ``sid``; "" = all of it). It comes first; a break is a gap of ``channels`` (none = all)."""

    number: int
    scope: str = ""
    channels: tuple[str, ...] = ()


class BookBroken(Struct, frozen=True, gc=False):
    """A symbol's book, kept by the parser, has another checksum than the venue's, or (JOIN) less than a change takes.
    The record goes out all the same; the gap and the new snapshot are of this symbol and channel alone."""

    venue_symbol: str
    channel: str
    reason: str
    kind: GapKind = GapKind.CHECKSUM


class Behind(Struct, frozen=True, gc=False):
    """The venue tells that a channel of one symbol has given more than came: a gap of that channel alone."""

    venue_symbol: str
    channel: str
    reason: str


class Context(Struct, frozen=True, gc=False):
    """What the frames of this connection that follow mean, where they do not say it (a channel's number stands for its
    symbol): ``text`` stands behind a ``#`` in their endpoint on the raw topic, in the place of the last one, and tells
    it to a parser that saw no earlier frame."""

    text: str


Outcome = (
    Record
    | Rejected
    | Ignored
    | Reply
    | Fault
    | ConnectionSequence
    | BookBroken
    | Behind
    | Contract
    | Context
)
