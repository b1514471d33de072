"""A worker of Binance USD-M beside a simulator that routes as the venue does since 2026-04-23."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from msgspec.structs import replace

from etl.adapter.contract import Subscription
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.model.times import NS_PER_S
from etl.monitoring.rules import Observed, findings
from etl.settings import make
from tests.support.live import live
from tests.support.serving import simulator

PUBLIC = {"trade", "bookTicker", "depth@100ms"}
MARKET = {"kline_1m", "markPrice@1s"}
SILENT_S = 200.0
"""Longer than any of these channels may be."""


class Unrouted(BinanceUsdm):
    """As the feed was before: one connection, to the old address."""

    channels = tuple(replace(channel, socket="") for channel in BinanceUsdm.channels)

    @classmethod
    def sockets(cls, subscription: Subscription) -> tuple[Subscription, ...]:
        return (subscription,)


def test_every_default_channel_gives_a_frame_and_nothing_is_connected_twice(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            simulator(tmp_path, "binance_usdm", rate=400.0) as client,
            live(BinanceUsdm, client.server.port, tmp_path, ["BTCUSDT"]) as worker,
        ):
            await worker.until(lambda: set(BinanceUsdm.default_channels) <= worker.channels())
            assert worker.gaps() == []
            assert worker.feed.counts.reconnects == {}
            assert worker.feed.counts.connections_up == {"s0": True, "s1": True}

    asyncio.run(run())


def test_the_old_address_stays_mute_for_half_of_them_and_each_is_an_incident_by_its_name(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with (
            simulator(tmp_path, "binance_usdm", rate=400.0) as client,
            live(Unrouted, client.server.port, tmp_path, ["BTCUSDT"]) as worker,
        ):
            await worker.until(lambda: worker.channels() >= PUBLIC)
            await worker.until(lambda: set(worker.feed.counts.last_receive_ns) >= PUBLIC | MARKET)
            await asyncio.sleep(1.0)
            assert not worker.channels() & MARKET
            assert worker.feed.counts.reconnects == {}
            later = {
                name: stamp_ns / NS_PER_S + (SILENT_S if name in PUBLIC else 0.0)
                for name, stamp_ns in worker.feed.counts.last_receive_ns.items()
            }
            observed = Observed(last_receive_s={"binance_usdm": later}, connections_up={"binance_usdm": True})
            now_ns = time.time_ns() + int(SILENT_S * NS_PER_S)
            found = findings(observed, {}, make().monitor, now_ns, lambda exchange, at_ns: True)
            assert {one.key for one in found} == {f"silent/binance_usdm/{name}" for name in MARKET}

    asyncio.run(run())
