from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from etl.model.records import Kind
from etl.validation import Checker
from etl.validation.batch import bar_view, cast_decimals, check_batch, quote_view, trade_view
from etl.validation.checker import INTERVAL_NS
from etl.validation.specs import DAY_NS, specs_for
from etl.validation.statistics import SymbolStatistics, band_of
from tests.support.venues import BAR, GOOD, NOW_NS, Venue

SPECS = specs_for(Venue)
STATISTICS = SymbolStatistics("test_venue", "BTC-USDT", 60_000.0, 0.0, 0.01, 30, NOW_NS)
TEXTS = ["60000", "61900", "61900.5", "90000", "0", "-1", None, "99999999999999", "0.5", "9999999999999999"]
TIMES = [NOW_NS, 0, 1, NOW_NS + 2 * DAY_NS, 2**63 - 1]
DECIMAL_FIELDS = {
    Kind.TRADE: {"price": "last_price", "size": "volume"},
    Kind.QUOTE: {"bid": "bid", "bid_size": "bid_size", "ask": "ask", "ask_size": "ask_size"},
    Kind.BAR: {"open": "open", "high": "high", "low": "low", "close": "close", "size": "volume"},
}
VIEWS: dict[Kind, Callable[..., Any]] = {Kind.TRADE: trade_view, Kind.QUOTE: quote_view, Kind.BAR: bar_view}


@pytest.mark.parametrize(("kind", "figures"), [*((kind, None) for kind in VIEWS), (Kind.TRADE, 5)])
def test_batch_and_record_give_the_same_codes_for_the_same_rows(kind: Kind, figures: int | None) -> None:
    step = None if figures is None else 0.01
    statistics = msgspec.structs.replace(STATISTICS, price_step=step, price_figures=figures)
    chance = random.Random(7)
    good_time = GOOD[kind].event_time_ns
    records = []
    for row in range(2_000):
        texts = {name: chance.choice(TEXTS) for name in DECIMAL_FIELDS[kind].values()}
        time_ns = chance.choice([good_time] * 5 + TIMES)
        records.append(
            msgspec.structs.replace(GOOD[kind], record_key=str(row), event_time_ns=time_ns, **texts)
        )
    columns = {
        column: cast_decimals(pa.array([getattr(record, name) for record in records], pa.string()))
        for column, name in DECIMAL_FIELDS[kind].items()
    }
    for name in ("event_time_ns", "receive_time_ns", "size_unit"):
        columns[name] = np.array([getattr(record, name) for record in records], np.int64)
    columns["interval_ns"] = np.full(len(records), INTERVAL_NS[BAR.interval])
    options: dict[str, Any] = {"bands": [band_of(statistics, SPECS[kind])]} if kind is Kind.TRADE else {}
    found: list[list[str]] = [[] for _ in records]
    for finding in check_batch(VIEWS[kind](columns, SPECS[kind], None, **options), SPECS[kind]):
        found[finding.row].append(finding.code)

    for record, codes in zip(records, found, strict=True):
        checker = Checker(Venue, [statistics], judge_lateness=False)
        assert codes == [finding.code for finding in checker.check(record)]
    assert sum(map(bool, found)) > 500
    assert any("price_off_tick" in codes for codes in found) == bool(figures)


def test_text_that_is_no_number_is_refused_by_the_cast() -> None:
    with pytest.raises(pa.ArrowInvalid):
        cast_decimals(pa.array(["1.5", "abc"]))


def test_absent_decimal_is_nan_in_the_batch() -> None:
    assert np.isnan(cast_decimals(pa.array(["1.5", None], pa.string()))).tolist() == [False, True]
