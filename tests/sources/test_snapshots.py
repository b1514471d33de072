from __future__ import annotations

import asyncio

import pytest

from etl.adapter.contract import Request, Subscription
from etl.exchanges.binance import Binance
from etl.sources.history import Answer, History
from etl.sources.snapshots import Snapshots
from etl.telemetry.worker import WorkerCounts
from tests.support.streaming import CREDENTIALS


class Past(History):
    """Notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9", Binance(CREDENTIALS))
        self.asked: list[str] = []

    async def fetch(self, request: Request) -> Answer:
        self.asked.append(request.path)
        return Answer(request.path, b"{}", 1)


@pytest.mark.parametrize(
    ("symbols", "asked"),
    [
        (("*",), []),
        (("*", "BTCUSDT"), ["/api/v3/depth?symbol=BTCUSDT&limit=1000"]),
    ],
)
def test_of_all_symbols_no_snapshot_is_asked_for(symbols: tuple[str, ...], asked: list[str]) -> None:
    past = Past()
    wanted = Subscription(symbols, ("depth@100ms",))
    snapshots = Snapshots(past, past._parser, wanted, {}, WorkerCounts())

    async def go() -> None:
        await asyncio.wait_for(snapshots.run(lambda answer: None, lambda messages: None), 0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(go())
    assert past.asked == asked
