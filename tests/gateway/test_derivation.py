"""What the gateway makes of records on the way: pure, held to the bars of the lake."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest
from msgspec import structs

from etl.client.told_bars import ToldBars
from etl.errors import UsageError
from etl.gateway.derivation import INSTRUMENTS_MAX, Derivation, make_plan
from etl.gateway.entry import Entry
from etl.gateway.selection import make_selection
from etl.gateway.trade_bars import IDENTITIES_MAX, TradeBars
from etl.lake.derived import derive
from etl.model.derived import AnyDerived, BookTop, Mid, TradeBar
from etl.model.records import Book, BookAction, GapKind, GapState, Quote, Record, SizeUnit, Trade
from etl.model.sale_conditions import SALE_CONDITIONS
from etl.settings import Settings
from etl.wire.codec import encode
from tests.support import lake, stream
from tests.support.gateway import BASE_NS, gap, of_kind, trade

S = 1_000_000_000
MS = 1_000_000
LENGTHS_NS = {"1s": S, "1m": 60 * S}
CODES = [code for one in SALE_CONDITIONS for code in (*one.polygon, *one.cta, *one.other)] + ["T", "12"] * 9


def some_prints() -> list[Trade]:
    """A minute and a half of four symbols, out of order, with conditions, twice told, and without a venue's time."""
    chance = random.Random(20)
    markets = [("binance", "BTC-USDT", SizeUnit.BASE, ""), ("polygon", "EEM", SizeUnit.SHARE, ""),
               ("alpaca", "EEM", SizeUnit.SHARE, "A"), ("alpaca", "QQQ", SizeUnit.SHARE, "C")]  # fmt: skip
    prints: list[Trade] = []
    for number in range(900):
        exchange, symbol, unit, tape = chance.choice(markets)
        time_ns = stream.START_NS // (60 * S) * 60 * S + chance.randrange(90_000) * MS
        one = stream.trade(
            number, exchange, time_ns, symbol=symbol, size_unit=unit, tape=tape,
            last_price=f"{chance.randrange(1, 10**9)}.{chance.randrange(10**8):08}",
            volume=f"{chance.randrange(10**3)}.{chance.randrange(10**8):08}",
            conditions=tuple(chance.sample(CODES, chance.choice((0, 0, 0, 1, 2)))),
            sequence=chance.choice((None, number)),
        )  # fmt: skip
        prints.append(structs.replace(one, event_time_ns=0) if number % 50 == 0 else one)
    prints.sort(key=lambda one: one.key_time_ns + chance.randrange(3_000) * MS)
    return prints


def test_bars_are_those_of_the_lake(settings: Settings) -> None:
    prints = some_prints()
    makers: dict[tuple[str, str], TradeBars] = {}
    told: dict[tuple[str, str, str, int], TradeBar] = {}
    for one in prints:
        maker = makers.setdefault((one.exchange, one.symbol), TradeBars(one.exchange, one.symbol, LENGTHS_NS))
        for _ in range(1 + (one.frame_sequence % 20 == 0)):
            maker.take(one)
        told |= {(bar.interval, bar.exchange, bar.symbol, bar.time_ns): bar for bar in maker.told()}
    for maker in makers.values():
        maker.close(1 << 62)
        told |= {(bar.interval, bar.exchange, bar.symbol, bar.time_ns): bar for bar in maker.told()}
    assert not any(bar.late_trades for bar in told.values())
    assert any(bar.extended_hours for bar in told.values())
    found = {key: values_of(bar) for key, bar in told.items()}
    lake.export_records(settings, [one for one in prints if one.event_time_ns])
    derive(settings)
    expected = {
        (interval, row[0], row[1], row[2]): row[3:]
        for interval in LENGTHS_NS
        for row in lake.query(
            settings,
            "SELECT exchange, symbol, epoch_ns(time), open, high, low, close, volume, turnover, trades,"
            f" extended_hours FROM ohlcv_{interval}",
        )
    }
    assert len(expected) > 250
    assert found == expected


def values_of(bar: TradeBar) -> tuple[Any, ...]:
    numbers = (bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover)
    exact = [Decimal(text) if text is not None else None for text in numbers]
    return (*exact, bar.trade_count, bar.extended_hours)


def derivation(**wanted: Any) -> Derivation:
    plan = make_plan(
        wanted.get("bars", ()), wanted.get("book", 0), wanted.get("mid", False), wanted.get("every_ms", 100)
    )
    return Derivation(plan, structs.replace(make_selection(), kinds=plan.kinds()))


def entries(records: Iterable[Record]) -> list[Entry]:
    return [
        Entry(0, offset, (f"{one.exchange}:{one.symbol}".encode(), int(one.kind)), encode(one))
        for offset, one in enumerate(records)
    ]


def at(after_ms: int, number: int = 0, **values: Any) -> Trade:
    """Traded so long after ``BASE_NS``, received as soon."""
    time_ns = BASE_NS + after_ms * MS
    return trade(
        number or after_ms, event_time_ns=time_ns, key_time_ns=time_ns, receive_time_ns=time_ns, **values
    )


def short(made: Iterable[AnyDerived]) -> list[tuple[Any, ...]]:
    return [
        ((one.time_ns - BASE_NS) // S, one.bar_state, one.trade_count, one.is_whole, one.late_trades)
        for one in made
        if isinstance(one, TradeBar)
    ]


def test_a_bar_is_closed_by_a_later_print_or_by_the_clock_and_revised_by_a_late_one() -> None:
    made = derivation(bars=["5s"])
    assert short(made.take(entries([at(0), at(4_999), at(5_000)]))) == [(0, "closed", 2, True, 0)]
    assert short(made.take(entries([at(6_000)]))) == []
    made.advance(BASE_NS + 10_900 * MS)
    assert made.told() == []  # what was traded at its end may still be on its way
    made.advance(BASE_NS + 11_000 * MS)
    assert short(made.told()) == [(5, "closed", 2, True, 0)]
    late = [at(9_000, 90), at(9_001, 91)]
    assert short(made.take(entries(late))) == [(5, "revised", 4, True, 0)]
    assert short(made.take(entries(late))) == []  # the same prints
    far = [at(100_000), at(1_000, 92), at(100_001), at(105_000)]
    assert short(made.take(entries(far))) == [(100, "closed", 2, True, 1)]


def test_a_bar_has_its_prints_however_far_behind_the_clock_they_are_read() -> None:
    made = derivation(bars=["1s"])
    prints = [at(100 * number) for number in range(200)]
    told: dict[int, int] = {}
    for first in range(0, 200, 7):
        made.advance(BASE_NS + 60 * S + first * 100 * MS)
        told |= {one[0]: one[2] for one in short(made.take(entries(prints[first : first + 7])))}
    assert told == dict.fromkeys(range(20), 10)


def test_a_quiet_bar_is_closed_by_what_its_own_partition_has_been_read_up_to() -> None:
    made = derivation(bars=["1s"])
    ahead, behind = entries([at(30_000)]), entries([at(400, symbol="ETH-USDT")])
    behind[0].partition = 1
    assert made.take([*ahead, *behind], {0: BASE_NS + 30_000 * MS}) == []
    assert made.take([], {1: BASE_NS + 1_900 * MS}) == []
    (bar,) = made.take([], {1: BASE_NS + 2_000 * MS})
    assert (bar.symbol, *short([bar])[0][:3]) == ("ETH-USDT", 0, "closed", 1)


def test_a_bar_of_which_the_stream_may_have_missed_a_print_says_so() -> None:
    made = derivation(bars=["5s"])
    for one in (at(1_000), at(6_000)):
        made.take_record(one, 0)
    made.lack(0, BASE_NS + 2_000 * MS)
    made.settle({0: BASE_NS + 6_000 * MS})
    assert made.told() == []  # it was told before this stream began
    assert short(made.take(entries([at(2_000), at(6_000)]))) == []  # whole there, and not here
    assert short(made.take(entries([at(10_000)]))) == [(5, "closed", 1, True, 1)]
    made.miss(0)
    assert short(made.take(entries([at(11_000), at(15_000), at(20_000)]))) == [
        (10, "closed", 2, False, 0), (15, "closed", 1, True, 0),
    ]  # fmt: skip
    made.finish(BASE_NS + 25_500 * MS)
    assert short(made.told()) == [(20, "closed", 1, False, 0)]


def test_bars_that_end_before_the_stream_begins_are_not_told() -> None:
    made = derivation(bars=["5s"])
    made.bars_from_ns = BASE_NS + 5_000 * MS
    made.pass_over(entries([at(3_000), at(5_500)]))
    assert short(made.take(entries([at(10_000)]))) == [(5, "closed", 1, True, 0)]


def test_identities_and_instruments_are_bounded() -> None:
    bars = TradeBars("binance", "BTC-USDT", LENGTHS_NS)
    for number in range(IDENTITIES_MAX + 10):
        bars.take(at(0, number + 1))
    bars.take(at(0, IDENTITIES_MAX))
    bars.take(at(0, 1))
    bars.close(1 << 62)
    assert {bar.trade_count for bar in bars.told()} == {IDENTITIES_MAX + 11}
    made = derivation(mid=True)
    for number in range(INSTRUMENTS_MAX):
        made.take_record(of_kind(Quote, 0, f"S{number}"))
    made.take_record(gap(0, "S-none"))
    with pytest.raises(UsageError, match="more than 200 instruments"):
        made.take_record(of_kind(Quote, 0, "one-more"))


def change(number: int, action: BookAction, bids: dict[str, str], asks: dict[str, str]) -> Record:
    return of_kind(
        Book, number, channel="depth@100ms", book_action=action, sequence=number, first_sequence=number,
        bid_prices=tuple(bids), bid_sizes=tuple(bids.values()),
        ask_prices=tuple(asks), ask_sizes=tuple(asks.values()),
    )  # fmt: skip


def tops(made: Iterable[AnyDerived]) -> list[tuple[Any, ...]]:
    return [
        (one.sequence, one.is_joined, one.bid_prices, one.bid_sizes, one.ask_prices, one.ask_sizes)
        for one in made
        if isinstance(one, BookTop)
    ]


def test_a_books_best_levels_come_at_their_pace_and_only_if_they_changed() -> None:
    made = derivation(book=2, every_ms=100)
    whole = change(1, BookAction.SNAPSHOT, {"9": "1", "8": "2", "7": "3"}, {"11": "1", "12": "2"})
    assert tops(made.take(entries([whole]))) == []
    changes = [change(n, BookAction.ABSOLUTE, {"9": f"{n}"}, {}) for n in range(2, 102)]
    found = tops(made.take(entries(changes)))
    assert found == [(99, True, ("9", "8"), ("99", "2"), ("11", "12"), ("1", "2"))]
    deep = change(102, BookAction.ABSOLUTE, {"7": "0"}, {})
    assert [one[3] for one in tops(made.take(entries([deep, change(210, BookAction.ABSOLUTE, {}, {})])))] == [
        ("101", "2")
    ]
    broken = structs.replace(gap(211), channel="depth@100ms", gap_kind=GapKind.DISCONNECT,
                             gap_state=GapState.OPEN, from_sequence=None, to_sequence=None)  # fmt: skip
    made.take_record(broken)
    made.advance(BASE_NS + 900 * MS)
    assert tops(made.told()) == [(102, False, (), (), (), ())]
    made.advance(BASE_NS + 2_000 * MS)
    assert made.told() == []


def test_mid_and_spread_are_exact() -> None:
    made = derivation(mid=True, every_ms=20)
    quotes = [
        of_kind(Quote, 0, bid="0.00000001", ask="0.00000004"),
        of_kind(Quote, 30, bid="0.00000001", ask="0.00000004", bid_size="3"),
        of_kind(Quote, 60, bid="12345678901234567890.1", ask=None),
        of_kind(Quote, 90, bid="1", ask="2"),
    ]
    found = [one for one in made.take(entries(quotes)) if isinstance(one, Mid)]
    assert [(one.bid, one.ask, one.mid, one.spread) for one in found] == [
        ("0.00000001", "0.00000004", "0.000000025", "0.00000003"),
        ("12345678901234567890.1", None, None, None),
    ]
    made.advance(BASE_NS + S)
    (last,) = made.told()
    assert isinstance(last, Mid)
    assert (last.mid, last.spread, last.receive_time_ns) == ("1.5", "1", BASE_NS + 90 * MS)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({}, "bars, book or mid"),
        ({"bars": ["500ms"]}, "bars last 1s to 1d"),
        ({"bars": ["2d"]}, "bars last 1s to 1d"),
        ({"bars": [f"{n}s" for n in range(1, 10)]}, "at most 8 lengths"),
        ({"book": 101}, "1 to 100 levels"),
        ({"mid": True, "every_ms": 19}, "every_ms of 20 to 60000"),
    ],
)
def test_what_cannot_be_made_is_refused(wanted: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        derivation(**wanted)


def test_a_client_is_not_told_the_same_bar_twice() -> None:
    had = ToldBars()
    bar = TradeBar(
        exchange="binance", symbol="BTC-USDT", interval="5s", time_ns=5 * S, open="1", trade_count=3
    )
    mid = Mid(exchange="binance", symbol="BTC-USDT", event_time_ns=1, receive_time_ns=2)
    more = structs.replace(bar, trade_count=4, bar_state="revised")
    assert had.new([bar, mid]) == [bar, mid]
    assert had.new([structs.replace(bar, late_trades=2), mid]) == [mid]
    assert had.new([more, structs.replace(more, bar_state="closed")]) == [more]
    for number in range(2, 30):
        assert len(had.new([structs.replace(bar, time_ns=number * 5 * S)])) == 1
    assert had.new([more]) == []
