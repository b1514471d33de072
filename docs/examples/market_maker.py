"""A toy that makes a market, on the past and on now by one code path.

    python docs/examples/market_maker.py http://127.0.0.1:8060 TOKEN                                    # now
    python docs/examples/market_maker.py http://127.0.0.1:8060 TOKEN --start 2026-01-01 --end 2026-01-02

It quotes a little outside the best prices, and believes that it was filled when a print went through its price. It
knows no fees, no queue and no latency: it shows how a strategy meets the data, not how one earns.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

from etl.client import Client
from etl.model.records import Gap, Quote, Side, Trade

SIZE = Decimal("0.01")
POSITION_MAX = Decimal("0.05")
EDGE = Decimal("0.50")
"""How far outside the best prices it quotes."""


class MarketMaker:
    """``bid`` and ``ask`` are its own prices, None = it does not quote that side."""

    def __init__(self) -> None:
        self.bid: Decimal | None = None
        self.ask: Decimal | None = None
        self.middle = Decimal(0)
        self.position = Decimal(0)
        self.cash = Decimal(0)
        self.fills = 0

    @property
    def worth(self) -> Decimal:
        return self.cash + self.position * self.middle

    def take(self, record: object) -> None:
        if isinstance(record, Gap):
            self.bid = self.ask = None  # who does not see does not quote
        elif isinstance(record, Quote) and record.bid and record.ask:
            self._quote(Decimal(record.bid), Decimal(record.ask))
        elif isinstance(record, Trade) and record.last_price:
            self._see(Decimal(record.last_price), record.side)

    def _quote(self, best_bid: Decimal, best_ask: Decimal) -> None:
        self.middle = (best_bid + best_ask) / 2
        self.bid = best_bid - EDGE if self.position < POSITION_MAX else None
        self.ask = best_ask + EDGE if self.position > -POSITION_MAX else None

    def _see(self, price: Decimal, taker: Side) -> None:
        if taker is Side.SELL and self.bid is not None and price < self.bid:
            self._fill(SIZE, self.bid)
            self.bid = None  # until the next quote
        elif taker is Side.BUY and self.ask is not None and price > self.ask:
            self._fill(-SIZE, self.ask)
            self.ask = None

    def _fill(self, size: Decimal, price: Decimal) -> None:
        self.position += size
        self.cash -= size * price
        self.fills += 1


async def run(records: AsyncIterator[object], maker: MarketMaker) -> None:
    async for record in records:
        maker.take(record)


async def main() -> None:
    parser = argparse.ArgumentParser(description="a toy that makes a market")
    for name in ("url", "token"):
        parser.add_argument(name)
    parser.add_argument("--exchange", default="binance")
    parser.add_argument("--symbol", default="BTC-USDT")
    parser.add_argument("--start", help="of the past; else from now on, until Ctrl-C")
    parser.add_argument("--end")
    asked = parser.parse_args()
    maker = MarketMaker()
    with Client(asked.url, asked.token) as client:
        stream = client.stream(
            asked.exchange, asked.symbol, ["trade", "quote", "gap"], start=asked.start, end=asked.end
        )
        try:
            await run(aiter(stream), maker)
        finally:
            print(f"{maker.fills} fills, position {maker.position}, worth {maker.worth}")


if __name__ == "__main__":
    asyncio.run(main())
