"""Faults on command: what can go wrong between a venue and us, each one small function.

    frame faults      change what happens to the next ``count`` frames:      drop duplicate reorder delay garble cut
    session faults    change what the venue says:      unknown_type wrong_sequence sequence_reset clock_skew flood
    connection faults change what happens to the socket:      disconnect mute shutdown too_many auth_failure
    request faults    change what the history answers:      rate_limit ban rest_error rest_timeout page_cut

Frame faults stand in ``frame_faults.py``, below the feed that applies them; all others act on the feed.
"""

from __future__ import annotations

from collections.abc import Callable

from etl.errors import UsageError
from etl.model.times import NS_PER_S
from etl.simulator.connection import Connection
from etl.simulator.feed import Feed, Refusal
from etl.simulator.frame_faults import FRAME_FAULTS, Fault

FOR_GOOD = 1 << 62


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
    feed.session.skew_ns = int(fault.delay_s * NS_PER_S)
    feed.later(now_ns + int(fault.duration_s * NS_PER_S), _clock_right)


def _clock_right(feed: Feed) -> None:
    feed.session.skew_ns = 0


def flood(feed: Feed, fault: Fault, now_ns: int) -> None:
    """``count`` times as many events for a while."""
    feed.session.tempo = fault.count
    feed.later(now_ns + int(fault.duration_s * NS_PER_S), _flood_over)


def _flood_over(feed: Feed) -> None:
    feed.session.tempo = 1


# the socket


def disconnect(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The connection is gone without a word."""
    for socket in feed.sockets:
        socket.abort()


def mute(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The sockets stay open and silent, for good if ``duration_s`` is 0; the market goes on. Of one ``channel`` alone,
    for good: it is no more subscribed to, and nobody is told."""
    for socket in feed.sockets:
        if fault.channel:
            socket.streams -= {name for name in socket.streams if feed.venue.split(name)[1] == fault.channel}
            continue
        socket.muted_until_ns = now_ns + int(fault.duration_s * NS_PER_S) if fault.duration_s else FOR_GOOD


def shutdown(feed: Feed, fault: Fault, now_ns: int) -> None:
    """The 24 h close: announced where the venue does, then closed."""
    farewell = feed.venue.farewell("shutdown", now_ns)
    for socket in feed.sockets:
        if farewell:
            socket.outbox.append(farewell)
        feed.later(now_ns + int(fault.delay_s * NS_PER_S), _close(socket))


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
    until_ns = now_ns + int(fault.duration_s * NS_PER_S)
    feed.refusal = Refusal(until_ns, status, {"Retry-After": str(max(1, round(fault.retry_after_s)))})


def rest_error(feed: Feed, fault: Fault, now_ns: int) -> None:
    feed.refusal = Refusal(now_ns + int(fault.duration_s * NS_PER_S), fault.status, {})


def rest_timeout(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Requests get no answer until it is over."""
    feed.refusal = Refusal(now_ns + int(fault.duration_s * NS_PER_S), 0, {})


def page_cut(feed: Feed, fault: Fault, now_ns: int) -> None:
    """Pages end after ``count`` rows, inside a timestamp sooner or later."""
    feed.venue.page_items_max = fault.count
    feed.later(now_ns + int(fault.duration_s * NS_PER_S), _page_whole)


def _page_whole(feed: Feed) -> None:
    feed.venue.page_items_max = 0


FEED_FAULTS: dict[str, Callable[[Feed, Fault, int], None]] = {
    function.__name__: function
    for function in (
        unknown_type,
        wrong_sequence,
        sequence_reset,
        clock_skew,
        flood,
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
