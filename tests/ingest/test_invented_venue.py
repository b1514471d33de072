"""What the next venues need, from the frame to the topics: by a venue that needs all of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import Fault, FaultKind, Reply, Subscription
from etl.adapter.market_calendar import ALWAYS
from etl.commands.parse import lines
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.streams import Streams
from etl.ingest.subscriptions import subscriptions
from etl.model.codes import REPLAYED
from etl.model.records import Bar, Book, Frame, Gap, GapKind, GapState, Quarantined, Record, Trade
from etl.model.times import NS_PER_S
from etl.settings import make
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.transports.memory import MemoryPublisher
from etl.wire import codec
from tests.support.access import access_at
from tests.support.invented import CHECKSUM_UNTIL_NS, OLD_UNTIL_NS, SYMBOL, Invented, checksum
from tests.support.topics import frames_of_delivered
from tests.support.venue_server import VenueServer, venue_server

OTHER = "CCCBBB"
NOW_NS = 1_790_000_000 * NS_PER_S
SUMMED_NS = CHECKSUM_UNTIL_NS - 60 * NS_PER_S
SETTINGS = make()
PUBLIC = Subscription((SYMBOL, OTHER), ("trades", "book"))
WITHIN_S = 15.0


class Bench:
    """A feed into memory, and one connection of it."""

    def __init__(self, subscription: Subscription | None = PUBLIC) -> None:
        self.publisher = MemoryPublisher()
        self.feed = Feed(SETTINGS, Invented, self.publisher)
        self.intake = self.connection("c1", subscription)

    def connection(self, name: str, subscription: Subscription | None) -> Intake:
        return open_intake(self.feed, Invented(), name, "ws://venue/stream", subscription=subscription)

    def give(self, *messages: dict[str, Any], at_ns: int = NOW_NS) -> list[Reply | Fault]:
        outcomes: list[Reply | Fault] = []
        for message in messages:
            outcomes += self.intake.take_read([msgspec.json.encode(message)], at_ns)
        return outcomes

    def records(self) -> list[Record]:
        self.publisher.poll()
        return [codec.decode(m.value) for m in self.publisher.delivered[SETTINGS.topics.normalized]]

    def gaps(self, kind: GapKind) -> list[Gap]:
        return [record for record in self.records() if isinstance(record, Gap) and record.gap_kind is kind]

    def quarantined(self) -> list[Quarantined]:
        self.publisher.poll()
        topic = self.publisher.delivered[SETTINGS.topics.quarantine]
        return [codec.decode_quarantined(message.value) for message in topic]


def trade(number: int, symbol: str | int = SYMBOL, at_ns: int = NOW_NS, **more: Any) -> dict[str, Any]:
    head = {"op": "trade", "sym": symbol, "id": number, "px": "1.5", "qty": "2"}
    return {**head, "ts": at_ns // 1_000_000, "side": "buy", **more}


def book(
    number: int, symbol: str = SYMBOL, total: int | None = None, at_ns: int = NOW_NS, **more: Any
) -> dict[str, Any]:
    bids = [["1", "2"]]
    right = checksum([("1", "2")], [])
    head = {"op": "book", "sym": symbol, "id": number, "bids": bids, "asks": []}
    return {**head, "ts": at_ns // 1_000_000, "sum": right if total is None else total, **more}


def test_a_break_of_the_connection_s_sequence_is_a_gap_of_all_that_it_carries_told_before_its_record() -> (
    None
):
    bench = Bench()
    start = [trade(1), trade(7, OTHER), book(1, reset=True), book(1, OTHER, reset=True)]
    assert bench.give(*[{**message, "n": n, "sid": "a"} for n, message in enumerate(start, 1)]) == []
    outcomes = bench.give({**trade(2), "n": 6, "sid": "a"})
    reason = "message 6 of a follows 4: 5-5 missing"
    assert outcomes == [Fault(FaultKind.TRANSIENT, "connection_sequence", reason)]
    gaps = bench.gaps(GapKind.SEQUENCE)
    carried = {(symbol, channel) for symbol in ("AAA-BBB", "CCC-BBB") for channel in PUBLIC.channels}
    assert {(gap.symbol, gap.channel) for gap in gaps if gap.gap_state is not GapState.REPAIRED} == carried
    assert {gap.reason for gap in gaps} >= {reason}
    order = [(type(record), record.symbol, record.channel) for record in bench.records()]
    told = order.index((Gap, "CCC-BBB", "trades"), 4)
    assert told < len(order) - 1
    assert order[-1] == (Trade, "AAA-BBB", "trades")
    assert bench.feed.counts.closed


def test_without_a_book_the_connection_goes_on_after_a_break_and_scopes_count_by_themselves() -> None:
    bench = Bench(Subscription((SYMBOL,), ("trades",)))
    numbers = ((1, "a"), (9, "b"), (2, "a"), (10, "b"), (4, "a"))
    outcomes = bench.give(
        *[{**trade(place), "n": n, "sid": sid} for place, (n, sid) in enumerate(numbers, 1)]
    )
    assert outcomes == []
    (declared, ended) = bench.gaps(GapKind.SEQUENCE)
    assert (declared.channel, declared.from_sequence, declared.to_time_ns) == ("trades", 5, 0)
    assert (ended.record_key, ended.gap_state) == (declared.record_key, GapState.REPAIRED)  # its ids go on


def test_what_the_venue_says_has_gone_out_and_never_came_is_a_gap_of_that_channel_which_its_next_id_bounds() -> (
    None
):
    bench = Bench()
    bench.give(trade(1), trade(7, OTHER), {"op": "last", "sym": SYMBOL, "id": 4})
    (declared,) = bench.gaps(GapKind.SEQUENCE)
    assert (declared.symbol, declared.channel, declared.from_sequence, declared.to_time_ns) == (
        "AAA-BBB", "trades", 2, 0,
    )  # fmt: skip
    assert declared.reason == "trade 4 has gone out"
    bench.give(trade(5, at_ns=NOW_NS + NS_PER_S))
    (bounded,) = bench.feed.continuity.decide()
    assert (bounded.record_key, bounded.from_sequence, bounded.to_sequence) == (declared.record_key, 2, 4)


def test_a_break_of_a_scope_that_carries_some_channels_concerns_these_alone() -> None:
    bench = Bench()
    trades, books = {"sid": "a", "of": ["trades"]}, {"sid": "b", "of": ["book"]}
    bench.give({**trade(1), "n": 1, **trades}, {**book(1, reset=True), "n": 1, **books})
    assert bench.give({**trade(3), "n": 3, **trades}) == []  # no book needs a new connection
    assert {gap.channel for gap in bench.gaps(GapKind.SEQUENCE)} == {"trades"}
    (fault,) = bench.give({**book(2), "n": 3, **books})
    assert fault == Fault(FaultKind.TRANSIENT, "connection_sequence", "message 3 of b follows 1: 2-2 missing")
    assert {gap.channel for gap in bench.gaps(GapKind.SEQUENCE)} == {"trades", "book"}


def test_a_checksum_that_does_not_hold_costs_that_symbol_s_book_and_no_other() -> None:
    bench = Bench()
    at: dict[str, Any] = {"at_ns": SUMMED_NS}
    bench.give(book(1, reset=True, **at), book(1, OTHER, reset=True, **at), trade(1, **at), **at)
    assert bench.give(book(2, OTHER, total=5, **at), book(2, **at), **at) == []
    (gap,) = bench.gaps(GapKind.CHECKSUM)
    assert (gap.symbol, gap.channel, gap.to_time_ns) == ("CCC-BBB", "book", 0)
    assert gap.reason == f"checksum 5, ours is {checksum([('1', '2')], [])}"
    assert bench.intake.snapshots_due_ns == {OTHER: SUMMED_NS}
    books = [record.sequence for record in bench.records() if isinstance(record, Book)]
    assert books == [1, 1, 2, 2]  # the record goes out all the same
    bench.give(book(3, OTHER, reset=True, **at), at_ns=SUMMED_NS + NS_PER_S)
    assert [bool(gap.to_time_ns) for gap in bench.gaps(GapKind.CHECKSUM)] == [False, True]
    assert bench.feed.counts.closed


def test_what_is_repeated_on_subscribing_feeds_no_latency_no_lateness_and_opens_no_gap() -> None:
    bench = Bench()
    hour_ago_ns = NOW_NS - 3600 * NS_PER_S
    repeated = [trade(n, at_ns=hour_ago_ns, replay=True) for n in (1, 5, 9)]
    bench.give(*repeated)
    assert bench.intake.last_event_ns == {}
    assert [record.flags for record in bench.records()] == [(REPLAYED,)] * 3
    # the clock has learned nothing of them: what comes now is on time
    bench.give(*[trade(n) for n in range(10, 60)], at_ns=NOW_NS)
    assert bench.intake.last_event_ns == {"trades": NOW_NS}
    bench.give(*repeated)
    assert bench.quarantined() == []
    gaps = [record for record in bench.records() if isinstance(record, Gap)]
    assert [gap.gap_kind for gap in gaps] == [GapKind.START]


def test_what_frames_mean_lies_beside_them_for_a_parser_that_saw_none_before() -> None:
    bench = Bench()
    named = [{"op": "named", "sym": symbol, "number": number} for number, symbol in ((7, SYMBOL), (8, OTHER))]
    bench.give(trade(1), named[0], trade(2, 7), named[1], trade(3, 8))
    (*_, first, second) = [one for one in bench.records() if isinstance(one, Trade)]
    assert (first.venue_symbol, second.venue_symbol) == (SYMBOL, OTHER)
    raw = bench.publisher.delivered[SETTINGS.topics.raw]
    endpoints = [dict(one.headers)["endpoint"].decode() for one in raw]
    address = "ws://venue/stream"
    assert endpoints == [
        address, address, f"{address}#7={SYMBOL}", f"{address}#7={SYMBOL}", f"{address}#7={SYMBOL}&8={OTHER}",
    ]  # fmt: skip
    for number, record in ((3, first), (5, second)):
        frame = Frame("invented", "c1", number, endpoints[number - 1], NOW_NS, raw[number - 1].value)
        assert list(Invented().parse(frame)) == [record]


def test_what_frames_of_one_read_mean_lies_in_their_message() -> None:
    bench = Bench()
    named = {"op": "named", "sym": OTHER, "number": 8}
    bench.intake.take_read([msgspec.json.encode(one) for one in (named, trade(3, 8))], NOW_NS)
    bench.publisher.poll()
    (record,) = (one for one in bench.records() if isinstance(one, Trade))
    found, parser = frames_of_delivered(bench.publisher.delivered[SETTINGS.topics.raw]), Invented()
    assert [one for frame in found for one in parser.parse(frame) if isinstance(one, Trade)] == [record]


def old(number: int) -> str:
    return json.dumps(["trade", SYMBOL, number, "1.5", "2", OLD_UNTIL_NS // NS_PER_S - 1, "buy"])


def test_parse_takes_the_parser_of_the_time_of_the_first_frame(tmp_path: Path) -> None:
    texts = [
        json.dumps({"kind": "ws", "frame": old(n), "receive_time_ns": OLD_UNTIL_NS - 1 + n}) for n in (0, 1)
    ]
    file = tmp_path / "frames"
    file.write_text("\n".join(texts))
    with file.open("rb") as source:
        items = list(lines(Invented, source))
    assert [(item["kind"], item["parser_version"], item["record_key"]) for item in items] == [
        ("trade", 1, "0"),
        ("trade", 1, "1"),
    ]


def test_channels_of_two_sockets_are_two_connections_each_with_its_own_limit_of_streams() -> None:
    channels = ("trades", "book", "bars_1m", "bars_5m")
    assert subscriptions(Invented, (SYMBOL, OTHER), channels, "0/1") == [
        Subscription((SYMBOL, OTHER), ("trades", "book")),
        Subscription((SYMBOL, OTHER), ("bars_1m", "bars_5m"), "business"),
    ]

    class Narrow(Invented):
        streams_max = 2

    assert subscriptions(Narrow, (SYMBOL, OTHER), channels, "0/1") == [
        Subscription((symbol,), names, socket)
        for names, socket in ((channels[:2], ""), (channels[2:], "business"))
        for symbol in (SYMBOL, OTHER)
    ]


def bar(number: int) -> dict[str, Any]:
    values = {"o": "1", "h": "2", "l": "1", "c": "2", "v": "9"}
    start_ms = (NOW_NS // 60_000_000_000 + number) * 60_000
    return {"op": "bar", "sym": SYMBOL, "every": "1m", "ts": start_ms, **values, "done": True}


@pytest.mark.parametrize(("cut", "kept"), [("business", "public"), ("public", "business")])
def test_the_loss_of_one_socket_is_a_gap_of_its_channels_alone(tmp_path: Path, cut: str, kept: str) -> None:
    channels = {"public": "trades", "business": "bars_1m"}
    first = {"public": trade(1), "business": bar(1)}
    second = {"public": trade(2), "business": bar(2)}

    async def scene(server: VenueServer) -> None:
        publisher = MemoryPublisher()
        feed = Feed(SETTINGS, Invented, publisher)

        def records() -> list[Record]:
            publisher.poll()
            return [codec.decode(m.value) for m in publisher.delivered[SETTINGS.topics.normalized]]

        async def until(holds: Any) -> None:
            async with asyncio.timeout(WITHIN_S):
                while not holds():  # noqa: ASYNC110  what is waited for sets no event
                    await asyncio.sleep(0.01)

        async def say(path: str, message: dict[str, Any]) -> None:
            await asyncio.to_thread(server.send_to, path, json.dumps(message))

        wanted = subscriptions(Invented, (SYMBOL,), tuple(channels.values()), "0/1")
        stop = asyncio.Event()
        async with access_at(f"http://127.0.0.1:{server.port}", Invented, tmp_path) as access:
            gate = ReadGate(SETTINGS.ingest, publisher, feed.counts)
            streams = Streams(access, feed, gate, MarketHours(ALWAYS), stop)
            tasks = [
                asyncio.create_task(streams.open(str(number), one).run()) for number, one in enumerate(wanted)
            ]
            for path, message in first.items():
                await say(path, message)
            await until(lambda: {type(record) for record in records()} >= {Trade, Bar})
            await asyncio.to_thread(server.cut, cut)
            await until(lambda: server.opened == 3 and server.connections == 2)
            await say(kept, second[kept])
            await until(lambda: sum(feed.counts.published) == 3)
            lost = [r for r in records() if isinstance(r, Gap) and r.gap_kind is GapKind.DISCONNECT]
            assert {gap.channel for gap in lost} == {channels[cut]}
            stop.set()
            async with asyncio.timeout(WITHIN_S):
                await asyncio.gather(*tasks)

    with venue_server() as server:
        server.replies["ping"] = "pong"
        asyncio.run(scene(server))
