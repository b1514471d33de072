"""What was held comes back when today's parser and rules find it good: exactly that, once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from etl import exchanges
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.quarantine import ItemReplay, Selection, identity_of, read_items, replay
from etl.model.records import (
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
from etl.settings import Settings
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.memory import MemoryPublisher
from etl.transports.transport import transport_of
from etl.wire import codec

RECEIVE_NS = 1_723_161_255_400_000_000
CONNECTION = "0190aa00-0000-7000-8000-000000000001"


def frame(number: int, price: str) -> bytes:
    return (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"%s",'
        b'"q":"0.02000000","T":1723161255342,"m":true,"M":true}}' % (number, price.encode())
    )


def held(number: int, price: str, code: str, severity: Severity = Severity.HARD) -> Quarantined:
    """As an earlier version of the rules held it, whatever today's say."""
    return Quarantined(
        code=code,
        severity=severity,
        reason="an older rule",
        exchange="binance",
        endpoint="wss://stream.binance.com:9443/stream?streams=btcusdt@trade",
        receive_time_ns=RECEIVE_NS + number,
        source=Source.STREAM,
        connection_id=CONNECTION,
        frame_sequence=number,
        frame_index=0,
        parser_version=0,
        payload=frame(number, price),
        symbol="BTC-USDT",
        rule="older",
    )


GOOD_NOW = held(1, "61837.63000000", "price_implausible")
STILL_BAD = held(2, "-61837.63000000", "price_not_positive")
UNPARSABLE = held(3, "NaN", "decimal_malformed")
SOFT = held(4, "61837.64000000", "price_deviates", Severity.SOFT)
ITEMS = [GOOD_NOW, STILL_BAD, UNPARSABLE, SOFT]


def trades(publisher: MemoryPublisher, settings: Settings) -> list[Record]:
    publisher.poll()
    return [codec.decode(message.value) for message in publisher.delivered[settings.topics.normalized]]


def test_what_a_replay_publishes_is_keyed_by_instrument(settings: Settings) -> None:
    publisher = MemoryPublisher()
    replay(ITEMS, publisher, settings, now_ns=7)
    publisher.poll()
    keys = {topic: {message.key for message in sent} for topic, sent in publisher.delivered.items()}
    assert keys[settings.topics.normalized] == {b"binance:BTC-USDT"}
    assert keys[settings.topics.quarantine] == {f"binance:{item.symbol}".encode() for item in ITEMS}


def test_a_replay_publishes_what_is_good_now_and_notes_every_outcome(settings: Settings) -> None:
    publisher = MemoryPublisher()
    outcomes = replay(ITEMS, publisher, settings, now_ns=7)

    [trade] = trades(publisher, settings)
    assert isinstance(trade, Trade)
    assert (trade.trade_id, trade.record_key, trade.last_price) == ("1", "1", "61837.63000000")
    assert (trade.source, trade.connection_id, trade.frame_sequence) == (Source.REPLAY, CONNECTION, 1)
    assert outcomes == {QuarantineOutcome.PUBLISHED: 1, QuarantineOutcome.STILL_BAD: 2}
    noted = [
        codec.decode_quarantined(message.value) for message in publisher.delivered[settings.topics.quarantine]
    ]
    assert noted == [
        msgspec.structs.replace(item, outcome=outcome, outcome_time_ns=7)
        for item, outcome in (
            (GOOD_NOW, QuarantineOutcome.PUBLISHED),
            (STILL_BAD, QuarantineOutcome.STILL_BAD),
            (UNPARSABLE, QuarantineOutcome.STILL_BAD),
        )
    ]


def quarantine_gap(first: int, last: int, state: GapState = GapState.OPEN) -> Gap:
    return Gap(
        "binance", "BTC-USDT", "BTCUSDT", "trade", 0, RECEIVE_NS, Source.STREAM, CONNECTION, 1, 0,
        f"trade/{first}-{last}", RECEIVE_NS, 1, gap_kind=GapKind.QUARANTINE, gap_state=state,
        from_sequence=first, to_sequence=last,
    )  # fmt: skip


def test_a_gap_of_which_all_came_back_is_repaired_also_after_a_replay_that_died(settings: Settings) -> None:
    whole, partly = quarantine_gap(1, 1, GapState.UNREPAIRABLE), quarantine_gap(1, 2)
    settled = msgspec.structs.replace(GOOD_NOW, outcome=QuarantineOutcome.PUBLISHED)
    for items in (ITEMS, [settled, *ITEMS[1:]]):
        publisher = MemoryPublisher()
        replay(items, publisher, settings, now_ns=RECEIVE_NS + 9, gaps=[whole, partly])
        [gap] = [record for record in trades(publisher, settings) if isinstance(record, Gap)]
        assert gap == msgspec.structs.replace(
            whole,
            gap_state=GapState.REPAIRED,
            receive_time_ns=RECEIVE_NS + 9,
            reason="brought back from the quarantine",
        )


def test_what_was_published_is_not_published_again(settings: Settings) -> None:
    publisher = MemoryPublisher()
    settled = msgspec.structs.replace(GOOD_NOW, outcome=QuarantineOutcome.PUBLISHED)
    assert replay([settled], publisher, settings, now_ns=8) == {}
    assert trades(publisher, settings) == []


def test_an_item_without_its_frame_is_judged_by_its_record(settings: Settings) -> None:
    again = ItemReplay(settings, MemoryPublisher())
    record = again.take(GOOD_NOW)
    assert record is not None
    large = msgspec.structs.replace(GOOD_NOW, payload=b"", record=codec.encode(record))
    assert again.take(large) == record
    assert again.take(msgspec.structs.replace(GOOD_NOW, payload=b"")) is None
    assert again.take(msgspec.structs.replace(GOOD_NOW, payload=b"", record=b"\xff")) is None


def test_a_record_comes_back_with_the_flags_that_it_has_live(settings: Settings) -> None:
    payload = GOOD_NOW.payload.replace(b"BTCUSDT", b"ZZZQQQ").replace(b"btcusdt", b"zzzqqq")
    unlisted = msgspec.structs.replace(GOOD_NOW, payload=payload)
    feed = Feed(settings, exchanges.load("binance"), publisher := MemoryPublisher())
    open_intake(feed, feed.exchange(), "c", unlisted.endpoint).take_read([unlisted.payload], RECEIVE_NS)
    _, live = trades(publisher, settings)
    record = ItemReplay(settings, MemoryPublisher()).take(unlisted)
    assert record is not None
    assert record.flags == live.flags != ()


@pytest.mark.integration
def test_the_topic_gives_each_item_once_with_its_newest_outcome(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    for item in ITEMS:
        publisher.publish(settings.topics.quarantine, b"k", codec.encode_quarantined(item))
    publisher.flush(30)
    everything = Selection()
    assert read_items(settings, everything) == ITEMS
    replay(read_items(settings, Selection(code="price_implausible")), publisher, settings, now_ns=9)
    replay(read_items(settings, everything), publisher, settings, now_ns=10)

    found = {identity_of(item): item.outcome for item in read_items(settings, everything)}
    assert found == {
        identity_of(GOOD_NOW): QuarantineOutcome.PUBLISHED,
        identity_of(STILL_BAD): QuarantineOutcome.STILL_BAD,
        identity_of(UNPARSABLE): QuarantineOutcome.STILL_BAD,
        identity_of(SOFT): QuarantineOutcome.HELD,
    }
    with transport_of(settings).reader(settings.topics.normalized, "test") as reader:
        published = [
            codec.decode(message.value or b"")
            for partition, bounds in reader.bounds().items()
            for messages in reader.read(partition, bounds.low, bounds.high, 100)
            for message in messages
        ]
    assert [record.record_key for record in published] == ["1"]


def test_the_live_loop_holds_what_a_replay_would_find_bad(settings: Settings) -> None:
    exchange = exchanges.load("binance")
    publisher = MemoryPublisher()
    feed = Feed(settings, exchange, publisher)
    intake = open_intake(feed, exchange(), CONNECTION, STILL_BAD.endpoint)
    for item in (GOOD_NOW, STILL_BAD, UNPARSABLE):
        intake.take_read([item.payload], item.receive_time_ns)
    publisher.poll()
    quarantined = [
        codec.decode_quarantined(message.value) for message in publisher.delivered[settings.topics.quarantine]
    ]
    assert [(item.frame_sequence, item.code) for item in quarantined] == [
        (2, "price_not_positive"),
        (3, "decimal_malformed"),
    ]
    assert replay(quarantined, publisher, settings, now_ns=11) == {QuarantineOutcome.STILL_BAD: 2}
