"""docs/examples: what the toys do, to the cent. Against a gateway they run in ``test_client.py``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
from msgspec import structs

from etl.model.records import Record, Side
from tests.support.examples import example
from tests.support.gateway import gap, quote, trade


def sold(price: str) -> Record:
    return trade(1, last_price=price, side=Side.SELL)


def bought(price: str) -> Record:
    return trade(1, last_price=price, side=Side.BUY)


def test_the_market_maker_is_filled_where_a_print_goes_through_its_price() -> None:
    maker = example("market_maker").MarketMaker()
    for record in (
        sold("1"),
        quote(0),
        sold("99.0"),
        bought("98"),
        sold("98.99"),
        sold("98"),
        bought("101.01"),
    ):
        maker.take(record)  # 99.5 and 100.5 are the best: it bids 99.0 and asks 101.0
    assert (maker.fills, maker.position, maker.cash, maker.worth) == (2, 0, Decimal("0.02"), Decimal("0.02"))
    assert (maker.bid, maker.ask) == (None, None)


def test_the_market_maker_stops_at_its_limit_and_does_not_quote_over_a_gap() -> None:
    maker = example("market_maker").MarketMaker()
    for _ in range(7):
        for record in (quote(0), sold("50")):
            maker.take(record)
    assert (maker.fills, maker.position, maker.bid) == (5, Decimal("0.05"), None)
    assert maker.worth == Decimal("0.05") * (100 - 99)
    for record in (quote(0), gap(1), bought("500")):
        maker.take(record)
    assert maker.fills == 5
    assert maker.ask is None
    maker.take(structs.replace(quote(0), bid=None))
    assert maker.ask is None


def test_the_backtest_holds_from_the_bar_after_the_crossing() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    prices = [10, 9, 8, 9, 11, 14, 16, 13, 9, 8]
    trades = pl.DataFrame(
        {
            "time": [began + timedelta(minutes=minute, seconds=s) for minute in range(10) for s in (1, 59)],
            "last_price": [Decimal(price) for close in prices for price in (1, close)],
        }
    )
    backtest = example("backtest")
    bars = backtest.closes(trades)
    assert bars["close"].to_list() == prices
    found = backtest.backtest(bars, fast=1, slow=3)
    # above at the closes of 9, 11, 14 and 16: bought at the close of the bar after, and held to that of 9
    assert found["position"].to_list() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    assert found["profit"].to_list() == [0, 0, 0, 0, 0, 3, 5, 2, -2, -2]
