from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from msgspec import structs

from etl.exchanges.binance import Binance
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.recovery import Recovered, recover
from etl.model.records import GapState, Source
from etl.sequencing.continuity import Continuity
from etl.settings import Settings, changed
from etl.transports.frames import frames_of
from etl.transports.memory import Delivered, MemoryPublisher
from etl.transports.transport import transport_of
from etl.wire import codec
from tests.support.invented import OLD_UNTIL_NS, SYMBOL, Invented, InventedOld
from tests.support.stream import gap
from tests.support.topics import messages
from tests.support.venue_server import quote, trade

pytestmark = pytest.mark.integration
FLUSH_S = 30.0
RECEIVED_NS = 1_790_000_000_500_000_000
SYMBOLS = {"BTCUSDT", "ETHUSDT"}


@pytest.fixture(params=["kafka", "redis"])
def settings(request: pytest.FixtureRequest, settings_with: Callable[..., Settings]) -> Settings:
    wired = settings_with(**{request.param: True}, recordings_dir="served")
    transport_of(wired).ensure_topics()
    return wired


def life(settings: Settings, *texts: str) -> dict[str, list[Delivered]]:
    """What a worker would publish for these frames, topic by topic."""
    publisher = MemoryPublisher()
    feed = Feed(settings, Binance, publisher)
    intake = open_intake(feed, Binance(), "01a", "ws://venue/stream")
    for text in texts:
        intake.take_read([text.encode()], RECEIVED_NS)
    publisher.poll()
    return publisher.delivered


def publish(settings: Settings, topic: str, deliveries: list[Delivered]) -> None:
    publisher = transport_of(settings).publisher()
    for one in deliveries:
        publisher.publish(topic, one.key, one.value, dict(one.headers) or None)
    publisher.flush(FLUSH_S)


def held(settings: Settings, topic: str) -> list[bytes]:
    return sorted(message.value or b"" for message in messages(settings, topic))


def recovered(settings: Settings, symbols: set[str] = SYMBOLS) -> Recovered:
    return recover(settings, Binance, transport_of(settings).publisher(), Continuity(Binance), symbols)


def start(settings: Settings, symbols: set[str] = SYMBOLS) -> int:
    return recovered(settings, symbols).messages


FRAMES = [
    *[text for n in range(1, 41) for text in (trade(n), quote(n), trade(n, "ETHUSDT"))],
    '{"cut":',
    trade(41),
    "not json",
]


@pytest.mark.parametrize("frames_max", [1, 12])
def test_exactly_what_is_missing_is_published_whatever_is_missing(
    settings: Settings, frames_max: int
) -> None:
    """However many frames share a message, whole or in part on the other topics."""
    chosen = random.Random(7)
    publisher = MemoryPublisher()
    intake = open_intake(Feed(settings, Binance, publisher), Binance(), "01a", "ws://venue/stream")
    left = [text.encode() for text in FRAMES]
    while left:
        count = chosen.randint(1, frames_max)
        intake.take_read(left[:count], RECEIVED_NS)
        del left[:count]
    publisher.poll()
    whole = publisher.delivered
    records = [one for one in whole[settings.topics.normalized] if not codec.place_of(one.value).is_gap]
    kept = [one for one in records if chosen.random() < 0.6]
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    publish(settings, settings.topics.normalized, kept)
    publish(settings, settings.topics.quarantine, whole[settings.topics.quarantine][:1])
    start(settings)
    found = [
        value for value in held(settings, settings.topics.normalized) if not codec.place_of(value).is_gap
    ]
    assert found == sorted(one.value for one in records)
    assert held(settings, settings.topics.quarantine) == sorted(
        one.value for one in whole[settings.topics.quarantine]
    )
    raw = frames_of(messages(settings, settings.topics.raw))
    assert [frame.payload.decode() for frame in raw] == FRAMES


def test_a_second_start_publishes_nothing_more(settings: Settings) -> None:
    whole = life(settings, *FRAMES)
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    assert start(settings) == len(FRAMES)
    once = held(settings, settings.topics.normalized)
    assert start(settings) == 0
    assert held(settings, settings.topics.normalized) == once


def test_another_shard_s_and_another_venue_s_frames_are_left_alone(settings: Settings) -> None:
    whole = life(settings, trade(1), trade(1, "ETHUSDT"))
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    others = [
        Delivered(one.key, one.value, tuple((n, b"okx" if n == "exchange" else v) for n, v in one.headers))
        for one in life(settings, trade(2))[settings.topics.raw]
    ]
    publish(settings, settings.topics.raw, others)
    assert start(settings, {"BTCUSDT"}) == 1


def test_without_a_position_the_venue_s_own_frames_are_found_behind_any_number_of_others(
    settings: Settings,
) -> None:
    whole = life(settings, *FRAMES)
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    publish(settings, settings.topics.normalized, whole[settings.topics.normalized][:10])
    records = sum(not codec.place_of(one.value).is_gap for one in whole[settings.topics.normalized][:10])
    (frame, *_) = whole[settings.topics.raw]
    headers = tuple((name, b"okx" if name == "exchange" else value) for name, value in frame.headers)
    publish(settings, settings.topics.raw, [Delivered(frame.key, frame.value, headers)] * 60_000)
    assert start(settings) == len(FRAMES) - records
    assert start(settings) == 0


PAGE = json.dumps(
    [
        {
            "id": n,
            "price": "1.5",
            "qty": "2",
            "time": RECEIVED_NS // 1_000_000 - 60_000 + n,
            "isBuyerMaker": True,
        }
        for n in range(100, 140)
    ]
)


def test_a_repair_s_page_is_mended_too_and_its_old_times_are_no_fault(settings: Settings) -> None:
    live = changed(settings, recordings_dir="")
    publisher = MemoryPublisher()
    feed = Feed(live, Binance, publisher)
    endpoint = "http://venue/api/v3/historicalTrades?symbol=BTCUSDT&fromId=100"
    open_intake(feed, Binance(), "01b", endpoint, Source.REPAIR).take(PAGE.encode(), RECEIVED_NS, endpoint)
    publisher.poll()
    whole = publisher.delivered
    records = [one for one in whole[settings.topics.normalized] if not codec.place_of(one.value).is_gap]
    assert len(records) == 40
    publish(live, settings.topics.raw, whole[settings.topics.raw])
    publish(live, settings.topics.normalized, records[:13])
    assert start(live) == 27
    assert held(settings, settings.topics.normalized) == sorted(one.value for one in records)


def test_a_backfill_s_frames_are_left_to_the_backfill(settings: Settings) -> None:
    publisher = MemoryPublisher()
    feed = Feed(settings, Binance, publisher)
    endpoint = "http://venue/api/v3/historicalTrades?symbol=BTCUSDT&fromId=100"
    open_intake(feed, Binance(), "01b", endpoint, Source.BACKFILL).take(PAGE.encode(), RECEIVED_NS, endpoint)
    publisher.poll()
    publish(settings, settings.topics.raw, publisher.delivered[settings.topics.raw])
    assert start(settings) == 0


def test_gaps_that_nobody_settled_are_told_again(settings: Settings) -> None:
    whole = life(settings, *(trade(n) for n in (1, 2, 5, 6, 9, *range(10, 40))))
    first, second = (
        gap(3, venue_symbol="BTCUSDT", record_key=key, to_time_ns=RECEIVED_NS)
        for key in ("trade/3-4", "trade/7-8")
    )
    settled = structs.replace(second, gap_state=GapState.REPAIRED, receive_time_ns=second.receive_time_ns + 1)
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    encoded = [Delivered(b"binance:BTC-USDT", codec.encode(one), ()) for one in (first, second, settled)]
    publish(settings, settings.topics.normalized, [*encoded, *whole[settings.topics.normalized]])
    assert [one.record_key for one in recovered(settings).open_gaps] == ["trade/3-4"]
    assert recovered(settings, {"ETHUSDT"}).open_gaps == []


def test_a_worker_of_all_symbols_recovers_every_symbol_s_frames_and_gaps(settings: Settings) -> None:
    whole = life(settings, *FRAMES)
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    bounded = gap(1, gap_state=GapState.OPEN, to_time_ns=RECEIVED_NS)
    publish(settings, settings.topics.normalized, [Delivered(b"binance:BTC-USDT", codec.encode(bounded), ())])
    found = recovered(settings, {"*"})
    assert (found.messages, found.open_gaps) == (len(FRAMES), [bounded])
    assert start(settings, {"*"}) == 0


def test_empty_topics_need_nothing(settings: Settings) -> None:
    assert start(settings) == 0


def test_frames_of_a_former_protocol_are_recovered_by_the_parser_that_their_time_chooses(
    settings: Settings,
) -> None:
    publisher = MemoryPublisher()
    feed = Feed(settings, Invented, publisher)
    intake = open_intake(feed, InventedOld(), "01c", "ws://venue/stream")
    for number in (1, 2):
        frame = json.dumps(["trade", SYMBOL, number, "1.5", "2", OLD_UNTIL_NS // 10**9 - 1, "buy"])
        intake.take_read([frame.encode()], OLD_UNTIL_NS - 2 + number)
    publisher.poll()
    publish(settings, settings.topics.raw, publisher.delivered[settings.topics.raw])
    recovery = recover(settings, Invented, transport_of(settings).publisher(), Continuity(Invented), {SYMBOL})
    assert recovery.messages == 2
    assert held(settings, settings.topics.normalized) == sorted(
        one.value for one in publisher.delivered[settings.topics.normalized]
    )


def test_a_frame_that_lies_in_parts_is_recovered_as_one(settings: Settings) -> None:
    publisher = MemoryPublisher()
    feed = Feed(changed(settings, frame_bytes_max=64), Binance, publisher)
    intake = open_intake(feed, Binance(), "01d", "ws://venue/stream")
    intake.take(trade(1).encode(), RECEIVED_NS, "ws://venue/stream")
    publisher.poll()
    parts = publisher.delivered[settings.topics.raw]
    assert len(parts) > 1
    publish(settings, settings.topics.raw, parts)
    assert recovered(settings).messages == 1
    assert held(settings, settings.topics.normalized) == sorted(
        one.value for one in publisher.delivered[settings.topics.normalized]
    )


def test_garbage_on_any_topic_is_passed_over_and_the_rest_is_recovered(settings: Settings) -> None:
    whole = life(settings, trade(1), trade(2))
    odd = whole[settings.topics.raw][0]
    publisher = transport_of(settings).publisher()
    for headers in ({"receive_time_ns": str(1 << 63).encode()}, {"frame_sequence": b"x"}, {"source": b"?"}):
        publisher.publish(settings.topics.raw, odd.key, odd.value, {**dict(odd.headers), **headers})
    for value in (b"\xff", b"", b"\x08\x63", b"\x40\x63"):
        publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", value)
        publisher.publish(settings.topics.quarantine, b"binance:BTC-USDT", value)
    publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", None)
    publisher.flush(FLUSH_S)
    publish(settings, settings.topics.raw, whole[settings.topics.raw])
    assert start(settings) == 2
    assert start(settings) == 0
