"""A continuity that is restored goes on as the one whose standings it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from msgspec import structs

from etl.model.records import BookAction, Gap, GapKind, Record
from etl.sequencing.continuity import Continuity
from etl.wire import codec
from tests.sequencing.test_continuity import (
    BY_COUNT,
    DAY,
    MS,
    Venue,
    bar,
    delta,
    follow,
    plain,
    quote,
    silent,
    trade,
)

LATER_NS = DAY + 3_600_000 * MS
RECORDS: dict[str, Callable[[int], Record]] = {
    "trade": trade,
    "range": lambda number: delta(number, number),
    "pointer": lambda number: delta(number, number, number - 1),
    "quote": quote,
    "plain": plain,
    "kline_1m": bar,
    "silent": silent,
}


def new() -> Continuity:
    return Continuity(Venue, window=BY_COUNT)


def restored(continuity: Continuity) -> Continuity:
    again = new()
    for key, standing in continuity.standings().items():
        newest = standing.newest and codec.decode(codec.encode(standing.newest))
        again.restore(key, structs.replace(standing, newest=newest))
    return again


def lose(continuity: Continuity, kind: GapKind = GapKind.DISCONNECT) -> list[Gap]:
    return list(continuity.lost(kind, "cut", LATER_NS))


@pytest.mark.parametrize("make", RECORDS.values(), ids=RECORDS)
@pytest.mark.parametrize("was_lost", [False, True])
def test_what_comes_after_a_restart_gives_the_gaps_that_it_would_have_given_without(
    make: Callable[[int], Record], was_lost: bool
) -> None:
    first = new()
    follow([make(number) for number in range(1, 6)], first)
    if was_lost:
        lose(first)
    second = restored(first)
    assert lose(second) == lose(first)
    news = [make(9), make(10)]
    found = follow(news, second)
    assert found == follow(news, first)
    assert GapKind.START not in {each.gap_kind for each in found}
    assert second.standings() == first.standings()


def test_a_channel_that_is_awaited_and_was_lost_is_awaited_still() -> None:
    first = new()
    first.expect([("BTC-USDT", "BTCUSDT")], ["trade"], DAY)
    (lost,) = lose(first)
    second = restored(first)
    assert lose(second) == []
    *_, gap = follow([trade(1)], second)
    assert (gap.record_key, gap.from_time_ns, gap.to_time_ns) == (lost.record_key, DAY, DAY + MS)


def test_a_broken_book_stays_broken_until_its_snapshot() -> None:
    first = new()
    follow([delta(1, 1), delta(2, 2)], first)
    (lost,) = lose(first, GapKind.CHECKSUM)
    second = restored(first)
    snapshot = structs.replace(delta(9, 9), book_action=BookAction.SNAPSHOT)
    gaps: Sequence[Gap] = second.observe(snapshot)
    assert [(gap.record_key, gap.to_time_ns) for gap in gaps] == [(lost.record_key, DAY + 9 * MS)]


def test_what_is_followed_already_is_not_set_back() -> None:
    first, second = new(), new()
    follow([trade(1)], first)
    follow([trade(number) for number in range(1, 8)], second)
    for key, standing in first.standings().items():
        second.restore(key, standing)
    assert follow([trade(8)], second) == []


def test_a_channel_that_spoke_before_and_is_not_known_has_no_start() -> None:
    continuity = new()
    continuity.expect([("BTC-USDT", "BTCUSDT")], ["trade"], DAY, has_past=True)
    lose(continuity)
    assert [gap.gap_kind for gap in follow([trade(7)], continuity)] == [GapKind.DISCONNECT]
