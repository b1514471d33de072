"""What public reports found in the work of others, and what is right.

``docs/decisions/public_reports.md`` names the test of each; here are those that a parser alone decides.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from etl.adapter.contract import Outcome, Subscription
from etl.exchanges import load
from etl.model.records import Bar, Frame, Trade

ROOT = Path(__file__).parents[2]
NOW_NS = 1_790_000_000_000_000_000
LINES = (
    "1,91000.1,0.01,910.001,1768435200001000,False,True",
    "2,91000.1,0.01,910.001,1768435200002000,False,True",
    "3,431.8,0.0234550876,431.8,0.025,10.795,1768435200003000,False,True",
    "5,91000.1,0.01,910.001,1768435200004000,False,True",
)


def parsed(venue: str, payload: Any, endpoint: str = "wss://h/stream") -> list[Outcome]:
    text = payload if isinstance(payload, str) else json.dumps(payload, ensure_ascii=False)
    return list(load(venue)().parse(Frame(venue, "c", 1, endpoint, NOW_NS, text.encode())))


def polygon_bar(**members: Any) -> dict[str, Any]:
    start_ms = 1_789_999_980_000
    ends = {"o": 1.0, "c": 1.0, "h": 1.0, "l": 1.0, "vw": 1.0, "s": start_ms, "e": start_ms + 60_000}
    return {"ev": "AM", "sym": "BRK.A", **ends, **members}


@pytest.mark.parametrize(("whole", "decimal"), [(3, "3.4127"), (0, "0.75")])
def test_a_bar_of_fractional_shares_has_its_decimal_volume(whole: int, decimal: str) -> None:
    (bar,) = parsed("polygon", [polygon_bar(v=whole, dv=decimal)])
    assert isinstance(bar, Bar)
    assert bar.volume == decimal


@pytest.mark.parametrize("volume", [0, 1500])
def test_a_vwap_of_0_is_none(volume: int) -> None:
    event = {"T": "b", "S": "MCO", "o": 2.5, "h": 2.5, "l": 2.5, "c": 2.5, "v": volume, "n": 0, "vw": 0}
    (bar,) = parsed("alpaca", [event | {"t": "2026-04-08T13:31:00Z"}])
    assert isinstance(bar, Bar)
    assert (bar.volume, bar.vwap) == (str(volume), None)


def test_a_retail_price_improvement_print_says_so() -> None:
    row = {
        "price": "91000.1",
        "qty": "0.010",
        "quoteQty": "910.00",
        "time": 1790000000000,
        "isBuyerMaker": True,
    }
    rows = [row | {"id": 7000, "isRPITrade": True}, row | {"id": 7001, "isRPITrade": False}]
    found = parsed("binance_usdm", rows, "https://h/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=7000")
    told = [(one.trade_id, one.conditions) for one in found if isinstance(one, Trade)]
    assert told == [("7000", ("rpi",)), ("7001", ())]


def test_a_symbol_in_any_script_is_asked_for_and_read() -> None:
    symbol = "币安人生USDT"
    exchange = load("binance")
    url = exchange().connect_url("wss://h", Subscription((symbol,), ("trade",)))
    stream = f"{symbol.lower()}@trade"
    assert url in (f"wss://h/stream?streams={stream}", f"wss://h/stream?streams={quote(stream)}")
    data = {"e": "trade", "E": 1790000000000, "s": symbol, "t": 1, "p": "0.31", "q": "5", "T": 1790000000000}
    (trade,) = parsed("binance", {"stream": stream, "data": data | {"m": True, "M": True}})
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.venue_symbol, trade.trade_id) == (symbol, symbol, "1")


def test_two_lines_of_a_file_that_run_together_cost_themselves() -> None:
    endpoint = (
        "archive:https://h/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2026-01-15.csv#lines=1-4;sha256=0"
    )
    found = parsed("binance", "\n".join(LINES) + "\n", endpoint)
    assert [getattr(one, "trade_id", getattr(one, "code", "")) for one in found] == [
        "1", "2", "field_malformed", "5",
    ]  # fmt: skip


def test_every_report_names_tests_that_are_there() -> None:
    text = (ROOT / "docs/decisions/public_reports.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 25
    for path, name in named:
        source = (ROOT / path).read_text()
        assert not name or re.search(rf"def {name}\b", source), f"{path}::{name}"
