from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import pytest

from etl.adapter.contract import Exchange, Fault, FaultKind, Ignored, Outcome, Rejected, Reply
from etl.exchanges.alpaca import Alpaca
from etl.exchanges.binance import Binance
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.exchanges.polygon import Polygon
from etl.ingest.book_watch import SUSPECT_BOOK_NS
from etl.ingest.capture import SAMPLE_FRAMES_OF_FIELDS
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.overlap import OVERLAP_DOUBLE, Overlap
from etl.ingest.quarantine_notes import PAYLOAD_BYTES_MAX
from etl.model.records import (
    Bar,
    Book,
    Frame,
    Gap,
    GapKind,
    GapState,
    Quarantined,
    QuarantineOutcome,
    Record,
    Severity,
    Source,
    Trade,
)
from etl.sequencing.ahead import REORDER_MESSAGES
from etl.sequencing.book import rebuild
from etl.sequencing.continuity import Continuity
from etl.sequencing.join import BOOK_HOLE
from etl.settings import make
from etl.transports.memory import Delivered, MemoryPublisher
from etl.validation.statistics import SymbolStatistics
from etl.wire import codec
from tests.support.topics import frames_of_delivered
from tests.support.venue_server import quote, trade

SETTINGS = make(recordings_dir="served")
RECEIVED_NS = 1_790_000_000_500_000_000


class Bench:
    """A feed into memory, and one connection into it."""

    def __init__(self, exchange: type[Exchange] = Binance) -> None:
        self.publisher = MemoryPublisher()
        self.feed = Feed(SETTINGS, exchange, self.publisher)
        self.overlap = Overlap(self.feed.counts)
        self.intake = self.connection("c1")

    def connection(self, name: str) -> Intake:
        parser = self.feed.exchange()
        return open_intake(self.feed, parser, name, "ws://venue/stream", observer=self.overlap)

    def give(self, *texts: str | bytes, to: Intake | None = None) -> list[Reply | Fault]:
        answers: list[Reply | Fault] = []
        for text in texts:
            payload = text if isinstance(text, bytes) else text.encode()
            answers += (to or self.intake).take_read([payload], RECEIVED_NS)
        self.publisher.poll()
        return answers

    def records(self) -> list[Record]:
        return [codec.decode(m.value) for m in self.publisher.delivered[SETTINGS.topics.normalized]]

    def trade_ids(self) -> list[str]:
        return [record.trade_id for record in self.records() if isinstance(record, Trade)]

    def gaps(self) -> list[Gap]:
        return [record for record in self.records() if isinstance(record, Gap)]

    def quarantined(self) -> list[Quarantined]:
        return [
            codec.decode_quarantined(m.value) for m in self.publisher.delivered[SETTINGS.topics.quarantine]
        ]


def test_a_frame_goes_to_the_raw_topic_byte_for_byte_before_anything_made_of_it() -> None:
    bench = Bench()
    bench.give(b'{"broken\xff', trade(1))
    raw = bench.publisher.delivered[SETTINGS.topics.raw]
    assert [message.value for message in raw] == [b'{"broken\xff', trade(1).encode()]
    assert {message.key for message in raw} == {b"c1"}
    assert dict(raw[1].headers) == {
        "exchange": b"binance",
        "endpoint": b"ws://venue/stream",
        "receive_time_ns": b"%d" % RECEIVED_NS,
        "frame_sequence": b"2",
        "source": b"stream",
    }
    order = list(bench.publisher.delivered)
    assert order[0] == SETTINGS.topics.raw


def frames_of_life(
    feed_bytes: int, reads: Sequence[Sequence[str]]
) -> tuple[list[Frame], dict[str, list[Delivered]]]:
    bench = Bench()
    bench.intake.frame_bytes_max = feed_bytes
    for read in reads:
        bench.intake.take_read([text.encode() for text in read], RECEIVED_NS)
    bench.publisher.poll()
    delivered = bench.publisher.delivered
    return frames_of_delivered(delivered[SETTINGS.topics.raw]), delivered


def test_the_frames_of_a_read_share_messages_and_give_what_each_gives_alone() -> None:
    texts = [*[each for n in range(1, 90) for each in (trade(n), quote(n))], "{", "", trade(1)]
    alone, of_alone = frames_of_life(1 << 20, [[text] for text in texts])
    cuts = sorted(random.Random(3).sample(range(1, len(texts)), 9))
    reads = [texts[start:end] for start, end in pairwise([0, *cuts, len(texts)])]
    for bytes_max, messages in ((1 << 20, 10), (400, 120)):
        found, delivered = frames_of_life(bytes_max, reads)
        assert found == alone
        raw = delivered[SETTINGS.topics.raw]
        assert 10 <= len(raw) <= max(messages, 10)
        assert max(len(one.value) for one in raw) <= max(bytes_max, *map(len, texts))
        for topic in (SETTINGS.topics.normalized, SETTINGS.topics.quarantine):
            assert delivered[topic] == of_alone[topic]


def test_a_sample_of_fields_and_of_acknowledgements_is_met_wherever_its_frame_lies_in_a_read() -> None:
    bench, heard = Bench(), list[float]()
    bench.feed.observe_ack_s = heard.append
    odd = trade(9_999).replace('"M":true', '"M":true,"rpi":true')
    texts = [trade(n) if n % SAMPLE_FRAMES_OF_FIELDS else odd for n in range(1, 2_049)]
    for start in range(0, len(texts), 100):
        bench.intake.take_read([text.encode() for text in texts[start : start + 100]], RECEIVED_NS)
        bench.publisher.poll()
    assert bench.feed.counts.unknown_fields == {("trade", "rpi"): 2}
    assert len(heard) == 21  # each read, and none twice: every one has a 64th frame


def test_a_record_is_published_under_its_exchange_and_symbol() -> None:
    bench = Bench()
    bench.give(trade(1))
    keys = [message.key for message in bench.publisher.delivered[SETTINGS.topics.normalized]]
    assert keys == [b"binance:BTC-USDT"] * 2
    start, record = bench.records()
    assert isinstance(start, Gap)
    assert start.gap_kind is GapKind.START
    assert isinstance(record, Trade)
    assert (record.trade_id, record.last_price, record.connection_id) == ("1", "61837.63000000", "c1")
    assert (record.frame_sequence, record.frame_index, record.source) == (1, 0, Source.STREAM)
    assert record.receive_time_ns == RECEIVED_NS


def test_a_broken_frame_costs_that_frame_and_nothing_else() -> None:
    bench = Bench()
    bench.give(trade(1), trade(2)[:40], "not json", b"\xff\xfe", "[]", trade(2))
    assert bench.trade_ids() == ["1", "2"]
    assert [item.code for item in bench.quarantined()] == ["undecodable"] * 3
    assert [item.payload for item in bench.quarantined()] == [
        trade(2)[:40].encode(),
        b"not json",
        b"\xff\xfe",
    ]
    assert bench.feed.counts.ignored == {"empty": 1}
    assert bench.feed.counts.closed


def test_a_price_that_no_column_holds_is_quarantined_with_its_record_and_its_id_declared() -> None:
    bench = Bench()
    bench.give(trade(1), trade(2, price="1" * 30 + ".5"), trade(3))
    (item,) = bench.quarantined()
    assert (item.code, item.severity, item.symbol) == ("decimal_overflow", Severity.HARD, "BTC-USDT")
    kept = codec.decode(item.record)
    assert isinstance(kept, Trade)
    assert kept.last_price == "1" * 30 + ".5"
    assert bench.trade_ids() == ["1", "3"]
    holes = [gap for gap in bench.gaps() if gap.gap_kind is GapKind.QUARANTINE]
    assert [(gap.from_sequence, gap.to_sequence) for gap in holes] == [(2, 2)]


def futures_trade(number: int, price: str = "2.2001", size: str = "10", what: str = "MARKET") -> str:
    ms = 1_790_000_000_000 + number
    return (
        f'{{"stream":"xrpusdt@trade","data":{{"e":"trade","E":{ms},"T":{ms},"s":"XRPUSDT","t":{number},'
        f'"p":"{price}","q":"{size}","X":"{what}","m":false}}}}'
    )


def test_a_placeholder_is_left_aside_and_its_id_is_told_as_the_venue_s_own_hole() -> None:
    bench = Bench(BinanceUsdm)
    bench.give(futures_trade(1001), futures_trade(1002, "0", "0", "NA"), futures_trade(1003))
    bench.give(futures_trade(1004, "0.0000", "0.0", "NA"), futures_trade(1005))
    bench.feed.tick()
    bench.feed.publish_gaps(bench.feed.continuity.decide())
    bench.publisher.poll()
    assert bench.trade_ids() == ["1001", "1003", "1005"]
    reason = "the venue gave this id to what is no record: placeholder"
    assert [
        (gap.gap_kind, gap.gap_state, gap.record_key, gap.from_sequence, gap.to_sequence, gap.reason)
        for gap in bench.gaps()[1:]
    ] == [
        (GapKind.SOURCE_HOLE, GapState.SOURCE_HOLE, f"trade/placeholder-{number}", number, number, reason)
        for number in (1002, 1004)
    ]
    assert bench.gaps()[0].gap_kind is GapKind.START
    assert not bench.quarantined()
    assert bench.feed.counts.ignored == {"placeholder": 2}
    bench.give(futures_trade(1007))
    bench.feed.publish_gaps(bench.feed.continuity.decide())
    bench.publisher.poll()
    assert [(gap.from_sequence, gap.to_sequence) for gap in bench.gaps()[3:]] == [(1006, 1006)]


def test_a_placeholder_swallows_no_hole_before_it_when_a_worker_goes_on_from_the_topic() -> None:
    bench = Bench(BinanceUsdm)
    bench.give(futures_trade(1001), futures_trade(1004, "0", "0", "NA"))  # 1002 and 1003 may still come
    bench.publisher.poll()
    again = Continuity(BinanceUsdm)
    for record in bench.records():
        again.remember(record)
    assert [(gap.from_sequence, gap.to_sequence) for gap in again.decide()] == [(1002, 1003)]
    (lost,) = again.lost(GapKind.DISCONNECT, "the worker was not running", RECEIVED_NS)
    assert lost.from_sequence == 1005


def test_a_member_that_no_venue_file_knows_is_counted_from_a_sample() -> None:
    bench = Bench()
    for number in range(1, 2 * SAMPLE_FRAMES_OF_FIELDS):
        bench.give(trade(number).replace('"M":true', '"M":true,"rpi":true'))
    assert bench.feed.counts.unknown_fields == {("trade", "rpi"): 1}


def test_a_missing_id_is_declared_when_its_time_is_over() -> None:
    bench = Bench()
    bench.give(*[trade(n) for n in (1, 2, 5, *range(6, 20))])
    bench.feed.tick()
    bench.publisher.poll()
    holes = [gap for gap in bench.gaps() if gap.gap_kind is GapKind.SEQUENCE]
    assert [(gap.from_sequence, gap.to_sequence, gap.gap_state) for gap in holes] == [(3, 4, GapState.OPEN)]


def test_a_lost_connection_is_a_gap_once_per_symbol_and_channel() -> None:
    bench = Bench()
    bench.give(quote(5), quote(6, "ETHUSDT"))
    bench.feed.lost(GapKind.DISCONNECT, "cut", ["BTCUSDT", "ETHUSDT"])
    bench.feed.lost(GapKind.DISCONNECT, "could not connect", ["BTCUSDT", "ETHUSDT"])
    bench.give(quote(9), to=bench.connection("c2"))
    bench.feed.publish_gaps(bench.feed.continuity.decide())
    bench.publisher.poll()
    holes = [gap for gap in bench.gaps() if gap.gap_kind is GapKind.DISCONNECT]
    assert [(gap.symbol, gap.from_sequence, gap.to_sequence) for gap in holes] == [
        ("BTC-USDT", 6, None),
        ("ETH-USDT", 7, None),
        ("BTC-USDT", 6, 8),
    ]
    assert holes[0].record_key == holes[2].record_key
    assert {gap.reason for gap in holes} == {"cut"}


def test_overlapping_connections_give_each_event_once() -> None:
    bench = Bench()
    bench.give(trade(1))
    bench.overlap.mark("s", begins=True)
    successor = bench.connection("c2")
    bench.give(trade(2), quote(7))
    bench.give(trade(2), trade(3), quote(7), to=successor)
    bench.give(trade(3), trade(4))
    bench.overlap.mark("s", begins=False)
    bench.give(trade(4), trade(5), to=successor)
    assert bench.trade_ids() == ["1", "2", "3", "4", "4", "5"]
    assert bench.feed.counts.ignored == {OVERLAP_DOUBLE: 3}
    assert bench.feed.counts.closed


def test_bars_are_never_doubles_for_a_newer_state_has_the_same_identity() -> None:
    bench = Bench()
    bar = Bar("binance", "S", "S", "kline_1m", 60, 1, Source.STREAM, "c", 1, 0, "1m/60", 60, 1)
    bench.overlap.mark("s", begins=True)
    assert bench.overlap.listens
    assert bench.overlap.admits(bar)
    assert bench.overlap.admits(bar)


class Odd(Exchange):
    """Answers with whatever the payload names."""

    name: ClassVar[str] = "binance"
    channels = Binance.channels
    event_time_min_ns = Binance.event_time_min_ns

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        if frame.payload == b"raise":
            raise RuntimeError("a defect")
        if frame.payload == b"many":
            return [Rejected("unknown_message", "x" * 10_000, index) for index in range(3)]
        if frame.payload.startswith(b"large"):
            return [Rejected("undecodable", "large \ud800")]
        return [Reply("pong"), Ignored("heartbeat"), Fault(FaultKind.READY, "ok", "")]


def test_a_parser_s_own_defect_costs_the_message_not_the_connection() -> None:
    bench = Bench(Odd)
    bench.give("raise")
    (item,) = bench.quarantined()
    assert (item.code, item.reason, item.payload) == ("parser_failed", "RuntimeError: a defect", b"raise")
    assert bench.feed.counts.closed


def test_replies_and_faults_come_back_and_are_no_events() -> None:
    bench = Bench(Odd)
    assert bench.give("ping") == [Reply("pong"), Fault(FaultKind.READY, "ok", "")]
    assert bench.feed.counts.events_read == 1
    assert bench.feed.counts.ignored == {"heartbeat": 1}


def test_each_rejected_event_of_a_frame_is_an_item_of_its_own_with_a_bounded_reason() -> None:
    bench = Bench(Odd)
    bench.give("many")
    assert [item.frame_index for item in bench.quarantined()] == [0, 1, 2]
    assert {len(item.reason) for item in bench.quarantined()} == {500}
    assert bench.feed.counts.closed


def test_a_large_frame_is_not_copied_into_the_quarantine_but_can_be_found_by_its_number() -> None:
    bench = Bench(Odd)
    bench.give(b"large" + b"x" * PAYLOAD_BYTES_MAX)
    (item,) = bench.quarantined()
    assert (item.payload, item.connection_id, item.frame_sequence) == (b"", "c1", 1)
    assert item.reason == "large ?"


@pytest.mark.parametrize("served", [True, False])
def test_lateness_is_judged_unless_a_recording_is_served(served: bool) -> None:
    settings = make(recordings_dir="x" if served else "")
    assert Feed(settings, Binance, MemoryPublisher()).judge_lateness is not served


def depth(first: int, last: int, price: str = "61837.63000000") -> str:
    return (
        f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1790000000000,"s":"BTCUSDT","U":{first},'
        f'"u":{last},"b":[["{price}","1.00000000"]],"a":[]}}}}'
    )


SNAPSHOT_ENDPOINT = "http://venue/api/v3/depth?symbol=BTCUSDT&limit=1000"


def snapshot(last: int) -> bytes:
    return b'{"lastUpdateId":%d,"bids":[["61837.63000000","1.00000000"]],"asks":[]}' % last


def test_a_broken_book_asks_for_a_snapshot_and_a_joined_one_does_not() -> None:
    bench = Bench()
    bench.intake.take(snapshot(100), RECEIVED_NS, SNAPSHOT_ENDPOINT)
    bench.give(depth(95, 101), depth(102, 105))
    assert bench.intake.snapshots_due_ns == {}
    bench.give(depth(200, 205), *[depth(n, n) for n in range(206, 205 + REORDER_MESSAGES)])
    assert bench.intake.snapshots_due_ns == {}  # the rest may come yet
    bench.give(depth(300, 300))
    assert bench.intake.snapshots_due_ns == {"BTCUSDT": RECEIVED_NS}
    books = [record for record in bench.records() if isinstance(record, Book)]
    assert [book.flags for book in books] == [()] * (4 + REORDER_MESSAGES)


def test_a_small_hole_in_a_book_is_flagged_and_its_snapshot_waits() -> None:
    bench = Bench()
    bench.intake.take(snapshot(100), RECEIVED_NS, SNAPSHOT_ENDPOINT)
    bench.give(depth(101, 105), depth(108, 110), *[depth(n, n) for n in range(111, 120)])
    assert bench.intake.snapshots_due_ns == {"BTCUSDT": RECEIVED_NS + SUSPECT_BOOK_NS}
    books = [record for record in bench.records() if isinstance(record, Book)]
    assert [book.flags for book in books] == [()] * (2 + REORDER_MESSAGES) + [(BOOK_HOLE,)] * 2
    assert bench.feed.counts.snapshots_saved == 1
    assert [step.record.sequence for step in rebuild(books)] == [book.sequence for book in books]
    bench.intake.take(snapshot(120), RECEIVED_NS, SNAPSHOT_ENDPOINT)
    bench.give(depth(121, 122))
    books = [record for record in bench.records() if isinstance(record, Book)]
    assert books[-1].flags == ()


def test_trades_on_a_level_that_others_confirm_are_released_and_noted_so() -> None:
    bench = Bench()
    bench.feed.learn([SymbolStatistics("binance", "BTC-USDT", 61_800.0, 0.0, 0.01, 30, 0)])
    bench.give(trade(1), *[trade(n, price="90000.00000000") for n in range(2, 7)])
    assert bench.trade_ids() == ["1", "6"]
    bench.feed.tick()
    bench.publisher.poll()
    assert bench.trade_ids() == ["1", "6", "2", "3", "4", "5"]
    outcomes = [
        (item.frame_sequence, item.outcome) for item in bench.quarantined() if item.code == "price_far_out"
    ]
    held = [(n, QuarantineOutcome.HELD) for n in range(2, 6)]
    assert outcomes == [*held, *[(n, QuarantineOutcome.RELEASED) for n in range(2, 6)]]
    states = {gap.from_sequence: gap.gap_state for gap in bench.gaps() if gap.gap_kind is GapKind.QUARANTINE}
    assert states == dict.fromkeys(range(2, 6), GapState.REPAIRED)
    assert {message.key for message in bench.publisher.delivered[SETTINGS.topics.quarantine]} == {
        b"binance:BTC-USDT"
    }
    bench.feed.tick()
    bench.publisher.poll()
    assert len(bench.trade_ids()) == 6


def test_a_later_connection_checks_by_the_statistics_that_came_before_it() -> None:
    bench = Bench()
    bench.feed.learn([SymbolStatistics("binance", "BTC-USDT", 61_800.0, 0.0, 0.01, 30, 0)])
    bench.give(trade(1, price="90000.00000000"), to=bench.connection("c2"))
    assert [item.code for item in bench.quarantined()] == ["price_far_out"]


def test_an_unreadable_frame_is_a_gap_where_no_id_proves_that_nothing_was_in_it() -> None:
    bench = Bench()
    bench.give(trade(1), quote(5), '{"stream":"btcusdt@book', trade(2), quote(9))
    bench.feed.publish_gaps(bench.feed.continuity.decide())
    bench.publisher.poll()
    holes = [gap for gap in bench.gaps() if gap.gap_kind is GapKind.QUARANTINE]
    assert [(gap.channel, gap.from_sequence, gap.to_sequence) for gap in holes] == [
        ("bookTicker", 6, None),
        ("bookTicker", 6, 8),
    ]


def test_a_message_of_unknown_type_took_the_place_of_no_record() -> None:
    bench = Bench()
    bench.give(quote(5), '{"stream":"btcusdt@novelty","data":{"e":"novelty","s":"BTCUSDT"}}', quote(9))
    assert [item.code for item in bench.quarantined()] == ["unknown_message"]
    assert {gap.gap_kind for gap in bench.gaps()} == {GapKind.START}


ONE_OF_EACH: dict[type[Exchange], str] = {
    Binance: quote(1),
    Polygon: '[{"ev":"T","sym":"AAPL","x":4,"i":"1","z":3,"p":250.1,"s":100,"t":1790000000000,"q":1}]',
    Alpaca: '[{"T":"t","S":"AAPL","i":1,"x":"D","p":250.1,"s":100,"t":"2026-09-21T13:33:20Z","z":"C"}]',
}


@pytest.mark.parametrize("exchange", ONE_OF_EACH)
@pytest.mark.parametrize(
    "text", ["", " ", "\n", "pong", "ping", "PONG", "null", "true", "0", '"pong"', "heart beat: 5"]
)
def test_a_bare_word_or_an_empty_frame_costs_its_own_item_and_opens_no_gap(
    exchange: type[Exchange], text: str
) -> None:
    bench = Bench(exchange)
    bench.give(ONE_OF_EACH[exchange])
    before = bench.gaps()
    bench.give(text)
    assert [item.payload for item in bench.quarantined()] == [text.encode()]
    assert bench.gaps() == before
    assert bench.feed.counts.closed


def test_what_is_cut_within_an_event_may_have_been_one() -> None:
    bench = Bench(Polygon)
    bench.give(ONE_OF_EACH[Polygon])
    bench.give('[{"ev"')
    assert [(gap.channel, gap.gap_kind) for gap in bench.gaps()][1:] == [("T", GapKind.QUARANTINE)]
