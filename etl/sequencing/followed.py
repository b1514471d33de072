"""What one feed's continuity follows, by (symbol, channel). Pure, bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from etl.adapter.contract import Channel, Exchange
from etl.model.records import Gap, GapKind
from etl.sequencing.awaited import Awaited
from etl.sequencing.broken_books import BrokenBooks
from etl.sequencing.gap import over
from etl.sequencing.standing import Standing
from etl.sequencing.track import Track

TRACKS_MAX = 100_000
"""(symbol, channel) pairs that are followed; beyond, the one first seen is forgotten."""

Key = tuple[str, str]


class Followed:
    """A channel is awaited until its first record, and has a track from then on."""

    __slots__ = ("awaited", "broken_books", "pending", "tracks")

    def __init__(self) -> None:
        self.tracks: dict[Key, Track] = {}
        self.pending: dict[Key, Track] = {}
        """Tracks with a break that is not declared yet."""
        self.awaited: dict[Key, Awaited] = {}
        self.broken_books = BrokenBooks()

    def follow(self, key: Key, track: Track) -> None:
        if len(self.tracks) >= TRACKS_MAX:
            oldest = next(iter(self.tracks))
            del self.tracks[oldest]
            self.pending.pop(oldest, None)
        self.tracks[key] = track
        self.awaited.pop(key, None)

    def start_pending(self, track: Track) -> None:
        self.pending[track.newest.symbol, track.newest.channel] = track

    def enlist(
        self,
        exchange: type[Exchange],
        name: tuple[str, str],
        channels: Iterable[Channel],
        opens_ns: int,
        now_ns: int,
    ) -> Sequence[Gap]:
        gaps: list[Gap] = []
        for channel in channels:
            key = (name[0], channel.name)
            if key in self.tracks or key in self.awaited:
                continue
            is_whole, can_ask = opens_ns >= now_ns, 0 < opens_ns < now_ns and channel.repair is not None
            since_ns = opens_ns if can_ask else now_ns
            awaited = Awaited(name[1], channel, since_ns, has_past=is_whole or can_ask)
            self.awaited[key] = awaited
            if can_ask:
                reason = "open before it was subscribed to"
                gaps.append(awaited.lose(exchange, *key, GapKind.START, reason, now_ns))
        return gaps

    def dismiss(self, symbol: str, channels: Iterable[Channel], now_ns: int) -> Sequence[Gap]:
        gaps: list[Gap] = []
        left: list[Gap | None] = []
        for channel in channels:
            key = (symbol, channel.name)
            self.pending.pop(key, None)
            if track := self.tracks.pop(key, None):
                gaps += track.decide()
                left += track.standing().gaps
            if awaited := self.awaited.pop(key, None):
                left.append(awaited.gap)
            left.append(self.broken_books.gaps.pop((symbol, channel.family), None))
        return [*gaps, *(over(gap, now_ns) for gap in left if gap and not gap.to_time_ns)]

    def names(self) -> dict[str, str]:
        """Symbol → venue symbol of all that is followed."""
        awaited = {symbol: each.venue_symbol for (symbol, _), each in self.awaited.items()}
        return awaited | {symbol: track.newest.venue_symbol for (symbol, _), track in self.tracks.items()}

    def standings(self) -> dict[Key, Standing]:
        found = {key: track.standing() for key, track in self.tracks.items()}
        awaited = (each.gap for each in self.awaited.values() if each.gap)
        for gap in (*awaited, *self.broken_books.gaps.values()):
            before = found.get((gap.symbol, gap.channel), Standing())
            found[gap.symbol, gap.channel] = Standing(before.newest, before.last, (*before.gaps, gap))
        return found
