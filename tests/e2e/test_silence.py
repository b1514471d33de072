"""A worker's streams beside a simulated venue on which something falls silent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from etl.exchanges.binance import Binance
from etl.ingest import watchdog
from etl.model.records import GapKind, GapState, Trade
from etl.model.times import NS_PER_MS
from tests.support.live import live
from tests.support.serving import simulator

CHANNELS = ("trade", "bookTicker", "depth@100ms")


class Impatient(Binance):
    channels = tuple(replace(channel, stale_after_s=1.0) for channel in Binance.channels)


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_NS", 50 * NS_PER_MS)
    monkeypatch.setattr(watchdog, "HISTORY_LAG_NS", 200 * NS_PER_MS)


def test_a_muted_channel_comes_back_whole_and_no_other_has_a_gap(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            simulator(tmp_path, "binance", rate=300.0) as client,
            live(Impatient, client.server.port, tmp_path, ["BTCUSDT"], CHANNELS) as worker,
        ):
            await worker.until(lambda: set(CHANNELS) <= worker.channels())
            await client.fault("binance", "mute", channel="trade")
            await worker.until(lambda: any(gap.gap_state is GapState.REPAIRED for gap in worker.gaps()))
            gaps = worker.gaps()
            assert {(gap.channel, gap.gap_kind) for gap in gaps} == {("trade", GapKind.STALE)}
            assert [gap.gap_state for gap in gaps] == [GapState.OPEN, GapState.OPEN, GapState.REPAIRED]
            numbers = {int(r.trade_id) for r in worker.published() if isinstance(r, Trade)}
            assert numbers == set(range(min(numbers), max(numbers) + 1))
            assert worker.feed.counts.silences == {"lost": 1}
            await worker.until(lambda: worker.feed.counts.reconnects == {"planned": 1})

    asyncio.run(run())


def test_a_mute_socket_is_closed_and_each_of_its_channels_has_a_gap(tmp_path: Path) -> None:
    async def run() -> None:
        async with (
            simulator(tmp_path, "binance", rate=300.0) as client,
            live(Impatient, client.server.port, tmp_path, ["BTCUSDT"], ("trade", "bookTicker")) as worker,
        ):
            await worker.until(lambda: {"trade", "bookTicker"} <= worker.channels())
            await client.fault("binance", "mute", duration_s=0)
            await worker.until(lambda: any(gap.gap_state is GapState.REPAIRED for gap in worker.gaps()))
            kinds = {(gap.channel, gap.gap_kind) for gap in worker.gaps()}
            assert kinds == {("trade", GapKind.STALE), ("bookTicker", GapKind.STALE)}

    asyncio.run(run())
