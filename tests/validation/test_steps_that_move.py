"""A tick that moves in the middle of a day, at every venue whose list tells ticks: by the list, and ahead of it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from etl.adapter.contract import shipped_instruments
from etl.exchanges import load, names
from etl.model.instruments import Instrument
from etl.model.records import Trade
from etl.reference.instrument_steps import Steps, at, changes
from etl.reference.symbol_statistics import Row, with_steps
from etl.validation import Checker
from etl.validation.statistics import SymbolStatistics
from tests.support.venues import NOW_NS, TRADE

HOUR_NS = 3_600 * 10**9
MORNING_NS, NOON_NS, EVENING_NS = NOW_NS, NOW_NS + 4 * HOUR_NS, NOW_NS + 8 * HOUR_NS
SYMBOL = "ABC-USDT"
OFF = "price_off_tick"


def stepped(name: str) -> Instrument | None:
    """One whose step the venue's list tells, under a name of ours."""
    listed = shipped_instruments(load(name))
    found = (one for it in listed.by_symbol().values() if (one := listed.get(it)) and one.price_step)
    one = next(found, None)
    return one and replace(one, symbol=SYMBOL, price_figures=0)


STEPPED = {name: one for name in names() if (one := stepped(name))}


def known(name: str, first: str, second: str) -> SymbolStatistics:
    """After a list of the morning and one of noon."""
    told = [
        Steps(name, SYMBOL, since_ns, step)
        for begins_ns, step in ((MORNING_NS - HOUR_NS, first), (NOON_NS, second))
        for since_ns in (begins_ns, begins_ns + 1)
    ]
    kept = changes([Steps(name, SYMBOL, MORNING_NS - 3 * HOUR_NS), *told])[name, SYMBOL]
    assert kept == told[::2], "what says nothing, and the same again, says nothing new"
    then = [at(kept, time_ns) for time_ns in (MORNING_NS, EVENING_NS)]
    prices = [one.price_step if one else "" for one in then]
    assert (prices, at(kept, MORNING_NS - 2 * HOUR_NS)) == ([first, second], None)
    instrument = replace(STEPPED[name], price_step=second)
    return with_steps(Row(name, SYMBOL, 1.0, 0.0, 0.01, 0), NOON_NS, instrument, kept)


def codes(checker: Checker, time_ns: int, price: Decimal) -> list[str]:
    trade: Trade = replace(
        TRADE, symbol=SYMBOL, last_price=f"{price:f}", record_key=f"{time_ns}/{price}", event_time_ns=time_ns,
        receive_time_ns=time_ns + 1,
    )  # fmt: skip
    return [finding.code for finding in checker.check(trade)]


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_that_moves_at_noon_judges_the_morning_by_what_held_then(name: str) -> None:
    coarse = Decimal(STEPPED[name].price_step)
    fine = coarse.scaleb(-1)
    on_coarse, on_fine, on_none = 1_000 * coarse, 1_000 * coarse + fine, 1_000 * coarse + fine / 2
    finer = Checker(load(name), [known(name, f"{coarse:f}", f"{fine:f}")], judge_lateness=False)
    assert codes(finer, MORNING_NS, on_coarse) == codes(finer, EVENING_NS, on_coarse + fine) == []
    assert codes(finer, EVENING_NS, on_none) == [OFF]
    coarser = Checker(load(name), [known(name, f"{fine:f}", f"{coarse:f}")], judge_lateness=False)
    assert codes(coarser, MORNING_NS, on_fine) == codes(coarser, EVENING_NS, on_coarse) == []
    assert codes(coarser, MORNING_NS + 1, on_none) == codes(coarser, EVENING_NS, on_fine) == [OFF]


@pytest.mark.parametrize("name", STEPPED)
def test_a_step_becomes_finer_ahead_of_the_list_once_trades_show_it(name: str) -> None:
    coarse = Decimal(STEPPED[name].price_step)
    statistics = known(name, f"{2 * coarse:f}", f"{coarse:f}")
    checker = Checker(load(name), [statistics], judge_lateness=False)
    prices = [1_000 * coarse + n * coarse.scaleb(-1) for n in range(1, 8)]
    assert [codes(checker, EVENING_NS, price) for price in prices] == [[OFF]] * 5 + [[]] * 2
    checker.bands.learn([statistics])
    assert codes(checker, EVENING_NS + 1, prices[0]) == [], "the old list again"
    assert codes(checker, EVENING_NS + 1, prices[0] + coarse.scaleb(-2)) == [OFF]


def test_digits_that_no_step_has_and_prices_among_as_many_good_ones_show_no_step() -> None:
    known = SymbolStatistics("binance", SYMBOL, 60_000.0, 0.0, 0.01, 30, NOW_NS, price_step=0.01)
    checker = Checker(load("binance"), [known], judge_lateness=False)
    for n in range(20):
        assert codes(checker, NOW_NS + 2 * n, Decimal("60000.01512")) == [OFF]
        assert codes(checker, NOW_NS + 2 * n + 1, Decimal("60000.01513")) == [OFF]
    for n in range(20, 40):
        assert codes(checker, NOW_NS + 2 * n, Decimal("60000.015")) == [OFF]
        assert codes(checker, NOW_NS + 2 * n + 1, Decimal("60000.01")) == []
