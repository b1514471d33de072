"""Faults on command: what can go wrong between a venue and us, each one small function.

    frame faults      change what happens to the next ``count`` frames:      drop duplicate reorder delay garble cut
    session faults    change what the venue says:      unknown_type wrong_sequence sequence_reset clock_skew
    connection faults change what happens to the socket:      disconnect mute shutdown too_many auth_failure
    request faults    change what the history answers:      rate_limit ban rest_error rest_timeout page_cut

A frame that is kept back or broken is ``withheld`` in the truth: the venue had its events, nobody got them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from etl.errors import UsageError
from etl.simulator.session import Item
from etl.simulator.venue import Connection

if TYPE_CHECKING:
    from etl.simulator.feed import Feed

SECOND = 1_000_000_000
FOR_GOOD = 1 << 62


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """An order: ``count`` frames (or logins, connections, ids), ``duration_s`` for what lasts, ``delay_s`` where
    something waits, ``retry_after_s`` for limits. ``channel`` restricts a frame fault to frames of that channel:
    where the venue counts nothing, a frame that is lost on the way cannot be known to be missing."""

    kind: str
    count: int = 1
    duration_s: float = 1.0
    delay_s: float = 0.2
    retry_after_s: float = 1.0
    status: int = 503
    channel: str = ""


class Outgoing(Struct):
    """A frame on its way: its events, its bytes, whether it is sent, and when."""

    items: Sequence[Item]
    payload: bytes
    is_sent: bool = True
    at_ns: int = 0
    is_altered: bool = False


FrameFault = Callable[["Outgoing", Fault, int, random.Random], list[Outgoing]]


def drop(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    frame.is_sent = False
    return [frame]


def duplicate(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    return [frame, Outgoing(frame.items, frame.payload)]


def delay(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    frame.at_ns = now_ns + int(fault.delay_s * SECOND)
    return [frame]


def reorder(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    """A frame waits a moment, so that those after it overtake it."""
    frame.at_ns = now_ns + 1 + int(rng.random() * fault.delay_s * SECOND)
    return [frame]


def garble(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    """Bytes in the middle turn into others, so that it is no JSON any more."""
    middle = len(frame.payload) // 2
    broken = frame.payload[: middle - 2] + b"\x07#~\x01" + frame.payload[middle + 2 :]
    return _instead(frame, broken)


def cut(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    return _instead(frame, frame.payload[: max(1, rng.randrange(len(frame.payload)))])


def _instead(frame: Outgoing, payload: bytes) -> list[Outgoing]:
    frame.is_sent = False
    return [frame, Outgoing((), payload, is_altered=True)]


FRAME_FAULTS: dict[str, FrameFault] = {
    "drop": drop,
    "duplicate": duplicate,
    "reorder": reorder,
    "delay": delay,
    "garble": garble,
    "cut": cut,
}


# the venue says something odd


def unknown_type(feed: Feed, fault: Fault, now_ns: int) -> None:
    for _ in range(fault.count):
        feed.insert(feed.venue.unknown_event(now_ns))


def wrong_sequence(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Ids are left out that no history has."""
    for listing in feed.listings():
        listing.skip_numbers(fault.count)


def sequence_reset(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Every counter starts anew, far below where it was."""
    for listing in feed.listings():
        listing.reset_numbers(feed.fresh_number())


def clock_skew(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The venue's clock is ``delay_s`` ahead (or behind) for a while."""
    feed.session.skew_ns = int(fault.delay_s * SECOND)
    feed.later(now_ns + int(fault.duration_s * SECOND), _clock_right)


def _clock_right(feed: Feed) -> None:
    feed.session.skew_ns = 0


# the socket


def disconnect(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The connection is gone without a word."""
    for socket in feed.sockets:
        socket.abort()


def mute(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The sockets stay open and silent, for good if ``duration_s`` is 0; the market goes on."""
    for socket in feed.sockets:
        socket.muted_until_ns = now_ns + int(fault.duration_s * SECOND) if fault.duration_s else FOR_GOOD


def shutdown(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The 24 h close: announced where the venue does, then closed."""
    farewell = feed.venue.farewell("shutdown", now_ns)
    for socket in feed.sockets:
        if farewell:
            socket.outbox.append(farewell)
        feed.later(now_ns + int(fault.delay_s * SECOND), _close(socket))


def _close(socket: Connection) -> Callable[[Feed], None]:
    def close(feed: Feed) -> None:
        socket.closing = True

    return close


def too_many(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Someone else connected with the same key: the older connection is closed."""
    for socket in feed.sockets:
        farewell = feed.venue.farewell("too_many", now_ns)
        if farewell:
            socket.outbox.append(farewell)
        socket.closing = True


def connection_limit(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The next logins meet a connection that is still open; those of now end, so that there are logins."""
    feed.venue.refuse_connections = fault.count
    disconnect(feed, fault, now_ns)


def auth_failure(feed: Feed, fault: Fault, now_ns: int) -> None:
    feed.venue.refuse_logins = fault.count
    disconnect(feed, fault, now_ns)


# requests


def rate_limit(feed: Feed, fault: Fault, now_ns: int) -> None:
    _refuse(feed, fault, now_ns, 429)


def ban(feed: Feed, fault: Fault, now_ns: int) -> None:
    _refuse(feed, fault, now_ns, 418)


def _refuse(feed: Feed, fault: Fault, now_ns: int, status: int) -> None:
    until_ns = now_ns + int(fault.duration_s * SECOND)
    feed.refusal = Refusal(until_ns, status, {"Retry-After": str(max(1, round(fault.retry_after_s)))})


def rest_error(feed: Feed, fault: Fault, now_ns: int) -> None:
    feed.refusal = Refusal(now_ns + int(fault.duration_s * SECOND), fault.status, {})


def rest_timeout(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Requests get no answer until it is over."""
    feed.refusal = Refusal(now_ns + int(fault.duration_s * SECOND), 0, {})


def page_cut(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Pages end after ``count`` rows, inside a timestamp sooner or later."""
    feed.venue.page_items_max = fault.count
    feed.later(now_ns + int(fault.duration_s * SECOND), _page_whole)


def _page_whole(feed: Feed) -> None:
    feed.venue.page_items_max = 0


class Refusal(Struct, frozen=True):
    """What requests get until then; status 0 = nothing at all."""

    until_ns: int
    status: int
    headers: Mapping[str, str]


FEED_FAULTS: dict[str, Callable[[Feed, Fault, int], None]] = {
    function.__name__: function
    for function in (
        unknown_type,
        wrong_sequence,
        sequence_reset,
        clock_skew,
        disconnect,
        mute,
        shutdown,
        too_many,
        connection_limit,
        auth_failure,
        rate_limit,
        ban,
        rest_error,
        rest_timeout,
        page_cut,
    )
}
KINDS = (*FRAME_FAULTS, *FEED_FAULTS)


def order(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Let ``fault`` happen, now or to the next frames. Raises ``UsageError`` for a kind that is none."""
    if fault.kind in FRAME_FAULTS:
        feed.frame_faults.order(fault)
    elif fault.kind in FEED_FAULTS:
        FEED_FAULTS[fault.kind](feed, fault, now_ns)
        feed.frame_faults.note(fault.kind)
    else:
        raise UsageError(f"{fault.kind}: no such fault; known are {', '.join(KINDS)}")


class FrameFaults:
    """The orders that wait for frames, oldest first, and the frames that wait for their time."""

    def __init__(self, seed: int, channel_of: Callable[[str], str]) -> None:
        self._rng = random.Random(seed)
        self._channel_of = channel_of
        self._orders: list[tuple[Fault, int]] = []
        self._late: list[Outgoing] = []
        self.fired: dict[str, int] = {}

    def order(self, fault: Fault) -> None:
        self._orders.append((fault, fault.count))

    def note(self, kind: str) -> None:
        self.fired[kind] = self.fired.get(kind, 0) + 1

    def apply(self, frames: list[Outgoing], now_ns: int, deliverable: bool) -> list[Outgoing]:
        """The frames that go out now. Orders wait while nobody could see their effect."""
        out: list[Outgoing] = []
        for frame in frames:
            order = self._order_for(frame) if deliverable and frame.items else None
            out += [frame] if order is None else self._alter(frame, order, now_ns)
        if self._late:
            out += [frame for frame in self._late if frame.at_ns <= now_ns]
            self._late = [frame for frame in self._late if frame.at_ns > now_ns]
        return out

    def flush(self) -> list[Outgoing]:
        """Everything that still waits, in order: the venue stops."""
        late, self._late = self._late, []
        return late

    def _order_for(self, frame: Outgoing) -> int | None:
        """The place of the oldest order that this frame fits."""
        for place, (fault, _) in enumerate(self._orders):
            if not fault.channel or any(self._channel_of(i.stream) == fault.channel for i in frame.items):
                return place
        return None

    def _alter(self, frame: Outgoing, place: int, now_ns: int) -> list[Outgoing]:
        fault, left = self._orders.pop(place)
        if left > 1:
            self._orders.insert(place, (fault, left - 1))
        self.note(fault.kind)
        out: list[Outgoing] = []
        for result in FRAME_FAULTS[fault.kind](frame, fault, now_ns, self._rng):
            (self._late if result.at_ns > now_ns else out).append(result)
        return out
