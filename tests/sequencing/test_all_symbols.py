"""A subscription to all symbols, `*`: what a loss of it costs is told, of the symbols it gave and of the others."""

from __future__ import annotations

import msgspec
import pytest

from etl.model.records import GapKind, GapState, Record
from etl.sequencing.continuity import Continuity
from tests.sequencing.test_continuity import DAY, MS, Venue, plain


def of(number: int, symbol: str) -> Record:
    return msgspec.structs.replace(plain(number), symbol=symbol, venue_symbol=symbol.replace("-", ""))


@pytest.mark.parametrize("star", ["*", "X:*"])
def test_a_subscription_to_all_symbols_loses_each_that_it_gave_and_one_gap_tells_of_the_others(
    star: str,
) -> None:
    continuity = Continuity(Venue)
    continuity.expect([(star, star)], ["plain"], DAY)
    continuity.observe(of(1, "BTC-USDT"))
    continuity.observe(of(2, "ETH-USDT"))
    opened = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 4 * MS, [star])
    assert [(gap.symbol, gap.from_time_ns, gap.to_time_ns, gap.gap_state) for gap in opened] == [
        ("*", DAY + 2 * MS, 0, GapState.UNREPAIRABLE),
        ("BTC-USDT", DAY + 1 * MS, 0, GapState.OPEN),
        ("ETH-USDT", DAY + 2 * MS, 0, GapState.OPEN),
    ]
    assert continuity.lost(GapKind.DISCONNECT, "refused", DAY + 5 * MS, [star]) == []
    (ended,) = continuity.resumed(DAY + 6 * MS, [star])
    assert (ended.record_key, ended.to_time_ns) == (opened[0].record_key, DAY + 6 * MS)
    assert continuity.observe(of(7, "BTC-USDT")) == ()
    (closed,) = continuity.decide()
    assert (closed.record_key, closed.to_time_ns) == (opened[1].record_key, DAY + 7 * MS)
    assert [gap.gap_kind for gap in continuity.observe(of(8, "NEW-USDT"))] == [GapKind.START]
    again = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 9 * MS, [star])
    assert [(gap.symbol, gap.from_time_ns) for gap in again] == [
        ("*", DAY + 8 * MS),
        ("BTC-USDT", DAY + 7 * MS),
        ("NEW-USDT", DAY + 8 * MS),
    ]


def test_of_all_symbols_none_has_a_start_where_what_was_before_is_not_known() -> None:
    continuity = Continuity(Venue)
    continuity.expect([("*", "*")], ["plain"], DAY, has_past=True)
    continuity.remember(of(3, "BTC-USDT"))
    unknown, _ = continuity.lost(GapKind.DISCONNECT, "not running", DAY + 5 * MS, ["*"])
    assert (unknown.symbol, unknown.from_time_ns) == ("*", DAY)
    (ended,) = continuity.resumed(DAY + 6 * MS, ["*"])
    assert (ended.from_time_ns, ended.to_time_ns) == (DAY, DAY + 6 * MS)
    assert continuity.observe(of(7, "ETH-USDT")) == []
