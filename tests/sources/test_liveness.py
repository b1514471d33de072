"""When silence means that a connection, or an instrument on it, is dead; by the time that is brought."""

from __future__ import annotations

import pytest

from etl.model.times import NS_PER_S
from etl.sources.liveness import (
    PING_IDLE_S,
    PING_REPLY_S,
    SILENCE_MAX_S,
    SILENCES_FACTOR,
    SILENCES_RECENT,
    Liveness,
    Pace,
    Silence,
)

BEGIN_NS = 1_790_000_000 * NS_PER_S
FLOOR_S = 60.0


def at(seconds: float) -> int:
    return BEGIN_NS + int(seconds * NS_PER_S)


def heard(*seconds: float, floor_s: float = FLOOR_S) -> Pace:
    pace = Pace(floor_s)
    for second in seconds:
        pace.hear(at(second), BEGIN_NS)
    return pace


def allowed_s(pace: Pace) -> float:
    return pace.allowed_ns / NS_PER_S


def test_a_silent_socket_is_pinged_and_given_up_when_it_does_not_answer() -> None:
    liveness = Liveness(BEGIN_NS)
    assert liveness.of_socket(at(PING_IDLE_S), 0) is Silence.NORMAL
    assert liveness.of_socket(at(PING_IDLE_S) + 1, 0) is Silence.PING
    assert liveness.of_socket(at(PING_IDLE_S + PING_REPLY_S), 0) is Silence.PING
    assert liveness.of_socket(at(PING_IDLE_S + PING_REPLY_S) + 1, 0) is Silence.PING_TIMEOUT
    assert liveness.of_socket(at(40.0), at(39.0)) is Silence.NORMAL


def test_silence_while_reading_is_paused_counts_for_nothing() -> None:
    liveness = Liveness(BEGIN_NS)
    assert liveness.channels_from_ns == BEGIN_NS
    liveness.excuse(at(100.0))
    assert liveness.of_socket(at(101.0), 0) is Silence.NORMAL
    assert liveness.channels_from_ns == at(100.0)


def test_a_closed_market_excuses_its_channels_and_not_the_socket() -> None:
    liveness = Liveness(BEGIN_NS)
    liveness.market_closed(at(100.0))
    assert liveness.channels_from_ns == at(100.0)
    assert liveness.of_socket(at(100.0), 0) is Silence.PING_TIMEOUT


@pytest.mark.parametrize("step_s", [-3_600.0, 25.0, 3_600.0])
def test_stamps_of_a_clock_that_steps_say_only_that_something_came(step_s: float) -> None:
    liveness = Liveness(BEGIN_NS)
    for second in range(120):
        stamp_ns = at(second + (step_s if second > 60 else 0.0))
        assert liveness.of_socket(at(second), stamp_ns) is Silence.NORMAL
    assert liveness.of_socket(at(119 + PING_IDLE_S) + 1, stamp_ns) is Silence.PING


def test_what_was_never_heard_may_be_silent_for_what_the_venue_file_says() -> None:
    assert allowed_s(heard()) == FLOOR_S
    assert heard().silent_ns(at(61.0), BEGIN_NS) == 61 * NS_PER_S


def test_an_instrument_may_be_silent_for_several_times_its_longest_silence_of_late() -> None:
    assert allowed_s(heard(0.0, 1.0, 2.0)) == FLOOR_S
    assert allowed_s(heard(0.0, 100.0)) == SILENCES_FACTOR * 100.0
    assert allowed_s(heard(0.0, 100.0, 101.0)) == SILENCES_FACTOR * (100.0 - 100.0 / SILENCES_RECENT)
    assert allowed_s(heard(0.0, 1e6)) == SILENCE_MAX_S
    assert allowed_s(heard(0.0, 1e6, floor_s=5_000.0)) == 5_000.0


def test_a_long_silence_is_forgotten_by_the_events_after_it() -> None:
    assert allowed_s(heard(*range(0, 3_000, 300), *range(3_000, 3_300))) == FLOOR_S


def test_silence_of_ours_is_not_learned_as_the_instrument_s() -> None:
    pace = heard(0.0)
    pace.hear(at(500.0), at(400.0))  # reading was paused until then
    assert allowed_s(pace) == FLOOR_S
    assert pace.silent_ns(at(520.0), at(400.0)) == 20 * NS_PER_S
    assert pace.silent_ns(at(520.0), at(510.0)) == 10 * NS_PER_S


def test_each_look_into_a_silence_makes_the_next_one_later() -> None:
    pace, asked, now_s = heard(0.0), [], 0.0
    while now_s < 10_000.0:
        now_s += 1.0
        if pace.silent_ns(at(now_s), BEGIN_NS) > pace.allowed_ns:
            pace.judge(at(now_s), BEGIN_NS)
            asked.append(now_s)
    waits = [later - earlier for earlier, later in zip([0.0, *asked], asked, strict=False)]
    assert waits == [61.0, 184.0, 553.0, 1660.0, 3601.0, 3601.0]
