"""Where a worker stands outlives it, on Kafka: whatever others sent since, whatever a channel's age."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest

from etl.adapter.contract import Subscription
from etl.adapter.series import Share
from etl.embedded.kafka import kafka_part
from etl.exchanges.binance import Binance
from etl.ingest import positions, recovery_range
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.positions import Positions
from etl.ingest.recovery import Recovered, recover
from etl.ingest.repair import Repairs
from etl.ingest.worker import Worker
from etl.model.records import Gap, GapKind, GapState, Source, Trade
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.frame_headers import FrameHeaders
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.memory import MemoryPublisher
from etl.transports.readable import readable
from etl.wire import codec
from tests.ingest.test_recovery import RECEIVED_NS
from tests.support.servers import RunningPart
from tests.support.stream import gap
from tests.support.topics import eventually, log_of, lose_end, messages
from tests.support.venue_server import quote, trade

pytestmark = pytest.mark.integration
FLUSH_S = 60.0
FOREIGN = 60_000
"""More than a worker may have in its queue."""
SUBSCRIPTION = Subscription(("BTCUSDT", "ETHUSDT"), ("trade", "bookTicker"))
SYMBOLS = set(SUBSCRIPTION.symbols)
ALL_SYMBOLS = Subscription(("*",), SUBSCRIPTION.channels)
MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(settings_with: MakeSettings) -> Settings:
    wired = settings_with(kafka=True, recordings_dir="served", venues="binance")
    ensure_topics(wired)
    return wired


class Life:
    """A worker's life without its sockets; ``crash`` gives frames that reach the raw topic alone."""

    def __init__(
        self, settings: Settings, at_work: Sequence[Gap] = (), subscription: Subscription = SUBSCRIPTION
    ) -> None:
        symbols = set(subscription.symbols)
        self.settings = settings
        self.publisher = KafkaPublisher(settings)
        self.feed = Feed(settings, Binance, self.publisher)
        self.recovered = recover(settings, Binance, self.publisher, self.feed.continuity, symbols)
        self.positions = Positions(settings, self.feed, self.publisher, [subscription], lambda: at_work)
        self.positions.begin()
        self.connection = f"01{id(self):x}"
        self.intake = open_intake(self.feed, Binance(), self.connection, "ws://venue/stream")

    def take(self, *texts: str) -> None:
        for text in texts:
            self.intake.take_read([text.encode()], RECEIVED_NS)
        self.publisher.flush(FLUSH_S)

    def write(self) -> None:
        """The position, as every so often."""
        asyncio.run(self.positions.write())
        self.publisher.flush(FLUSH_S)

    def crash(self, *texts: str) -> None:
        memory = MemoryPublisher()
        intake = open_intake(
            Feed(self.settings, Binance, memory), Binance(), self.connection, "ws://venue/stream"
        )
        intake.frame_sequence = self.intake.frame_sequence
        for text in texts:
            intake.take_read([text.encode()], RECEIVED_NS)
        memory.poll()
        for one in memory.delivered[self.settings.topics.raw]:
            self.publisher.publish(self.settings.topics.raw, one.key, one.value, dict(one.headers))
        self.publisher.flush(FLUSH_S)


def others_send(settings: Settings, life: Life, count: int = FOREIGN) -> None:
    """Another venue's frames, on the partition where those of ``life`` lie."""
    publisher = KafkaPublisher(settings)
    headers = FrameHeaders("okx", "ws://other/stream", Source.STREAM).of(1, RECEIVED_NS)
    for number in range(count):
        publisher.publish(settings.topics.raw, life.connection.encode(), b"{}", headers)
        if not number % 20_000:
            publisher.flush(FLUSH_S)
    publisher.flush(FLUSH_S)


def own(settings: Settings) -> list[Trade | Gap]:
    values = (message.value or b"" for message in messages(settings, settings.topics.normalized))
    return [each for each in readable(values, codec.decode, "tests") if isinstance(each, Trade | Gap)]


def trade_ids(settings: Settings, symbol: str = "BTC-USDT") -> list[int]:
    found = [each for each in own(settings) if isinstance(each, Trade) and each.symbol == symbol]
    return sorted(int(each.trade_id) for each in found)


def gaps(found: Sequence[object]) -> list[tuple[GapKind, GapState, int | None, int | None]]:
    return [
        (each.gap_kind, each.gap_state, each.from_sequence, each.to_sequence)
        for each in found
        if isinstance(each, Gap) and each.channel == "trade"
    ]


@pytest.mark.parametrize("partitions", [1, 3])
def test_acknowledged_frames_are_published_once_however_much_others_sent_after_them(
    settings_with: MakeSettings, partitions: int
) -> None:
    settings = settings_with(
        kafka=True, recordings_dir="served", venues="binance", topic_partitions=partitions
    )
    ensure_topics(settings)
    life = Life(settings)
    life.take(*(trade(n) for n in range(1, 101)))
    life.write()
    life.take(*(trade(n) for n in range(101, 111)))
    life.crash(*(trade(n) for n in range(111, 151)))
    others_send(settings, life)
    after = Life(settings)
    assert after.recovered.messages == 40
    assert trade_ids(settings) == list(range(1, 151))
    opened = after.feed.continuity.lost(GapKind.DISCONNECT, "", RECEIVED_NS)
    assert gaps(opened) == [(GapKind.DISCONNECT, GapState.OPEN, 151, None)]
    after.feed.publish_gaps(opened)
    after.take(trade(161))
    after.feed.publish_gaps(after.feed.continuity.decide())
    after.publisher.flush(FLUSH_S)
    states = {
        each.record_key: each for each in own(settings) if isinstance(each, Gap) and each.channel == "trade"
    }
    assert gaps(list(states.values())) == [
        (GapKind.START, GapState.UNREPAIRABLE, None, 0),
        (GapKind.DISCONNECT, GapState.OPEN, 151, 160),
    ]
    assert Life(settings).recovered.messages == 0


@pytest.mark.parametrize("subscription", [SUBSCRIPTION, ALL_SYMBOLS], ids=["named", "all"])
def test_a_channel_that_spoke_long_ago_goes_on_from_its_last_record(
    settings: Settings, subscription: Subscription
) -> None:
    life = Life(settings, subscription=subscription)
    life.take(trade(7, "ETHUSDT"), quote(5))
    life.write()
    for number in range(3):  # twice written since: what is compared begins behind its record
        life.take(*(trade(n) for n in range(number * 100 + 1, number * 100 + 101)))
        life.write()
    after = Life(settings, subscription=subscription)
    assert after.recovered == Recovered(0, [])
    (opened,) = [
        each
        for each in after.feed.continuity.lost(GapKind.DISCONNECT, "", RECEIVED_NS, subscription.symbols)
        if each.symbol == "ETH-USDT"
    ]
    assert gaps([opened]) == [(GapKind.DISCONNECT, GapState.OPEN, 8, None)]
    after.take(trade(12, "ETHUSDT"))
    after.feed.publish_gaps(after.feed.continuity.decide())
    after.publisher.flush(FLUSH_S)
    found = [each for each in own(settings) if isinstance(each, Gap) and each.symbol == "ETH-USDT"]
    assert gaps(found) == [
        (GapKind.START, GapState.UNREPAIRABLE, None, 6),
        (GapKind.DISCONNECT, GapState.OPEN, 8, 11),
    ]


def test_an_outage_that_was_open_stays_the_same_gap_over_a_restart(settings: Settings) -> None:
    life = Life(settings)
    life.take(trade(1), trade(2))
    (lost,) = life.feed.continuity.lost(GapKind.STALE, "silent", RECEIVED_NS)
    life.feed.publish_gaps([lost])
    for _ in range(2):
        life.write()
    others_send(settings, life, 10)
    after = Life(settings)
    assert list(after.feed.continuity.lost(GapKind.DISCONNECT, "", RECEIVED_NS)) == []
    after.take(trade(5))
    after.feed.publish_gaps(after.feed.continuity.decide())
    after.publisher.flush(FLUSH_S)
    *_, last = [each for each in own(settings) if isinstance(each, Gap)]
    assert (last.record_key, last.gap_kind, last.from_sequence, last.to_sequence) == (
        lost.record_key,
        GapKind.STALE,
        3,
        4,
    )


def test_gaps_under_repair_are_told_to_the_next_worker_until_they_are_settled(settings: Settings) -> None:
    first, second = (
        gap(3, venue_symbol="BTCUSDT", record_key=key, to_time_ns=RECEIVED_NS)
        for key in ("trade/3-4", "trade/7-8")
    )
    life = Life(settings, at_work=[first, second])
    life.take(trade(20))
    life.write()
    life.feed.publish_settled(life.feed.continuity.settle(second, GapState.REPAIRED, RECEIVED_NS * 2, ""), 2)
    life.publisher.flush(FLUSH_S)
    assert [each.record_key for each in Life(settings).recovered.open_gaps] == ["trade/3-4"]


def test_the_position_of_a_topic_that_was_made_anew_is_passed_over(settings: Settings) -> None:
    life = Life(settings)
    life.take(*(trade(n) for n in range(1, 101)))
    life.write()
    admin = kafka_clients.admin(settings)
    topics = [settings.topics.raw, settings.topics.normalized]
    for future in admin.delete_topics(topics).values():
        future.result(FLUSH_S)

    def made() -> bool:
        ensure_topics(settings)
        return set(topics) <= set(admin.list_topics(timeout=FLUSH_S).topics)

    eventually(made)
    life = Life(settings)
    life.crash(*(trade(n) for n in range(101, 201)))
    after = Life(settings)
    assert after.recovered.messages == 100
    assert trade_ids(settings) == list(range(101, 201))


def test_of_other_shards_and_symbol_lists_the_newest_that_carried_each_symbol_counts(
    settings: Settings,
) -> None:
    def position(time_ns: int, *symbols: str, channels: tuple[str, ...] = ("trade",)) -> positions.Position:
        return positions.Position("binance", list(symbols), list(channels), time_ns, time_ns, {}, [])

    old, btc, eth = position(1, "BTC", "ETH"), position(2, "BTC"), position(3, "ETH", "SOL")
    books = position(4, "BTC", channels=("depth",))
    publisher = KafkaPublisher(settings)
    for each in (old, btc, eth, books):
        publisher.publish(settings.topics.positions, each.key, positions._encode(each))
    publisher.publish(settings.topics.positions, b"binance/odd", b"\xff")
    publisher.flush(FLUSH_S)

    def found(*symbols: str, channels: tuple[str, ...] = ("trade",)) -> list[int]:
        known = positions.read(settings, "binance", symbols, channels)
        return [each.time_ns for each in known.positions]

    assert found("BTC", "ETH") == [3, 2]
    assert found("BTC") == [2]
    assert found("BTC", channels=("trade", "depth")) == [4, 2, 1]
    assert found("XRP") == []
    assert found("*") == [3, 2]
    every = position(5, "*")
    publisher.publish(settings.topics.positions, every.key, positions._encode(every))
    sol = position(6, "SOL")
    publisher.publish(settings.topics.positions, sol.key, positions._encode(sol))
    publisher.flush(FLUSH_S)
    assert found("BTC", "XRP") == [5]
    assert found("*") == [6, 5]
    assert positions.read(settings, "okx", ["BTC"], ["trade"]).positions == []
    for time_ns, share in enumerate(("KX-*%0/1", "KX-*%0/2", "KX-*%1/2", "KY-*%0/1"), 7):
        each = position(time_ns, share)
        publisher.publish(settings.topics.positions, each.key, positions._encode(each))
    publisher.flush(FLUSH_S)
    assert found("KX-*%0/1") == [9, 8, 7], "each of the series may know something"
    assert found("KX-*%1/3") == [9, 8, 7]
    assert found("KX-1") == [8 if "KX-1" in Share("KX-", 0, 2) else 9]


def test_what_is_followed_no_more_is_forgotten_by_the_topic_and_by_who_reads_it(settings: Settings) -> None:
    life = Life(settings)
    life.take(trade(1), trade(1).replace("BTCUSDT", "ETHUSDT"), trade(1).replace("btcusdt", "ethusdt"))
    life.write()
    life.feed.continuity.dismiss("BTC-USDT", ["trade"], RECEIVED_NS)
    life.write()
    known = positions.read(settings, "binance", SYMBOLS, SUBSCRIPTION.channels)
    assert ("BTC-USDT", "trade") not in known.standings
    last = {one.key: one.value for one in messages(settings, settings.topics.positions)}
    assert last[b"binance:BTC-USDT/trade"] is None


def test_beyond_the_limit_of_a_recovery_every_channel_has_an_open_gap_and_none_a_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_range, "MESSAGES_MAX", 100)
    life = Life(settings)
    life.take(*(trade(n) for n in range(1, 201)))
    began_ns = time.time_ns()
    publisher = KafkaPublisher(settings)
    feed = Feed(settings, Binance, publisher)
    worker = Worker(settings, Binance, [SUBSCRIPTION])
    asyncio.run(worker._recover(feed, Repairs(settings.ingest, feed, worker._access.credentials)))
    before = own(settings)
    intake = open_intake(feed, Binance(), "03", "ws://venue/stream")
    for text in (trade(211), trade(5, "ETHUSDT")):
        intake.take_read([text.encode()], RECEIVED_NS * 2)
    feed.publish_gaps(feed.continuity.decide())
    publisher.flush(FLUSH_S)
    news = [each for each in own(settings) if each not in before and isinstance(each, Gap)]
    newest = {each.record_key: each for each in news}
    found = {(each.symbol, each.channel): each for each in newest.values()}
    btc, eth = found["BTC-USDT", "trade"], found["ETH-USDT", "trade"]
    assert gaps([btc, eth]) == [
        (GapKind.DISCONNECT, GapState.OPEN, 101, 210),
        (GapKind.DISCONNECT, GapState.OPEN, None, None),
    ]
    assert (btc.flags, eth.flags, bool(eth.to_time_ns)) == ((), (NO_EVENT_BEFORE,), True)
    assert eth.from_time_ns < began_ns
    assert {each.gap_state for each in newest.values()} == {GapState.OPEN}
    assert "limit" in btc.reason


def test_a_position_is_written_once_all_before_it_is_acknowledged_and_holds_nothing_else(
    settings: Settings,
) -> None:
    life = Life(settings)
    for number in range(1, 2_001):
        life.intake.take_read([trade(number).encode()], RECEIVED_NS)
    asyncio.run(life.positions.write())
    for number in range(2_001, 2_011):
        life.intake.take_read([trade(number).encode()], RECEIVED_NS)
    life.publisher.flush(FLUSH_S)
    known = positions.read(settings, "binance", SYMBOLS, SUBSCRIPTION.channels)
    (position,) = known.positions
    assert known.standings["BTC-USDT", "trade"].last == 2_000
    assert trade_ids(settings) == list(range(1, 2_011))
    assert Life(settings).recovered.messages == 0
    assert sum(position.ends[settings.topics.normalized].offsets.values()) == 0


def test_what_came_hours_after_a_worker_was_seen_last_is_not_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery_range, "MESSAGES_MAX", 1_000)
    life = Life(settings)
    life.take(trade(1))
    life.crash(trade(2))
    producer = kafka_clients.producer(settings)
    headers: list[tuple[str, str | bytes | None]] = [
        *FrameHeaders("okx", "ws://other/stream", Source.STREAM).of(1, RECEIVED_NS).items()
    ]
    an_hour_later_ms = time.time_ns() // 1_000_000 + 3_600_000
    for _ in range(5_000):
        producer.produce(
            settings.topics.raw, b"{}", life.connection, headers=headers, timestamp=an_hour_later_ms
        )
    producer.flush(FLUSH_S)
    assert Life(settings).recovered == Recovered(1, [], known_ns=0)
    assert trade_ids(settings) == [1, 2]


def test_a_position_older_than_the_workers_last_frames_makes_recovery_read_on_to_them(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the topic of positions lost its end: what the worker said of itself since is gone."""
    monkeypatch.setattr(recovery_range, "ALIVE_NS", 1_000_000_000)
    life = Life(settings)
    life.take(trade(1))
    life.write()
    for number in range(2, 8):
        life.take(trade(number))
        time.sleep(0.4)
    life.crash(trade(8), trade(9))
    after = Life(settings)
    assert after.recovered.messages == 2
    assert trade_ids(settings) == list(range(1, 10))


def test_after_a_topic_lost_its_end_a_position_behind_it_counts_no_more(
    crashable: Callable[..., RunningPart], settings_with: MakeSettings
) -> None:
    broker = crashable(kafka_part)
    settings = settings_with(
        kafka_url=broker.settings.kafka_bootstrap,
        topic_partitions=1,
        recordings_dir="served",
        venues="binance",
    )
    ensure_topics(settings)
    life = Life(settings)
    life.take(*(trade(n) for n in range(1, 11)))
    kept_bytes = log_of(broker, settings.topics.normalized).stat().st_size
    life.take(*(trade(n) for n in range(11, 61)))
    for _ in range(2):
        life.write()
    lose_end(broker, settings.topics.normalized, kept_bytes)
    assert trade_ids(settings) == list(range(1, 11))
    publisher = KafkaPublisher(settings)
    for _ in range(100):
        publisher.publish(settings.topics.normalized, b"okx:BTC-USDT", b"\xff")
    publisher.flush(FLUSH_S)
    assert Life(settings).recovered.messages == 50
