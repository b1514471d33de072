from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter.contract import Exchange
from etl.errors import UsageError
from etl.model.codes import CORRECTED, Code
from etl.model.records import Correction, Kind, Record, Severity, SizeUnit, Source, Stats, Status
from etl.model.times import NS_PER_MS
from etl.validation import Checker
from etl.validation.specs import DAY_NS, SPECS, specs_for
from etl.validation.statistics import SymbolStatistics
from tests.support.venues import BAR, GOOD, NOW_NS, TRADE, Venue, altered

HARD, SOFT = Severity.HARD, Severity.SOFT


def verdict(record: Any, **options: Any) -> list[tuple[str, Severity]]:
    return [(finding.code, finding.severity) for finding in Checker(Venue, **options).check(record)]


@pytest.mark.parametrize("kind", GOOD)
def test_good_record_has_no_findings(kind: Kind) -> None:
    assert verdict(GOOD[kind]) == []


BROKEN: list[tuple[Kind, dict[str, Any], list[tuple[Code, Severity]]]] = [
    (Kind.TRADE, {"event_time_ns": 0}, [(Code.EVENT_TIME_MISSING, HARD)]),
    (Kind.TRADE, {"event_time_ns": 1}, [(Code.EVENT_TIME_BEFORE_MARKET, HARD)]),
    (Kind.TRADE, {"event_time_ns": NOW_NS // 1000}, [(Code.EVENT_TIME_BEFORE_MARKET, HARD)]),
    (Kind.TRADE, {"event_time_ns": -1}, [(Code.EVENT_TIME_BEFORE_MARKET, HARD)]),
    (Kind.TRADE, {"event_time_ns": NOW_NS + 2 * DAY_NS}, [(Code.EVENT_TIME_IN_FUTURE, HARD)]),
    (Kind.TRADE, {"event_time_ns": 2**63 - 1}, [(Code.EVENT_TIME_IN_FUTURE, HARD)]),
    (Kind.TRADE, {"publish_time_ns": 1_723_161_255}, [(Code.TIME_IMPLAUSIBLE, HARD)]),
    (Kind.TRADE, {"publish_time_ns": 2**63 - 1}, [(Code.TIME_IMPLAUSIBLE, HARD)]),
    (Kind.TRADE, {"participant_time_ns": NOW_NS + 2 * DAY_NS}, [(Code.TIME_IMPLAUSIBLE, HARD)]),
    (Kind.TRADE, {"last_price": None}, [(Code.PRICE_MISSING, HARD)]),
    (Kind.TRADE, {"last_price": "0"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.TRADE, {"last_price": "-1.5"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.TRADE, {"last_price": "10000000000001"}, [(Code.PRICE_IMPLAUSIBLE, HARD)]),
    (Kind.TRADE, {"last_price": "NaN"}, [(Code.DECIMAL_MALFORMED, HARD)]),
    (Kind.TRADE, {"last_price": ""}, [(Code.DECIMAL_MALFORMED, HARD)]),
    (Kind.TRADE, {"last_price": "1." + "1" * 31}, [(Code.DECIMAL_OVERFLOW, HARD)]),
    (Kind.TRADE, {"volume": "9" * 20}, [(Code.DECIMAL_OVERFLOW, HARD)]),
    (Kind.TRADE, {"volume": None}, [(Code.SIZE_MISSING, HARD)]),
    (Kind.TRADE, {"volume": "-0.1"}, [(Code.SIZE_NEGATIVE, HARD)]),
    (Kind.TRADE, {"volume": "0"}, [(Code.SIZE_ZERO, SOFT)]),
    (Kind.TRADE, {"volume": "100000001", "size_unit": SizeUnit.SHARE}, [(Code.SIZE_ODD, SOFT)]),
    (Kind.TRADE, {"volume": "4294967295", "size_unit": SizeUnit.SHARE}, [(Code.SIZE_IMPLAUSIBLE, HARD)]),
    (Kind.QUOTE, {"bid": "-1"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.QUOTE, {"ask": "10000000000001"}, [(Code.PRICE_IMPLAUSIBLE, HARD)]),
    (Kind.QUOTE, {"bid_size": "-1"}, [(Code.SIZE_NEGATIVE, HARD)]),
    (Kind.QUOTE, {"ask_size": "1" + "0" * 16}, [(Code.SIZE_IMPLAUSIBLE, HARD)]),
    (Kind.QUOTE, {"bid": "0"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.QUOTE, {"bid": "0", "size_unit": SizeUnit.CONTRACT}, []),
    (Kind.QUOTE, {"bid": "0", "bid_size": "0"}, []),
    (Kind.QUOTE, {"publish_time_ns": 1, "event_time_ns": 0}, [(Code.TIME_IMPLAUSIBLE, HARD)]),
    (Kind.QUOTE, {"bid": None, "ask": None}, [(Code.QUOTE_EMPTY, SOFT)]),
    (Kind.QUOTE, {"bid": "61838"}, [(Code.QUOTE_CROSSED, SOFT)]),
    (Kind.QUOTE, {"bid": "61837.640"}, [(Code.QUOTE_LOCKED, SOFT)]),
    (Kind.BOOK, {"bid_sizes": ("1",)}, [(Code.LEVELS_UNEVEN, HARD)]),
    (Kind.BOOK, {"bid_prices": ("61837.63", "0")}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.BOOK, {"ask_prices": ("abc",)}, [(Code.DECIMAL_MALFORMED, HARD)]),
    (Kind.BOOK, {"ask_prices": ("61838", "1." + "1" * 31)}, [(Code.DECIMAL_OVERFLOW, HARD)]),
    (Kind.BOOK, {"ask_prices": ("10000000000001",)}, [(Code.PRICE_IMPLAUSIBLE, HARD)]),
    (Kind.BOOK, {"ask_sizes": ("-2",)}, [(Code.SIZE_NEGATIVE, HARD)]),
    (Kind.BOOK, {"ask_sizes": ("1" + "0" * 16,)}, [(Code.SIZE_IMPLAUSIBLE, HARD)]),
    (Kind.BOOK, {"ask_prices": ("61837.63",)}, [(Code.BOOK_CROSSED, HARD)]),
    (Kind.BAR, {"interval": ""}, [(Code.INTERVAL_MISSING, HARD)]),
    (Kind.BAR, {"open": None}, [(Code.PRICE_MISSING, HARD)]),
    (Kind.BAR, {"low": "-1"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.BAR, {"high": "10000000000001"}, [(Code.PRICE_IMPLAUSIBLE, HARD)]),
    (Kind.BAR, {"high": "2.5"}, [(Code.OHLC_INCONSISTENT, HARD)]),
    (Kind.BAR, {"low": "2.5"}, [(Code.OHLC_INCONSISTENT, HARD)]),
    (Kind.BAR, {"volume": "-1"}, [(Code.SIZE_NEGATIVE, HARD)]),
    (Kind.BAR, {"vwap": "inf"}, [(Code.DECIMAL_MALFORMED, HARD)]),
    (Kind.BAR, {"vwap": "-2"}, [(Code.PRICE_NOT_POSITIVE, HARD)]),
    (Kind.BAR, {"taker_buy_volume": "-1"}, [(Code.SIZE_NEGATIVE, HARD)]),
    (Kind.BAR, {"taker_buy_volume": "11"}, [(Code.VOLUME_INCONSISTENT, HARD)]),
    (Kind.BAR, {"quote_volume": "30"}, []),
    (Kind.BAR, {"quote_volume": "41"}, [(Code.VOLUME_INCONSISTENT, HARD)]),
    (Kind.BAR, {"quote_volume": "9"}, [(Code.VOLUME_INCONSISTENT, HARD)]),
    (Kind.BAR, {"event_time_ns": BAR.event_time_ns + 1}, [(Code.BAR_MISALIGNED, SOFT)]),
]


RARE: list[tuple[type[Record], dict[str, Any], list[Code]]] = [
    (Stats, {"mark_price": "60000", "funding_rate": "-0.0001", "open_interest": "0"}, []),
    (Stats, {"mark_price": "0"}, [Code.PRICE_NOT_POSITIVE]),
    (Stats, {"index_price": "-1"}, [Code.PRICE_NOT_POSITIVE]),
    (Stats, {"index_price": "10000000000001"}, [Code.PRICE_IMPLAUSIBLE]),
    (Stats, {"open_interest": "-1"}, [Code.SIZE_NEGATIVE]),
    (Stats, {"funding_rate": "38.167"}, [Code.FUNDING_IMPLAUSIBLE]),
    (Stats, {"next_funding_time_ns": 1}, [Code.TIME_IMPLAUSIBLE]),
    (Stats, {"next_funding_time_ns": 2**63 - 1}, [Code.TIME_IMPLAUSIBLE]),
    (Status, {"limit_down": "99.5", "limit_up": "100.5"}, []),
    (Status, {"limit_down": "-1", "limit_up": "100.5"}, [Code.PRICE_NOT_POSITIVE]),
    (Status, {"limit_down": "100.5", "limit_up": "99.5"}, [Code.BANDS_REVERSED]),
    (Correction, {"last_price": "-1"}, [Code.PRICE_NOT_POSITIVE]),
    (Correction, {"volume": "-1"}, [Code.SIZE_NEGATIVE]),
    (Correction, {}, []),
]


@pytest.mark.parametrize(("record_type", "fields", "expected"), RARE)
def test_what_comes_seldom_is_judged_too(
    record_type: type[Record], fields: dict[str, Any], expected: list[Code]
) -> None:
    head = {name: getattr(TRADE, name) for name in Record.__struct_fields__}
    assert verdict(record_type(**{**head, **fields})) == [(str(code), HARD) for code in expected]


@pytest.mark.parametrize(("kind", "changes", "expected"), BROKEN)
def test_broken_record_gives_its_codes(
    kind: Kind, changes: dict[str, Any], expected: list[tuple[Code, Severity]]
) -> None:
    assert verdict(altered(kind, **changes)) == [(str(code), severity) for code, severity in expected]


def test_every_hard_and_soft_rule_has_a_broken_example() -> None:
    stateful = {Code.CLOCK_SKEW, Code.EVENT_TIME_STALE, Code.PRICE_FAR_OUT, Code.PRICE_DEVIATES}
    stateful |= {Code.PRICE_OFF_TICK}
    shown = {(kind, code) for kind, _, expected in BROKEN for code, _ in expected}
    times = {Code.EVENT_TIME_MISSING, Code.EVENT_TIME_BEFORE_MARKET, Code.EVENT_TIME_IN_FUTURE}
    times |= {Code.TIME_IMPLAUSIBLE}
    for kind in GOOD:
        for rule in SPECS[kind].rules:
            judged_as_trade = rule.code in times | {Code.SIZE_IMPLAUSIBLE}
            assert rule.code in stateful or (Kind.TRADE if judged_as_trade else kind, rule.code) in shown


def test_an_untimed_kind_is_not_asked_for_a_time() -> None:
    assert verdict(altered(Kind.QUOTE, event_time_ns=0)) == []


def test_a_venue_without_bounds_is_refused() -> None:
    class Nameless(Exchange):
        name = "nameless"

    with pytest.raises(UsageError, match="nameless: no validation bounds"):
        specs_for(Nameless)


def test_a_repeated_identity_is_good_with_the_same_content_and_hard_with_other() -> None:
    checker = Checker(Venue)
    assert checker.check(TRADE) == ()
    assert checker.check(TRADE) == ()
    other = altered(Kind.TRADE, last_price="61837.64")
    assert [finding.code for finding in checker.check(other)] == ["identity_conflict"]


def test_a_source_of_coarser_times_or_other_digits_contradicts_nothing() -> None:
    """Polygon's stream sends milliseconds, its history nanoseconds of the same trade."""
    checker = Checker(Venue)
    key_time_ns = TRADE.key_time_ns
    precise = altered(Kind.TRADE, event_time_ns=TRADE.event_time_ns + 123_456, last_price="61837.630")
    assert precise.key_time_ns == key_time_ns
    assert [checker.check(record) for record in (TRADE, precise, TRADE)] == [(), (), ()]
    later = altered(Kind.TRADE, key_time_ns=key_time_ns + NS_PER_MS)
    assert [finding.code for finding in checker.check(later)] == ["identity_conflict"]


def test_a_print_that_the_venue_says_to_have_corrected_contradicts_nothing_whichever_comes_first() -> None:
    corrected = altered(Kind.TRADE, last_price="61837.64", flags=(CORRECTED,))
    for records in ((TRADE, corrected, TRADE), (corrected, TRADE, corrected)):
        checker = Checker(Venue)
        assert [checker.check(record) for record in records] == [(), (), ()]
    assert [one.code for one in checker.check(altered(Kind.TRADE, last_price="1"))] == ["identity_conflict"]


def test_skew_and_staleness_are_judged_against_the_connections_own_clock() -> None:
    checker = Checker(Venue)
    offset_ns = 1_250_000_000
    for number in range(64):
        trade = altered(
            Kind.TRADE, record_key=str(number), event_time_ns=NOW_NS + offset_ns, receive_time_ns=NOW_NS
        )
        assert checker.check(trade) == ()
    times = {"receive_time_ns": NOW_NS}
    ahead = altered(Kind.TRADE, record_key="ahead", event_time_ns=NOW_NS + offset_ns + 6_000_000_000, **times)
    behind = altered(Kind.TRADE, record_key="behind", event_time_ns=NOW_NS - 901_000_000_000, **times)
    assert [(f.code, f.severity) for f in checker.check(ahead)] == [("clock_skew", SOFT)]
    assert [(f.code, f.severity) for f in checker.check(behind)] == [("event_time_stale", SOFT)]
    calm = Checker(Venue, judge_lateness=False)
    assert all(calm.check(altered(Kind.TRADE, record_key=str(n))) == () for n in range(64))
    assert calm.check(behind) == ()


STATISTICS = SymbolStatistics("test_venue", "BTC-USDT", 60_000.0, 0.0, 0.01, 30, NOW_NS)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("60000", []),
        ("61799", []),
        ("61801", [("price_deviates", SOFT)]),
        ("58199", [("price_deviates", SOFT)]),
        ("65999", [("price_deviates", SOFT)]),
        ("66001", [("price_far_out", HARD)]),
        ("53999", [("price_far_out", HARD)]),
    ],
)
def test_price_is_judged_by_deviations_from_the_previous_close(
    price: str, expected: list[tuple[str, Severity]]
) -> None:
    assert verdict(altered(Kind.TRADE, last_price=price), statistics=[STATISTICS]) == expected


def test_a_symbol_without_history_is_unknown_and_never_hard() -> None:
    young = SymbolStatistics("test_venue", "BTC-USDT", 60_000.0, 0.0, 0.01, 19, NOW_NS)
    assert verdict(altered(Kind.TRADE, last_price="1"), statistics=[young]) == []


def test_a_split_moves_the_close() -> None:
    split = SymbolStatistics("test_venue", "BTC-USDT", 60_000.0, 0.0, 0.01, 30, NOW_NS, split_factor=0.1)
    assert verdict(altered(Kind.TRADE, last_price="6000"), statistics=[split]) == []


def test_a_stablecoin_keeps_a_floor_under_its_deviation() -> None:
    stable = SymbolStatistics("test_venue", "BTC-USDT", 1.0, 0.0, 1e-6, 30, NOW_NS)
    assert verdict(altered(Kind.TRADE, last_price="1.005"), statistics=[stable]) == []


def test_price_off_its_known_step_is_soft() -> None:
    stepped = SymbolStatistics("test_venue", "BTC-USDT", 60_000.0, 0.0, 0.01, 30, NOW_NS, price_step=0.01)
    assert verdict(altered(Kind.TRADE, last_price="60000.01"), statistics=[stepped]) == []
    assert verdict(altered(Kind.TRADE, last_price="60000.015"), statistics=[stepped]) == [
        ("price_off_tick", SOFT)
    ]


@pytest.mark.parametrize(
    ("price", "is_off"),
    [
        ("105055", False), ("105055.5", True), ("99999", False), ("99999.5", True), ("9999.9", False),
        ("9999.95", True), ("1000.1", False), ("0.012345", False), ("0.0123456", True), ("0.123456", True),
    ],
)  # fmt: skip
def test_a_price_of_five_figures_has_a_step_that_grows_with_it(price: str, is_off: bool) -> None:
    stepped = SymbolStatistics(
        "test_venue", "BTC-USDT", float(price), 0.0, 0.01, 30, NOW_NS, price_step=0.000001, price_figures=5
    )
    expected = [("price_off_tick", SOFT)] if is_off else []
    assert verdict(altered(Kind.TRADE, last_price=price), statistics=[stepped]) == expected


def test_a_level_that_trades_confirm_is_admitted_and_what_waited_is_released() -> None:
    checker = Checker(Venue, [STATISTICS])
    trades = [altered(Kind.TRADE, record_key=str(n), last_price=str(90_000 + n)) for n in range(6)]
    for trade in trades[:4]:
        assert [finding.code for finding in checker.check(trade)] == ["price_far_out"]
    assert checker.check(trades[4]) == []
    assert checker.bands.released == trades[:4]
    assert checker.check(trades[5]) == ()


def test_a_normal_trade_between_them_ends_the_confirmation() -> None:
    checker = Checker(Venue, [STATISTICS])
    far = [altered(Kind.TRADE, record_key=str(n), last_price="90000") for n in range(8)]
    for trade in far[:4]:
        checker.check(trade)
    checker.check(altered(Kind.TRADE, record_key="calm", last_price="60000"))
    for trade in far[4:8]:
        assert [finding.code for finding in checker.check(trade)] == ["price_far_out"]
    assert checker.bands.released == []


def test_single_scaled_prices_never_confirm_each_other() -> None:
    checker = Checker(Venue, [STATISTICS])
    for number, price in enumerate(["600", "6000000", "600", "6000000", "600", "6000000"]):
        trade = altered(Kind.TRADE, record_key=str(number), last_price=price)
        assert [finding.code for finding in checker.check(trade)] == ["price_far_out"]


DECIMALS = st.one_of(
    st.none(),
    st.decimals(-10, 10**14, allow_nan=False, places=4).map(lambda d: format(d, "f")),
    st.sampled_from(["0", "-1", "1", "60000", "70000", "99999999999999", "0.0000000000000000001"]),
)
TIMES = st.one_of(
    st.sampled_from([0, 1, -1, NOW_NS, NOW_NS + DAY_NS, NOW_NS + DAY_NS + 2_000_000, 2**63 - 1]),
    st.integers(NOW_NS - 2 * DAY_NS, NOW_NS + 2 * DAY_NS),
)


@given(price=DECIMALS, size=DECIMALS, time_ns=TIMES, unit=st.sampled_from(SizeUnit))
def test_what_the_screen_of_trades_lets_through_no_rule_objects_to(
    price: str | None, size: str | None, time_ns: int, unit: SizeUnit
) -> None:
    trade = altered(Kind.TRADE, last_price=price, volume=size, event_time_ns=time_ns, size_unit=unit)
    assert_screen_agrees_with_rules(trade)


@given(bid=DECIMALS, bid_size=DECIMALS, ask=DECIMALS, ask_size=DECIMALS, time_ns=TIMES)
def test_what_the_screen_of_quotes_lets_through_no_rule_objects_to(
    bid: str | None, bid_size: str | None, ask: str | None, ask_size: str | None, time_ns: int
) -> None:
    quote = altered(Kind.QUOTE, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size, event_time_ns=time_ns)
    assert_screen_agrees_with_rules(quote)


def assert_screen_agrees_with_rules(record: Any) -> None:
    class Unscreened(Checker):
        def _on_time(self, *_: Any) -> bool:
            return False  # nothing passes the screen: every rule is asked

    screened = Checker(Venue, [STATISTICS]).check(record)
    judged = Unscreened(Venue, [STATISTICS]).check(record)
    assert [f.code for f in screened] == [f.code for f in judged]


def test_history_without_receive_time_is_judged_by_absolute_bounds() -> None:
    trade = altered(Kind.TRADE, receive_time_ns=0, source=Source.BACKFILL)
    assert verdict(trade) == []
    late = altered(Kind.TRADE, receive_time_ns=0, event_time_ns=5_000_000_000_000_000_000)
    assert verdict(late) == [(str(Code.EVENT_TIME_IN_FUTURE), HARD)]
