"""What a spin-off and a merger do to adjusted bars, held against a truth in Decimal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

import msgspec
import pytest

from etl.model.records import Bar
from etl.model.reference import CORPORATE_ACTIONS, SYMBOL_NAMES, CorporateAction, SymbolName
from etl.reference.recorded import record
from etl.settings import Settings
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from tests.reference.test_corporate_actions import DAYS, MONDAY_NS, action, bar_of, store_everywhere
from tests.reference.test_symbol_statistics import DAY_NS
from tests.support.lake import query

CLOSES = ["100.00", "102.50", "91.00", "91.50", "45.00"]
"""Of OLD, which is called PARENT from Tuesday on, gives a share of CHILD for four on Wednesday, splits on Friday."""
CHILD_OPEN, CHILD_CLOSE = "42.40", "44.00"
GIVEN = 1 - Decimal(CHILD_OPEN) / 4 / Decimal(CLOSES[1])
GIVEN_LATE = 1 - Decimal("1.00") / 4 / Decimal(CLOSES[2])
"""By Thursday's open of CHILD."""
ONE, HALF = Decimal(1), Decimal("0.5")
TOLD_NS = MONDAY_NS


def spin_off(symbol: str, new: str, day: date, before: str = "4", after: str = "1") -> CorporateAction:
    shares = {"shares_before": Decimal(before), "shares_after": Decimal(after)}
    return action("alpaca", f"O/{symbol}/{new}", symbol, "spin_off", day, new_symbol=new, **shares)


ACTIONS = {
    "polygon": [
        action("polygon", "S", "PARENT", "split", DAYS[4], shares_before=Decimal(1), shares_after=Decimal(2)),
        action("polygon", "D", "PAYS", "cash_dividend", DAYS[1], cash_amount=Decimal(1), currency="USD"),
        # more than it was worth the day before: no factor is below zero
        action("polygon", "E", "PAYS", "cash_dividend", DAYS[3], cash_amount=Decimal(500), currency="USD"),
    ],
    "alpaca": [
        action("alpaca", "S", "PARENT", "split", DAYS[4], shares_before=Decimal(1), shares_after=Decimal(2)),
        spin_off("PARENT", "CHILD", DAYS[2]),
        spin_off("LOSES", "UNSEEN", DAYS[2]),
        spin_off("LATE", "SLOW", DAYS[1]),
        action("alpaca", "R", "LOSES", "rights_distribution", DAYS[3], shares_before=Decimal(1),
               shares_after=Decimal(1)),
        action("alpaca", "M", "TARGET", "stock_merger", DAYS[3], shares_before=Decimal(1),
               shares_after=HALF, new_symbol="PARENT"),
        action("alpaca", "N", "OLD", "name_change", DAYS[1], new_symbol="PARENT"),
    ],
}  # fmt: skip
RENAMED = [(date(2020, 1, 2), "OLD"), (DAYS[1], "PARENT")]


def bars() -> Iterator[Bar]:
    for feed in ("polygon", "alpaca"):
        for number, price in enumerate(CLOSES):
            for symbol in ("LOSES", "LATE", "PAYS", "TOLD_LATE", "OLD" if number == 0 else "PARENT"):
                yield msgspec.structs.replace(bar_of(number, price, symbol), exchange=feed)
        for number in (2, 3):
            opened = CHILD_OPEN if number == 2 else "1.00"
            bar = bar_of(number, CHILD_CLOSE, "CHILD")
            yield msgspec.structs.replace(bar, exchange=feed, open=opened, low=opened)
        for number in (0, 1, 2):
            yield msgspec.structs.replace(bar_of(number, "10.00", "TARGET"), exchange=feed)
        yield msgspec.structs.replace(bar_of(9, "10.00", "SLOW"), exchange=feed)


@pytest.mark.integration
def test_adjusted_bars_know_spin_offs_and_say_what_they_do_not_know(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True, timescale=True)
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    for feed, rows in ACTIONS.items():
        record(settings, CORPORATE_ACTIONS, rows, [feed], TOLD_NS)
        names = [SymbolName(feed, "BBG01", day, name) for day, name in RENAMED]
        record(settings, SYMBOL_NAMES, names, [feed], TOLD_NS)
    store_everywhere(settings, list(bars()))
    a_spin_off_is_worth_what_the_new_share_opened_at(settings)
    what_has_no_factor_is_told(settings)
    a_dividend_above_the_price_makes_no_price_negative(settings)
    what_was_not_over_or_not_told_yet_adjusts_nothing(settings)


def a_spin_off_is_worth_what_the_new_share_opened_at(planted: Settings) -> None:
    factors = [(HALF, HALF * GIVEN)] * 2 + [(HALF, HALF)] * 2 + [(ONE, ONE)]
    rows = [
        (f"{day}", by_split, by_return, "", "", "")
        for day, (by_split, by_return) in zip(DAYS, factors, strict=True)
    ]
    for feed in ("polygon", "alpaca"):  # Polygon tells of no spin-off
        require(planted, "bars_adjusted", feed, "current_symbol = 'PARENT'", rows)


def what_has_no_factor_is_told(planted: Settings) -> None:
    loses = ["rights_distribution,spin_off"] * 2 + ["rights_distribution", "", ""]
    late = ["spin_off"] + [""] * 4  # the new stock's first bar came more than a week after the ex date
    for feed in ("polygon", "alpaca"):
        for symbol, lacks in (("LOSES", loses), ("LATE", late)):
            rows = [(f"{day}", ONE, ONE, kinds, "", "") for day, kinds in zip(DAYS, lacks, strict=True)]
            require(planted, "bars_adjusted", feed, f"symbol = '{symbol}'", rows)
        merged = [(f"{day}", ONE, ONE, "", "stock_merger", f"{DAYS[3]}") for day in DAYS[:3]]
        require(planted, "bars_adjusted", feed, "symbol = 'TARGET'", merged)


def a_dividend_above_the_price_makes_no_price_negative(planted: Settings) -> None:
    rows = [(f"{DAYS[0]}", ONE, 1 - 1 / Decimal(CLOSES[0]), "cash_dividend", "", "")]
    rows += [(f"{day}", ONE, ONE, "cash_dividend", "", "") for day in DAYS[1:3]]
    rows += [(f"{day}", ONE, ONE, "", "", "") for day in DAYS[3:]]
    require(planted, "bars_adjusted", "polygon", "symbol = 'PAYS'", rows)


def what_was_not_over_or_not_told_yet_adjusts_nothing(planted: Settings) -> None:
    """Wednesday noon in New York the new stock's first day is not over; on Thursday it is."""
    at_noon = [
        (f"{day}", ONE, ONE, lacks, "", "") for day, lacks in zip(DAYS, ["spin_off"] * 2 + [""], strict=False)
    ]
    later = [
        (f"{day}", ONE, factor, "", "", "")
        for day, factor in zip(DAYS, [GIVEN] * 2 + [ONE] * 2, strict=False)
    ]
    for time, rows in (("2026-06-03 16:00:00", at_noon), ("2026-06-04 16:00:00", later)):
        relation = f"bars_adjusted_at(known_time = '{time}')"
        require(planted, relation, "polygon", "current_symbol = 'PARENT'", rows)

    told_late = spin_off("TOLD_LATE", "CHILD", DAYS[3])
    record(planted, CORPORATE_ACTIONS, [told_late], ["alpaca"], TOLD_NS + 9 * DAY_NS, lambda row: False)
    untold = [(f"{day}", ONE, ONE, "", "", "") for day in DAYS]
    factors = [GIVEN_LATE] * 3 + [ONE] * 2
    told = [(f"{day}", ONE, factor, "", "", "") for day, factor in zip(DAYS, factors, strict=True)]
    where = "symbol = 'TOLD_LATE'"
    require(planted, "bars_adjusted_at(known_time = '2026-06-07 16:00:00')", "alpaca", where, untold)
    require(planted, "bars_adjusted", "alpaca", where, told)


Row = tuple[str, Decimal, Decimal, str, str, str]
"""Day, factors, what is unadjusted, by what and when it ended."""


def require(settings: Settings, relation: str, feed: str, where: str, expected: list[Row]) -> None:
    sql = (
        "SELECT {day}, split_factor, return_factor, unadjusted, ended_by, {ended} FROM {relation}"
        f" WHERE exchange = '{feed}' AND {where} ORDER BY time"
    )
    with connect(settings) as client:
        form = {"day": "toDate(time)", "ended": "ifNull(toString(ended_day), '')", "relation": relation}
        text = client.execute(sql.format(**form) + " FORMAT TSV").decode()
    found = {"clickhouse": [tuple(line.split("\t")) for line in text.splitlines()]}
    form = {
        "day": "time::date::text",
        "ended": "coalesce(ended_day::text, '')",
        "relation": relation.replace("known_time = ", ""),
    }
    with timescale.session(settings) as connection:
        found["timescale"] = connection.execute(sql.format(**form).encode()).fetchall()
    found["lake"] = query(settings, sql.format(**form))
    for name, rows in found.items():
        told = [(row[0], *row[3:]) for row in rows]
        assert told == [(row[0], *row[3:]) for row in expected], (name, relation, feed)
        for row, (_, by_split, by_return, *_) in zip(rows, expected, strict=True):
            factors = float(row[1]), float(row[2])
            assert factors == pytest.approx((float(by_split), float(by_return)), rel=1e-12), (name, row)
