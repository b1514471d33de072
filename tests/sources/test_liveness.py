"""When silence means that a connection is dead, by the time that is brought."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize("step_s", [-3_600.0, 25.0, 3_600.0])
def test_stamps_of_a_clock_that_steps_say_only_that_something_came(step_s: float) -> None:
    liveness = Liveness([TRADES], BEGIN_NS)
    for second in range(120):
        stamp_ns = at(second + (step_s if second > 60 else 0.0))
        assert liveness.of_socket(at(second), stamp_ns) is Silence.NORMAL
        assert liveness.stale(at(second), {"trades": stamp_ns}) is None
    assert liveness.of_socket(at(119 + PING_IDLE_S) + 1, stamp_ns) is Silence.PING
    assert liveness.stale(at(119 + 60), {"trades": stamp_ns}) is None
    assert liveness.stale(at(119 + 60) + 1, {"trades": stamp_ns}) is TRADES
