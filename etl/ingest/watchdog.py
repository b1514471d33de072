"""Whether what has fallen silent is quiet, or lost.

A channel of an instrument is a suspect when it is silent beyond its own pace (``etl/sources/liveness.py``). Who else is
heard on its socket, and what the venue's history has, tell what became of it:

    the history                the others are heard                        nobody is heard
    ─────────────────────────  ──────────────────────────────────────────  ─────────────────────────────────────
    has nothing newer          quiet: left alone                           quiet: left alone
    has more                   gap of this channel, subscribed anew        the socket is mute: closed, gap of all
    does not tell              gap of this channel, subscribed anew        the same
    the same, never heard      left alone: the monitor names the channel   subscribed anew

Subscribed anew: on the same connection where the venue can, else by a successor that is opened first; so what others
get has no gap. Each suspicion makes the instrument's next one later.

A subscription to all symbols is watched as one instrument, which is heard with any of them. When it falls silent, its
socket is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from etl.adapter.carried import is_many
from etl.adapter.contract import Channel, Credentials, Request, SequenceRule, Subscription
from etl.errors import VenueError
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.observer import Observer
from etl.model.records import GapKind, Quarantined, Record, Source
from etl.model.times import NS_PER_MS, NS_PER_S
from etl.sequencing.spans import time_of
from etl.sources.connection_id import connection_id
from etl.sources.history import History
from etl.sources.liveness import Pace
from etl.sources.websocket import Connection
from etl.telemetry.worker import WorkerCounts

LOOK_NS = NS_PER_S
"""Between two looks at all instruments of a stream."""
ASK_NS = 2 * NS_PER_S
"""Between two questions to the history: repairs spend the same budget."""
ASK_PAGES_MAX = 2
HISTORY_LAG_NS = 5 * NS_PER_S
"""What is younger may still be under way to us."""
HISTORY_DOUBLE = "history_double"
"""Name under which an event is counted with which the answer to a question begins, and which is published."""

_log = logging.getLogger(__name__)


class _Instrument:
    """One channel of one instrument."""

    def __init__(self, symbol: str, venue_symbol: str, channel: Channel) -> None:
        self.symbol = symbol
        self.venue_symbol = venue_symbol
        self.channel = channel
        self.pace = Pace(channel.stale_after_s)
        self.sign: object = None
        """Of life, as the last look found it."""
        self.normal_until_ns = 0
        """Until when its silence is its pace, or proven by the history; 0 = nothing tells."""
        self.renewed_on = ""
        """The connection on which it was subscribed anew: once on each."""

    def __str__(self) -> str:
        return f"{self.channel.name} of {self.venue_symbol}"


class _Found(Observer):
    """Whether a history has an event of ``one`` that should have come: behind ``newest``, until ``until_ns``."""

    listens = True

    def __init__(self, one: _Instrument, newest: Record | None, until_ns: int, counts: WorkerCounts) -> None:
        self._one = one
        self._newest = newest
        self._until_ns = until_ns
        self._counts = counts
        self.has_more = False

    def admits(self, event: Record | Quarantined) -> bool:
        """Not the newest itself, as long as it says the same: a question by time begins with it."""
        if self._newest is None or not isinstance(event, Record) or not _is_double(event, self._newest):
            return True
        self._counts.ignored[HISTORY_DOUBLE] += 1
        return False

    def judged(self, record: Record, is_good: bool) -> None:
        channel = self._one.channel
        if record.kind is not channel.repair or record.symbol != self._one.symbol:
            return
        if record.event_time_ns + channel.interval_ns <= self._until_ns and self._is_behind(record):
            self.has_more = True

    def _is_behind(self, record: Record) -> bool:
        newest = self._newest
        if newest is None:
            return True
        if _has_ids(self._one.channel) and newest.sequence is not None and record.sequence is not None:
            return record.sequence > newest.sequence
        return record.event_time_ns // NS_PER_MS > time_of(newest) // NS_PER_MS


class Watchdog:
    """Of one stream: it outlives the stream's connections, and what it learned of the instruments with it."""

    def __init__(
        self, subscription: Subscription, feed: Feed, history: History, credentials: Credentials
    ) -> None:
        self._feed = feed
        self._history = history
        self._credentials = credentials
        self._parser = feed.exchange(credentials)
        self._subscription = subscription
        self._watched: dict[tuple[str, str], _Instrument] = {}
        self.carry(subscription)
        self._heard: dict[str, tuple[int, int]] = {}
        """By channel: when its two instruments that were heard last were."""
        self._spoke: dict[str, tuple[int, int]] = {}
        """By channel: the stamp of its newest event, and when a look found it."""
        self._next_look_ns = self._next_ask_ns = 0
        self._asking: asyncio.Task[None] | None = None

    def carry(self, subscription: Subscription) -> None:
        """What is watched from now on; what was watched before goes on at its pace."""
        for name in self._subscription.channels:
            self._feed.counts.silence_normal_until_ns.pop((name, self._subscription), None)
        self._subscription, watched = subscription, self._watched
        symbol_of = self._parser.instruments.symbol
        found = (self._parser.channel(name) for name in subscription.channels)
        channels = [channel for channel in found if channel is not None and channel.stale_after_s]
        self._watched = {
            key: watched.get(key) or _Instrument(symbol_of(symbol), symbol, channel)
            for symbol in subscription.symbols
            for channel in channels
            if (key := (symbol, channel.name))
        }

    def look(self, connection: Connection, now_ns: int) -> None:
        """Now and then: judge who is silent for too long. One question to the history is out at a time. ``now_ns`` is
        of a monotonic clock."""
        if now_ns < self._next_look_ns:
            return
        self._next_look_ns = now_ns + LOOK_NS
        for name, stamp_ns in connection.intake.last_event_ns.items():
            if stamp_ns != self._spoke.get(name, (0, 0))[0]:
                self._spoke[name] = stamp_ns, now_ns
        is_asking = self._asking is not None and not self._asking.done()
        suspects = list(self._suspects(connection, now_ns))
        self._tell(now_ns)
        for one in filter(self._can_ask, suspects):
            if not is_asking and now_ns >= self._next_ask_ns:
                self._next_ask_ns = now_ns + ASK_NS
                self._asking, is_asking = connection.in_background(self._ask(connection, one)), True
        for one in suspects:
            # if all is silent, what the history says of another is worth waiting for
            if not self._can_ask(one) and (not is_asking or self._are_others_heard(connection, one, now_ns)):
                self._judge(connection, one, None, now_ns)

    def _suspects(self, connection: Connection, now_ns: int) -> Iterator[_Instrument]:
        from_ns = connection.silent_from_ns
        self._heard.clear()
        for one in self._watched.values():
            name = one.channel.name
            is_refused = connection.refused & {(name, ""), (name, one.venue_symbol)}
            if is_refused or self._feed.has_expired(one.venue_symbol):
                continue
            sign, before = self._sign(one), one.sign
            if sign is not before:
                one.sign = sign
                one.pace.hear(now_ns, from_ns)
                one.normal_until_ns = now_ns + one.pace.allowed_ns
            self._note(one)
            if one.pace.silent_ns(now_ns, from_ns) > one.pace.allowed_ns:
                yield one

    def _tell(self, now_ns: int) -> None:
        """The monitor, which knows no instruments: until when a channel's silence is normal for each of them."""
        untils: dict[str, list[int]] = {}
        for one in self._watched.values():
            if one.normal_until_ns:
                untils.setdefault(one.channel.name, []).append(one.normal_until_ns)
        ahead_ns = time.time_ns() - now_ns
        for name, found in untils.items():
            self._feed.counts.silence_normal_until_ns[name, self._subscription] = min(found) + ahead_ns

    def _note(self, one: _Instrument) -> None:
        heard_ns, (newest, second) = one.pace.heard_ns, self._heard.get(one.channel.name, (0, 0))
        self._heard[one.channel.name] = max(newest, heard_ns), max(second, min(newest, heard_ns))

    def _sign(self, one: _Instrument) -> object:
        """Another than before: something came."""
        return self._spoke.get(one.channel.name) if is_many(one.venue_symbol) else self._newest(one)

    def _newest(self, one: _Instrument) -> Record | None:
        return self._feed.continuity.newest(one.symbol, one.channel.name)

    def _can_ask(self, one: _Instrument) -> bool:
        return one.channel.repair in self._parser.history and not is_many(one.venue_symbol)

    async def _ask(self, connection: Connection, one: _Instrument) -> None:
        newest, until_ns = self._newest(one), time.time_ns() - HISTORY_LAG_NS
        found = _Found(one, newest, until_ns, self._feed.counts)
        silent_ns = time.monotonic_ns() - connection.silent_from_ns
        try:
            await self._read(self._questions(one, time.time_ns() - silent_ns, until_ns), found)
        except VenueError as error:
            _log.warning("%s: whether %s is quiet cannot be asked: %s", connection.url, one, error)
            has_more = None
        else:
            has_more = found.has_more
        if self._newest(one) is newest:  # it has not spoken meanwhile
            self._judge(connection, one, has_more, time.monotonic_ns())

    async def _read(self, questions: Iterator[Request], found: _Found) -> None:
        """The answers go the way of a repair's: what was missed is published."""
        parser = self._feed.exchange(self._credentials)
        intake = open_intake(
            self._feed.beside(), parser, connection_id(time.time_ns()), "", Source.REPAIR, observer=found
        )
        for request in questions:
            async for answer in self._history.pages(request, ASK_PAGES_MAX):
                intake.take(answer.payload, answer.receive_time_ns, answer.endpoint)
                if found.has_more or not request.end_ns:  # one for ids is a page by itself
                    break

    def _questions(self, one: _Instrument, from_ns: int, until_ns: int) -> Iterator[Request]:
        """For the id after the newest, else for the time since it came, or since ``from_ns``."""
        newest, kind = self._newest(one), one.channel.repair
        assert kind is not None
        if newest is not None and newest.sequence is not None and _has_ids(one.channel):
            number = newest.sequence + 1
            yield from self._parser.id_requests(kind, one.venue_symbol, number, number)
            return
        start_ns = from_ns if newest is None else time_of(newest)
        end_ns = max(until_ns, start_ns + NS_PER_MS)
        yield from self._parser.history_requests(
            kind, one.venue_symbol, start_ns, end_ns, channel=one.channel.name
        )

    def _judge(self, connection: Connection, one: _Instrument, has_more: bool | None, now_ns: int) -> None:
        """``has_more``: what the history says, ``None`` = nothing."""
        from_ns = connection.silent_from_ns
        silent_ns = one.pace.silent_ns(now_ns, from_ns)
        are_others_heard = self._are_others_heard(connection, one, now_ns)
        one.pace.judge(now_ns, from_ns)
        verdict = {True: "lost", False: "quiet", None: "unknown"}[has_more]
        self._feed.counts.silences[verdict] += 1
        said = f"{one}: silent for {silent_ns / NS_PER_S:.0f} s"
        if has_more is False:
            one.normal_until_ns = now_ns + one.pace.allowed_ns
            _log.info("%s: %s, and the venue's history has nothing newer", connection.url, said)
            return
        said += ", and the venue's history has more" if has_more else ", and no history tells why"
        _log.warning("%s: %s", connection.url, said)
        if is_many(one.venue_symbol) and one.pace.heard_ns:
            connection.close("stale", said, is_own=False)
            return
        if has_more and not are_others_heard:
            connection.close("stale", f"{said}; nothing else is heard", is_own=False)
            return
        if has_more or one.pace.heard_ns:
            self._feed.lost(
                GapKind.STALE,
                f"stale: {said}",
                [one.venue_symbol],
                self._subscription.socket,
                [one.channel.name],
            )
        elif are_others_heard:
            return
        self._renew(connection, one, said)

    def _are_others_heard(self, connection: Connection, one: _Instrument, now_ns: int) -> bool:
        """On this socket, in the later half of its silence. Streamed: an answer to a request is no sign of life."""
        since_ns = now_ns - one.pace.silent_ns(now_ns, connection.silent_from_ns) // 2
        mine = one.channel.name
        others = [self._spoke.get(name, (0, 0))[1] for name in self._subscription.channels if name != mine]
        newest, second = self._heard.get(mine, (0, 0))
        others.append(second if one.pace.heard_ns == newest else newest)
        return max(others) > since_ns

    def _renew(self, connection: Connection, one: _Instrument, why: str) -> None:
        alone = Subscription((one.venue_symbol,), (one.channel.name,), self._subscription.socket)
        if one.renewed_on != connection.intake.connection_id:
            one.renewed_on = connection.intake.connection_id
            if connection.renew(alone):
                return
        connection.retire(why, can_stay=True)


def _has_ids(channel: Channel) -> bool:
    return channel.rule is SequenceRule.CONTIGUOUS


def _is_double(event: Record, newest: Record) -> bool:
    return (
        type(event) is type(newest)
        and (event.symbol, event.record_key) == (newest.symbol, newest.record_key)
        and _content(event) == _content(newest)
    )


def _content(record: Record) -> tuple[Any, ...]:
    """What it says, whoever brought it: the fields that its kind has of its own."""
    return msgspec.structs.astuple(record)[len(Record.__struct_fields__) :]
