"""When silence means that a connection is dead, by the time that is brought."""

from __future__ import annotations

from etl.adapter.contract import Channel, SequenceRule
from etl.model.records import Kind
from etl.model.times import NS_PER_S
from etl.sources.liveness import PING_IDLE_S, PING_REPLY_S, Liveness, Silence

TRADES = Channel("trades", Kind.TRADE, SequenceRule.NONE, stale_after_s=60.0)
BOOK = Channel("book", Kind.BOOK, SequenceRule.NONE)
BEGIN_NS = 1_790_000_000 * NS_PER_S


def at(seconds: float) -> int:
    return BEGIN_NS + int(seconds * NS_PER_S)


def test_a_silent_socket_is_pinged_and_given_up_when_it_does_not_answer() -> None:
    liveness = Liveness([TRADES], BEGIN_NS)
    assert liveness.of_socket(at(PING_IDLE_S), 0) is Silence.NORMAL
    assert liveness.of_socket(at(PING_IDLE_S) + 1, 0) is Silence.PING
    assert liveness.of_socket(at(PING_IDLE_S + PING_REPLY_S), 0) is Silence.PING
    assert liveness.of_socket(at(PING_IDLE_S + PING_REPLY_S) + 1, 0) is Silence.PING_TIMEOUT
    assert liveness.of_socket(at(40.0), at(39.0)) is Silence.NORMAL


def test_a_channel_is_stale_when_it_alone_is_silent_for_longer_than_is_normal() -> None:
    liveness = Liveness([BOOK, TRADES], BEGIN_NS)
    assert liveness.stale(at(60.0), {}) is None
    assert liveness.stale(at(60.0) + 1, {"book": at(60.0)}) is TRADES
    assert liveness.stale(at(60.0) + 1, {"trades": at(1.0)}) is None


def test_silence_while_reading_is_paused_counts_for_nothing() -> None:
    liveness = Liveness([TRADES], BEGIN_NS)
    liveness.excuse(at(100.0))
    assert liveness.of_socket(at(101.0), 0) is Silence.NORMAL
    assert liveness.stale(at(160.0), {}) is None
    assert liveness.stale(at(161.0), {}) is TRADES


def test_a_closed_market_excuses_its_channels_and_not_the_socket() -> None:
    liveness = Liveness([TRADES], BEGIN_NS)
    liveness.market_closed(at(100.0))
    assert liveness.stale(at(160.0), {}) is None
    assert liveness.of_socket(at(100.0), 0) is Silence.PING_TIMEOUT
