"""A worker of a series beside a simulated venue whose contracts live for seconds."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path

import pytest
from msgspec.structs import replace

from etl.exchanges.kalshi import Kalshi
from etl.ingest import contracts
from etl.model.records import GapKind, GapState, Trade
from etl.model.times import NS_PER_S
from tests.support.live import Live, live
from tests.support.serving import Client, simulator

SERIES = "KXBTC15M-"
LIFE_NS = 2 * NS_PER_S


class Quick(Kalshi):
    """A minute of the venue's lasts a second and a half."""

    series = replace(Kalshi.series, sweep_s=0.5, ahead_s=1.0, kept_s=0.6)


def traded(client: Client) -> dict[str, set[str]]:
    """By contract: its trades, whether or not they reached anybody."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in client.truth("kalshi"):
        for event in line.events:
            if event.kind == "trade" and event.symbol.startswith(SERIES):
                found[event.symbol].add(event.record_key)
    return found


def published(worker: Live) -> dict[str, set[str]]:
    """A repair gives again what came: that is one by its identity."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for record in worker.published():
        if isinstance(record, Trade):
            found[record.symbol].add(record.record_key)
    return found


def test_every_trade_of_every_contract_arrives_over_rotations_and_disconnects_amid_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts, "FORGET_S", 0.5)

    async def run() -> None:
        async with simulator(tmp_path, "kalshi", rate=150.0) as client:
            (series,) = client.server.feeds["kalshi"].venue.series
            series.life_ns = LIFE_NS
            async with live(Quick, client.server.port, tmp_path, [f"{SERIES}*"]) as worker:
                newest = worker.feed.continuity.newest

                def over() -> list[str]:
                    """Contracts that were followed and are forgotten."""
                    return [symbol for symbol in published(worker) if newest(symbol, "trade") is None]

                await worker.until(lambda: len(traded(client)) >= 4)
                for _ in range(2):
                    await client.fault("kalshi", "disconnect")
                    await asyncio.sleep(0.9)
                await worker.until(lambda: len(over()) >= 4)
                client.server.feeds["kalshi"].stop(client.server.now_ns())
                done = over()
                await worker.until(lambda: not worker.feed.counts.repairs_pending())
                told, came = traded(client), published(worker)
                assert {symbol: came[symbol] for symbol in done} == {symbol: told[symbol] for symbol in done}
                kinds = {gap.gap_kind for gap in worker.gaps()}
                assert kinds <= {GapKind.DISCONNECT}
                assert set(worker.feed.counts.reconnects) == {"disconnect"}, "no contract cost a connection"
                last = {
                    (gap.symbol, gap.record_key): gap.gap_state
                    for gap in worker.gaps()
                    if gap.channel == "trade"
                }
                assert {state for (symbol, _), state in last.items() if symbol in done} <= {GapState.REPAIRED}

    asyncio.run(run())
