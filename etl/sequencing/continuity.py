"""What is missing: follows each (symbol, channel) of one feed and declares its holes as ``Gap`` records. Pure.

Theory of operation. One ``Continuity`` outlives all connections of a feed. Each (symbol, channel) has a track, and how
a track proves that nothing is missing, the venue file says by the channel's ``SequenceRule``:

    rule            a record follows when          track        a break gives
    ──────────────  ─────────────────────────────  ───────────  ──────────────────────────────────────────────
    CONTIGUOUS      sequence == last + 1           Contiguous   the exact ids
    RANGE           first_sequence == last + 1     Counted      the exact ids
    BACK_POINTER    previous_sequence == last      Counted      the exact ids
    INTERVAL        a closed bar, one length on    Counted      the times of the bars around it
    RISING, NONE    never provable                 Timed        nothing: only a lost connection gives a gap in time

Bars of no fixed length are as NONE. A book can be wrong though its ids go on: of a checksum that does not hold comes a
gap that only the next snapshot ends.

Records pass through untouched, doubles and late ones too: stores are idempotent and consumers order by id. Only the
*verdict* waits. What a record does to a counted track, by its ids:

    its ids                          then
    ───────────────────────────────  ─────────────────────────────────────────────────────────────────────────
    go on from the last              the chain goes on, over what waited beyond
    lie beyond a hole                the hole waits (``Window``) for latecomers; then it is a gap: SEQUENCE, or
                                     of the kind of the loss before it. A lone id far out is dropped instead
    are older, and so is its time    a double or a latecomer: it fills a declared gap, else nothing
    are older, its time is not       after ``RESET_MESSAGES`` of those the venue counts anew: RESET
    are older, and point at the last the venue counts anew: RESET; so with a snapshot of a later time

The loss of a connection is declared at once, as a gap that is open to the right: an outage may have no end. What
comes next completes it under the same identity, or tells that nothing was missing; without ids, what comes within the
next second (``timed``). A gap is closed by its ids, be it by a latecomer or a repair, not by anybody's word.

    spans      the ids that a record covers, by rule        track      what all tracks answer to
    ahead      what lies beyond a hole, and the verdict     timed      tracks without ids
    holes      what declared gaps still miss                counted    tracks with ids
    restart    ids that go back                             awaited    channels that have not given a record yet
    gap        a gap and its later states                   broken_books   books whose checksum did not hold
    followed   the tracks of a feed, and their bounds
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from etl.adapter.carried import ALL, Carried, is_all, is_many
from etl.adapter.contract import Channel, Exchange, SequenceRule
from etl.model.codes import REPLAYED
from etl.model.records import Gap, GapKind, GapState, Record
from etl.sequencing.ahead import Window
from etl.sequencing.awaited import Awaited
from etl.sequencing.broken_books import OF_BROKEN_BOOKS
from etl.sequencing.counted import Contiguous, Counted
from etl.sequencing.followed import TRACKS_MAX, Followed, Key
from etl.sequencing.gap import NO_EVENT_BEFORE, settled
from etl.sequencing.spans import Span, SpanReader, bar_length_ns, is_snapshot, last_before, span_reader
from etl.sequencing.standing import Standing
from etl.sequencing.timed import Timed
from etl.sequencing.track import FOLLOWED, NO_GAPS, Track


class Continuity:
    """One feed's continuity. ``declares_start``: the first record of a channel tells that before it nothing is
    covered."""

    def __init__(
        self,
        exchange: type[Exchange],
        declares_start: bool = True,
        window: Window | None = None,
    ) -> None:
        self._exchange = exchange
        self._declares_start = declares_start
        self._window = window or Window()
        self.followed = Followed()
        self._track_of = self.followed.tracks.get

    def expect(
        self, names: Iterable[tuple[str, str]], channels: Iterable[str], now_ns: int, has_past: bool = False
    ) -> None:
        """The ``channels`` of these (symbol, venue symbol) are subscribed: their loss is declared even before their
        first record. Those that are silent by nature and have a history are left out: their gap might never end.
        Of a subscription to all symbols, the loss of those that have given no record yet is one gap, of symbol ``*``.
        ``has_past``: records before that are published, and not known."""
        declared = self._declared(channels)
        for symbol, venue_symbol in names:
            for channel in declared:
                key = (ALL if is_all(venue_symbol) else symbol, channel.name)
                if not (channel.stale_after_s or _is_quiet(channel)):
                    continue
                if key not in self.followed.tracks and len(self.followed.awaited) < TRACKS_MAX:
                    self.followed.awaited.setdefault(
                        key, Awaited(venue_symbol, channel, now_ns, has_past=has_past)
                    )

    def enlist(
        self, name: tuple[str, str], channels: Iterable[str], opens_ns: int, now_ns: int
    ) -> Sequence[Gap]:
        """A contract, by symbol and venue symbol, is subscribed to until ``dismiss``. Each of its channels is awaited,
        whatever its nature, since an end will come. Where it was open before (``opens_ns``, 0 = not known), what a
        history has of that is a gap until its first record; where it was not, that record is no start."""
        return self.followed.enlist(self._exchange, name, self._declared(channels), opens_ns, now_ns)

    def dismiss(self, symbol: str, channels: Iterable[str], now_ns: int) -> Sequence[Gap]:
        """A contract is over: these channels of it are forgotten, and what is missing of them ends by our clock."""
        return self.followed.dismiss(symbol, self._declared(channels), now_ns)

    def names(self) -> Mapping[str, str]:
        """Symbol → venue symbol of all that is followed."""
        return self.followed.names()

    def _declared(self, names: Iterable[str]) -> list[Channel]:
        return [channel for name in names if (channel := self._exchange.channel(name))]

    def observe(self, record: Record) -> Sequence[Gap]:
        """The gaps that ``record`` reveals or closes; to be published before it.

        A record of a repair (or a backfill) moves nothing; with the last id that a gap misses it closes that gap. One
        that the venue repeats on subscribing (flag ``REPLAYED``) goes on or fills, and opens nothing.
        """
        key = (record.symbol, record.channel)
        track = self._track_of(key)
        if record.source not in FOLLOWED:
            return NO_GAPS if track is None else track.fill(record)
        if self.followed.broken_books.gaps and is_snapshot(record):
            return self._renew_book(key, record)
        return self._begin(key, record) if track is None else track.observe(record)

    def quarantined(self, record: Record) -> Sequence[Gap]:
        """``record`` is kept out of the stores: its id came, its content is missing."""
        track = self._track_of((record.symbol, record.channel))
        if track is None or record.source not in FOLLOWED or REPLAYED in record.flags:
            return NO_GAPS
        return track.quarantine(record)

    def lost(
        self,
        kind: GapKind,
        reason: str,
        now_ns: int,
        venue_symbols: Collection[str] | None = None,
        channels: Collection[str] | None = None,
        socket: str | None = None,
    ) -> Sequence[Gap]:
        """A connection ended without another that covers it, or (``OVERFLOW``, ``STALE``) stopped giving, or one of its
        numbers (``SEQUENCE``) is missing.

        Undecided breaks are declared, and each channel gets a gap that is open to the right; the next record closes
        it. A suspicion (``QUARANTINE``: the stream goes on) opens none where ids will tell. A book that is wrong
        (``CHECKSUM``, ``JOIN``) stays so until its next snapshot, whatever its ids tell. ``venue_symbols`` (a channel
        that is ``market_wide`` gives all of them), ``channels`` and ``socket`` (of a venue with several: a connection
        carries what was not subscribed by name too) say whose it was, ``None`` = any.
        """
        is_lost = _carried(venue_symbols, channels, socket)
        gaps: list[Gap] = []
        for (symbol, name), awaited in self.followed.awaited.items():
            is_told = awaited.gap is not None or kind is GapKind.QUARANTINE
            if not is_told and is_lost(awaited.venue_symbol, name, awaited.channel):
                if is_many(symbol):
                    awaited.hear(_newest_ns(self.followed.tracks, name), now_ns)
                gaps.append(awaited.lose(self._exchange, symbol, name, kind, reason, now_ns))
        for (_, name), track in self.followed.tracks.items():
            if not is_lost(track.newest.venue_symbol, name, track.channel):
                continue
            gaps += track.decide()
            if kind in OF_BROKEN_BOOKS:
                gaps += self.followed.broken_books.lose(track.newest, track.channel, kind, reason, now_ns)
            else:
                gaps += track.lose(kind, reason, now_ns)
        return gaps

    def resumed(
        self, now_ns: int, venue_symbols: Collection[str] | None = None, socket: str | None = None
    ) -> Sequence[Gap]:
        """A connection is subscribed again. The next event of a channel that is silent by nature may be days away, and
        no repair waits for it: what it lost ends here, by our clock. So does what is lost of all symbols together, of
        which no record tells the end."""
        is_carried = _carried(venue_symbols, None, socket)
        gaps: list[Gap] = []
        for (symbol, name), awaited in self.followed.awaited.items():
            ends_here = awaited.gap is not None and (is_many(symbol) or _is_quiet(awaited.channel))
            if ends_here and is_carried(awaited.venue_symbol, name, awaited.channel):
                gaps.append(awaited.resume(now_ns))
        for (_, name), track in self.followed.tracks.items():
            if _is_quiet(track.channel) and is_carried(track.newest.venue_symbol, name, track.channel):
                gaps += track.resume(now_ns)
        return gaps

    def overdue(self, now_ns: int) -> Sequence[Gap]:
        """Breaks that have waited long enough; to be called about once a second."""
        gaps: list[Gap] = []
        for key, track in list(self.followed.pending.items()):
            gaps += track.overdue(now_ns)
            if not track.is_pending:
                del self.followed.pending[key]
        return gaps

    def decide(self) -> Sequence[Gap]:
        """Declare every undecided break: no more records will come."""
        gaps = [gap for track in self.followed.pending.values() for gap in track.decide()]
        self.followed.pending.clear()
        return gaps

    def newest(self, symbol: str, channel: str) -> Record | None:
        """The record (or gap) up to which all of a channel is there or declared, ``None`` before its first."""
        track = self._track_of((symbol, channel))
        return None if track is None else track.newest

    def missing(self, gap: Gap) -> Sequence[Span]:
        """What of ``gap`` has not come since it was declared: first and last ids (of bars: numbers since 1970)."""
        track = self._track_of((gap.symbol, gap.channel))
        return () if track is None else track.missing(gap)

    def settle(self, gap: Gap, state: GapState, now_ns: int, reason: str) -> Gap:
        """The end of a gap that no record will close: its next state, to be published."""
        track = self._track_of((gap.symbol, gap.channel))
        if track is not None:
            track.forget(gap)
        return settled(gap, state, now_ns, reason)

    def remember(self, record: Record) -> None:
        """Take a published record or gap from the topic's tail, in its order. Of each (symbol, channel) more records
        than its window waits for (``REORDER_MESSAGES``) are enough.

        After the tail ``lost(GapKind.DISCONNECT, …)`` declares what the tail shows and does not declare, and what
        no process saw.
        """
        if record.source not in FOLLOWED:
            return
        key = (record.symbol, record.channel)
        track = self._track_of(key)
        if isinstance(record, Gap) and record.sequence is None:
            self._remember_gap(key, track, record)
        elif track is None:
            self._begin(key, record)
        else:
            track.remember(record)

    def standings(self) -> dict[Key, Standing]:
        """Where each (symbol, channel) stands, for ``restore`` in a later process."""
        return self.followed.standings()

    def restore(self, key: Key, standing: Standing) -> None:
        """As after all the records and gaps that led there. What is followed already stands nearer."""
        channel, newest = self._exchange.channel(key[1]), standing.newest
        if channel is None or key in self.followed.tracks:
            return
        if newest is not None:
            bar_ns = bar_length_ns(channel, newest)
            if track := self._track(newest, channel, span_reader(channel, bar_ns), bar_ns, standing.last):
                self.followed.follow(key, track)
        for gap in standing.gaps:
            self._remember_gap(key, self._track_of(key), gap)

    def _remember_gap(self, key: Key, track: Track | None, gap: Gap) -> None:
        channel = self._exchange.channel(gap.channel)
        if channel is None:
            return
        if gap.gap_kind in OF_BROKEN_BOOKS and NO_EVENT_BEFORE not in gap.flags:
            self.followed.broken_books.remember(gap, channel)
            return
        if track is not None:
            track.remember_gap(gap)
            return
        awaited = self.followed.awaited.get(key)
        if awaited is None or awaited.gap is None:
            # one with an end may be a later state of an old gap and does not say where the channel stands
            if not gap.to_time_ns:
                self.followed.awaited[key] = Awaited(gap.venue_symbol, channel, gap.event_time_ns, gap)
        elif awaited.gap.record_key == gap.record_key and NO_EVENT_BEFORE not in gap.flags:
            awaited.gap = gap

    def _renew_book(self, key: Key, snapshot: Record) -> Sequence[Gap]:
        track, channel = self._track_of(key), self._exchange.channel(snapshot.channel)
        gaps = self.followed.broken_books.renew(snapshot, channel) if channel else NO_GAPS
        return [*gaps, *(self._begin(key, snapshot) if track is None else track.observe(snapshot))]

    def _begin(self, key: Key, record: Record) -> Sequence[Gap]:
        channel = self._exchange.channel(record.channel)
        if channel is None or REPLAYED in record.flags:
            return NO_GAPS
        bar_ns = bar_length_ns(channel, record)
        reader = span_reader(channel, bar_ns)
        awaited = self.followed.awaited.get(key)
        gap = awaited.gap if awaited else None
        if gap is not None and NO_EVENT_BEFORE not in gap.flags:
            before = self._track(gap, channel, reader, bar_ns, last_before(gap, bar_ns))
            if before is not None:
                self.followed.follow(key, before)
                before.remember_gap(gap)
                return before.observe(record)
        span = reader(record) if reader else None
        track = self._track(record, channel, reader, bar_ns, span and span[1])
        if track is None:
            return NO_GAPS
        self.followed.follow(key, track)
        of_all = self.followed.awaited.get((ALL, record.channel))
        has_past = any(each is not None and each.has_past for each in (awaited, of_all))
        gaps = [track.start_gap()] if self._declares_start and not has_past else []
        if awaited is not None and gap is not None:
            gaps += track.begin_within(awaited.bounded(gap, record))
        return gaps

    def _track(
        self, newest: Record, channel: Channel, reader: SpanReader | None, bar_ns: int, last: int | None
    ) -> Track | None:
        """``None`` where ids prove completeness, and ``last``, the one to go on from, is not known."""
        if reader is None or last is None:
            return Timed(newest, channel, self.followed.start_pending) if reader is None else None
        kind = Contiguous if channel.rule is SequenceRule.CONTIGUOUS else Counted
        return kind(newest, channel, last, reader, bar_ns, self._window, self.followed.start_pending)


def _newest_ns(tracks: Mapping[Key, Track], channel: str) -> int:
    """The time of a channel's newest event, of whatever symbol."""
    newest = (track.newest.event_time_ns for (_, name), track in tracks.items() if name == channel)
    return max(newest, default=0)


def _carried(
    venue_symbols: Collection[str] | None, channels: Collection[str] | None, socket: str | None
) -> Callable[[str, str, Channel], bool]:
    """Whether a connection carries a venue symbol's channel, by its name; ``None`` = any."""
    symbols = None if venue_symbols is None else Carried(venue_symbols)

    def is_carried(venue_symbol: str, name: str, channel: Channel) -> bool:
        return (
            (symbols is None or channel.market_wide or venue_symbol in symbols)
            and (channels is None or name in channels)
            and (socket is None or channel.socket == socket)
        )

    return is_carried


def _is_quiet(channel: Channel) -> bool:
    """Whether silence is normal and nothing could fill it afterwards."""
    return not channel.stale_after_s and channel.repair is None
