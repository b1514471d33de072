from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from etl.continuity import Continuity
from etl.exchanges.binance import Binance
from etl.pipeline import Ingest
from etl.recovery import recover
from etl.settings import Settings
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.memory import Delivered, MemoryPublisher
from etl.wire import codec
from tests.topics import messages
from tests.venue_server import quote, trade

pytestmark = pytest.mark.integration
FLUSH_S = 30.0
RECEIVED_NS = 1_790_000_000_500_000_000
SYMBOLS = {"BTCUSDT", "ETHUSDT"}


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    wired = settings_with(kafka=True, recordings_dir="served")
    ensure_topics(wired)
    return wired


def life(settings: Settings, *texts: str) -> dict[str, list[Delivered]]:
    """What a worker would publish for these frames, topic by topic."""
    publisher = MemoryPublisher()
    ingest = Ingest(settings, Binance, publisher)
    intake = ingest.intake(Binance(), "01a", "ws://venue/stream")
    for text in texts:
        intake.take(text.encode(), RECEIVED_NS)
    publisher.poll()
    return publisher.delivered


def publish(settings: Settings, topic: str, deliveries: list[Delivered]) -> None:
    publisher = KafkaPublisher(settings)
    for one in deliveries:
        publisher.publish(topic, one.key, one.value, list(one.headers) or None)
    publisher.flush(FLUSH_S)


def held(settings: Settings, topic: str) -> list[bytes]:
    return sorted(message.value() or b"" for message in messages(settings, topic))


def start(settings: Settings, symbols: set[str] = SYMBOLS) -> int:
    return recover(settings, Binance, KafkaPublisher(settings), Continuity(Binance), symbols)


FRAMES = [
    *[text for n in range(1, 41) for text in (trade(n), quote(n), trade(n, "ETHUSDT"))],
    '{"cut":',
    trade(41),
    "not json",
]


def test_exactly_what_is_missing_is_published_whatever_is_missing(settings: Settings) -> None:
    whole = life(settings, *FRAMES)
    chosen = random.Random(7)
    records = [one for one in whole[settings.normalized_topic] if not codec.place_of(one.value).is_gap]
    kept = [one for one in records if chosen.random() < 0.6]
    publish(settings, settings.raw_topic, whole[settings.raw_topic])
    publish(settings, settings.normalized_topic, kept)
    publish(settings, settings.quarantine_topic, whole[settings.quarantine_topic][:1])
    start(settings)
    found = [value for value in held(settings, settings.normalized_topic) if not codec.place_of(value).is_gap]
    assert found == sorted(one.value for one in records)
    assert held(settings, settings.quarantine_topic) == sorted(
        one.value for one in whole[settings.quarantine_topic]
    )
    assert len(held(settings, settings.raw_topic)) == len(FRAMES)


def test_a_second_start_publishes_nothing_more(settings: Settings) -> None:
    whole = life(settings, *FRAMES)
    publish(settings, settings.raw_topic, whole[settings.raw_topic])
    assert start(settings) == len(FRAMES)
    once = held(settings, settings.normalized_topic)
    assert start(settings) == 0
    assert held(settings, settings.normalized_topic) == once


def test_another_shard_s_and_another_venue_s_frames_are_left_alone(settings: Settings) -> None:
    whole = life(settings, trade(1), trade(1, "ETHUSDT"))
    publish(settings, settings.raw_topic, whole[settings.raw_topic])
    others = [
        Delivered(one.key, one.value, tuple((n, b"okx" if n == "exchange" else v) for n, v in one.headers))
        for one in life(settings, trade(2))[settings.raw_topic]
    ]
    publish(settings, settings.raw_topic, others)
    assert start(settings, {"BTCUSDT"}) == 1


def test_empty_topics_need_nothing(settings: Settings) -> None:
    assert start(settings) == 0
