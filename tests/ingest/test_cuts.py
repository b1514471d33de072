"""A venue's stream, cut into connections at any places, with or without frames lost there, and out of order: the same
trades, quotes and bars, and books that are right at every step and equal again from their next snapshot.

The stream is a simulated session's; its books are read off the simulator's own market.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from etl.exchanges import load
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.model.records import Book, BookAction, Frame, Gap, GapKind, GapState, Kind, Record
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.book import Level, rebuild
from etl.settings import make
from etl.simulator.history import History
from etl.simulator.market import Listing
from etl.simulator.session import Item, SyntheticSession
from etl.simulator.venue import CHANGE, Venue
from etl.simulator.venues import make_venue
from etl.simulator.venues.binance import Binance
from etl.simulator.venues.binance_usdm import BinanceUsdm
from etl.transports.memory import MemoryPublisher
from etl.wire import codec

MS = 1_000_000
T0 = 1_795_242_238_500_000_000
"""1.5 s before a whole minute, so that bars close."""
TICK_NS = 10 * MS
TICKS = 300
RATE = 150.0
SNAPSHOT_TICKS = 40
"""A snapshot of each book, for the asking."""
LOST_MAX = 12
URL = "ws://venue/stream"
STREAMS = {
    "binance": ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth", "ethusdt@depth", "btcusdt@kline_1m"),
    "polygon": ("T.AAPL", "Q.AAPL", "T.MSFT", "Q.MSFT", "A.AAPL", "AM.AAPL"),
    "alpaca": ("trades.AAPL", "quotes.AAPL", "trades.MSFT", "quotes.MSFT", "bars.AAPL"),
}
STREAMS["binance_usdm"] = (*STREAMS["binance"], "btcusdt@markPrice@1s", "btcusdt@forceOrder")
VENUES = sorted(STREAMS)
BOOK_VENUES = ("binance", "binance_usdm")
CUTS = st.dictionaries(st.integers(1, 400), st.integers(0, LOST_MAX), max_size=6)
"""Frame before which the connection ends → how many frames nobody hears then."""

Levels = tuple[Sequence[Level], Sequence[Level]]
Identity = tuple[str, Kind, str]


class Sent(Struct, frozen=True):
    """A frame of the stream (``endpoint`` empty) or the answer to a request."""

    time_ns: int
    payload: bytes
    endpoint: str = ""


class Stream(Struct, frozen=True):
    """What a venue sent, and its books at each of their changes, by symbol and update."""

    sent: list[Sent]
    books: dict[tuple[str, int], Levels]


class Watched(Venue):
    """Notes each book after each of its changes."""

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self.books: dict[tuple[str, int], Levels] = {}

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        items = super().draw(listing, channel, time_ns, streams, history)
        if self.channels[channel].draws == CHANGE:
            self.note(listing, listing.instrument.symbol)
        return items

    def note(self, listing: Listing, symbol: str) -> None:
        instrument = listing.instrument
        bids, asks = (
            [
                (self.write(price, instrument.price_digits), self.write(lots, instrument.size_digits))
                for price, lots in levels
            ]
            for levels in (sorted(listing.bids.items(), reverse=True), sorted(listing.asks.items()))
        )
        self.books[symbol, listing.last_update] = bids, asks


class WatchedBinance(Watched, Binance):
    pass


class WatchedBinanceUsdm(Watched, BinanceUsdm):
    pass


WATCHED = {"binance": WatchedBinance, "binance_usdm": WatchedBinanceUsdm}


@cache
def stream_of(exchange: str) -> Stream:
    venue: Venue = WATCHED[exchange](exchange) if exchange in WATCHED else make_venue(exchange)
    session = SyntheticSession(venue, RATE, seed=7)
    for name in STREAMS[exchange]:
        session.subscribe(name)
    sent, generator = [], random.Random(3)
    for tick in range(1, TICKS + 1):
        now_ns = T0 + tick * TICK_NS
        items = session.due(now_ns)
        while items:
            count = 1 + generator.randrange(venue.events_per_frame_max)
            sent.append(Sent(now_ns, venue.join(items[:count])))
            items = items[count:]
        if isinstance(venue, Watched) and tick % SNAPSHOT_TICKS == 1:
            sent += [_snapshot(venue, session, symbol, now_ns) for symbol in ("BTCUSDT", "ETHUSDT")]
    return Stream(sent, venue.books if isinstance(venue, Watched) else {})


def _snapshot(venue: Watched, session: SyntheticSession, symbol: str, now_ns: int) -> Sent:
    path = "/fapi/v1/depth" if isinstance(venue, BinanceUsdm) else "/api/v3/depth"
    answer = venue.answer(path, {"symbol": symbol, "limit": "1000"}, session, now_ns)
    assert answer is not None
    venue.note(session.listing(symbol), symbol)
    return Sent(now_ns, answer.body, f"http://venue{path}?symbol={symbol}&limit=1000")


@cache
def events_of(exchange: str) -> list[Record]:
    """All that the venue's own parser makes of the stream."""
    parser = load(exchange)()
    frames = (
        Frame(exchange, "c", number, sent.endpoint or URL, sent.time_ns, sent.payload)
        for number, sent in enumerate(stream_of(exchange).sent, 1)
    )
    return [outcome for frame in frames for outcome in parser.parse(frame) if isinstance(outcome, Record)]


class Taken(Struct):
    """What a worker made of it, in the order of the topic; of each record, the frame it came in."""

    records: list[Record]
    frames: dict[Identity, set[int]]
    lost: set[int]
    """Numbers of the frames that nobody heard."""

    @property
    def events(self) -> list[Record]:
        return [record for record in self.records if not isinstance(record, Gap)]

    @property
    def identities(self) -> set[Identity]:
        return {identity(record) for record in self.events}

    @property
    def declared(self) -> list[Gap]:
        """The last state of each gap."""
        gaps = (record for record in self.records if isinstance(record, Gap))
        return list({(gap.symbol, gap.record_key): gap for gap in gaps}.values())

    @property
    def gaps(self) -> list[Gap]:
        return [gap for gap in self.declared if gap.gap_kind is not GapKind.START]


def identity(record: Record) -> Identity:
    return record.symbol, record.kind, record.record_key


def take(exchange: str, sent: Iterable[Sent], cuts: Mapping[int, int]) -> Taken:
    """``sent`` on as many connections as ``cuts`` make."""
    publisher = MemoryPublisher()
    own = make(book_hole_messages_max=0)
    feed = Feed(own, load(exchange), publisher)
    names = {(record.symbol, record.venue_symbol) for record in events_of(exchange)}
    feed.continuity.expect(names, [channel.name for channel in feed.exchange.channels], T0)
    deaf = 0
    intake = open_intake(feed, feed.exchange(), "c0", URL)
    frames: dict[Identity, set[int]] = {}
    lost = set()
    for number, frame in enumerate(sent, 1):
        if number in cuts:
            feed.lost(GapKind.DISCONNECT, "cut")
            intake = open_intake(feed, feed.exchange(), f"c{number}", URL)
            deaf = cuts[number]
        if deaf:
            deaf -= 1
            lost.add(number)
            continue
        feed.publish_gaps(feed.continuity.resumed(frame.time_ns))
        if frame.endpoint:
            intake.take(frame.payload, frame.time_ns, frame.endpoint)
        else:
            intake.take_read([frame.payload], frame.time_ns)
    feed.publish_gaps(feed.continuity.decide())
    publisher.poll()
    records = [codec.decode(message.value) for message in publisher.delivered[own.topics.normalized]]
    if not cuts:
        for record in records:
            frames.setdefault(identity(record), set()).add(record.frame_sequence)
    return Taken(records, frames, lost)


@cache
def whole(exchange: str) -> Taken:
    return take(exchange, stream_of(exchange).sent, {})


def plain(record: Record) -> Record:
    """Without what differs from one connection to the other."""
    return msgspec.structs.replace(
        record, connection_id="", frame_sequence=0, frame_index=0, receive_time_ns=0, flags=()
    )


def steps_of(exchange: str, records: Iterable[Record]) -> list[tuple[str, int]]:
    """(symbol, update) of each step of the rebuilt books; each is compared with the simulator's."""
    books = stream_of(exchange).books
    steps = []
    for step in rebuild(records):
        place = (step.record.venue_symbol, step.record.sequence or 0)
        assert (step.levels.bids(), step.levels.asks()) == books[place], place
        steps.append(place)
    return steps


@pytest.mark.parametrize("exchange", VENUES)
@settings(max_examples=15, deadline=None)
@given(cuts=st.sets(st.integers(1, 400), max_size=8))
def test_any_cut_into_connections_gives_the_same_records_and_leaves_no_hole(
    exchange: str, cuts: set[int]
) -> None:
    cut = take(exchange, stream_of(exchange).sent, dict.fromkeys(cuts, 0))
    assert len(whole(exchange).events) > 300
    assert Counter(map(plain, cut.events)) == Counter(map(plain, whole(exchange).events))
    by_id = [gap for gap in cut.gaps if gap.from_sequence is not None and gap.to_sequence is not None]
    assert all(
        gap.gap_state is GapState.REPAIRED
        for gap in by_id
        if gap.channel.partition("@")[0] in ("trade", "depth")
    )
    assert steps_of(exchange, cut.records) == steps_of(exchange, whole(exchange).records)


@pytest.mark.parametrize("exchange", VENUES)
@settings(max_examples=15, deadline=None)
@given(cuts=CUTS)
@example(cuts={1: 7, 152: 12})
def test_what_is_lost_at_a_cut_is_all_that_is_missing_and_lies_in_a_gap(
    exchange: str, cuts: dict[int, int]
) -> None:
    cut = take(exchange, stream_of(exchange).sent, cuts)
    came = {key for key, frames in whole(exchange).frames.items() if frames - cut.lost}
    assert cut.identities == {key for key in came if key[1] is not Kind.GAP}
    missing = [record for record in whole(exchange).events if identity(record) not in came]
    undeclared = [
        r for r in missing if not is_snapshot(r) and not any(covers(gap, r) for gap in cut.declared)
    ]
    assert undeclared == []
    if exchange in BOOK_VENUES:
        steps = steps_of(exchange, cut.records)
        assert set(steps) >= steps_after(exchange, max((*cuts, *cut.lost), default=0))


def covers(gap: Gap, record: Record) -> bool:
    """By ids where both have them, else by times."""
    is_other = (gap.symbol, gap.channel) != (record.symbol, record.channel)
    if is_other or gap.gap_state is GapState.REPAIRED:
        return False
    if gap.from_sequence is not None and record.sequence is not None:
        return gap.from_sequence <= record.sequence <= (gap.to_sequence or record.sequence)
    time_ns = record.event_time_ns or record.receive_time_ns
    return gap.from_time_ns <= time_ns and (not gap.to_time_ns or time_ns <= gap.to_time_ns)


def is_snapshot(record: Record) -> bool:
    return isinstance(record, Book) and record.book_action is BookAction.SNAPSHOT


def steps_after(exchange: str, frame: int) -> set[tuple[str, int]]:
    """The steps of the whole stream's books from each book's next snapshot after that frame on."""
    from_update: dict[str, int] = {}
    for record in whole(exchange).events:
        if is_snapshot(record) and record.frame_sequence > frame:
            from_update.setdefault(record.venue_symbol, record.sequence or 0)
    steps = steps_of(exchange, whole(exchange).records)
    return {(symbol, update) for symbol, update in steps if update >= from_update.get(symbol, 1 << 62)}


@pytest.mark.parametrize("exchange", VENUES)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), width=st.integers(2, REORDER_MESSAGES - 1))
def test_frames_out_of_order_within_the_window_change_nothing(exchange: str, seed: int, width: int) -> None:
    generator = random.Random(seed)
    sent: list[Sent] = []
    for is_answer, run in groupby(stream_of(exchange).sent, key=lambda frame: bool(frame.endpoint)):
        frames = list(run)
        for start in range(0 if sent else 20, 0 if is_answer else len(frames), width):
            # the first of each channel tells where it begins; a snapshot makes what comes behind it old
            part = [frame.payload for frame in frames[start : start + width]]
            generator.shuffle(part)
            for place, payload in enumerate(part, start):
                frames[place] = msgspec.structs.replace(frames[place], payload=payload)
        sent += frames
    mixed = take(exchange, sent, {})
    assert Counter(map(plain, mixed.events)) == Counter(map(plain, whole(exchange).events))
    assert mixed.gaps == []
    assert set(steps_of(exchange, mixed.records)) == set(steps_of(exchange, whole(exchange).records))
