"""``etl bench gateway --kills N``: ``kill -9`` of the gateway under load, and what it costs its clients: nothing.

Three streams of ``etl.client`` take trades all the while: of all symbols, of one, and the bars of a second, which are
made on the way. The gateway dies again at a random moment after it served all of them, and is started anew. At the end
each stream is held to what was published: ``lost`` and ``doubled`` trades by their place, ``out_of_order`` by symbol;
of the bars those that came twice, and the trades that are in none.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from etl.bench.gateway_load import Load
from etl.bench.report import say
from etl.client import Client, Stream, TradeBar
from etl.gateway.server import address_of
from etl.gateway.tokens import Tokens
from etl.model.records import Trade
from etl.settings import Settings
from etl.up.plan import child_environment

SYMBOLS = 4
ONE = "S1"
MOMENT_MAX_S = 1.0
"""Between what all streams were served and the next death, at random."""
SERVED_TRADES = 100
WITHIN_S = 60.0
"""For what has to happen next: a stream that goes on, or its last records."""
POLL_S = 0.01


class KillRun:
    """On a broker that runs and has the topics."""

    def __init__(
        self, settings: Settings, kills: int, rate: float, moment_max_s: float = MOMENT_MAX_S
    ) -> None:
        self._settings = settings
        self._kills = kills
        self._rate = rate
        self._moment_max_s = moment_max_s
        self._found: list[list[Trade]] = [[], []]
        self._bars: list[TradeBar] = []

    async def result(self) -> dict[str, Any]:
        token = Tokens(self._settings).create("bench", time.time_ns())
        client = Client(address_of(self._settings), token)
        streams = [client.stream(), client.stream(symbol=ONE), client.stream(bars="1s")]
        gateway = self._start()
        taking = [asyncio.create_task(self._take(number, stream)) for number, stream in enumerate(streams)]
        load = Load(self._settings, self._rate, SYMBOLS)
        began_s = time.monotonic()
        try:
            await self._until(lambda: all(stream.cursor for stream in streams), taking)
            load.start()
            for number in range(self._kills):
                await self._served(taking)
                await asyncio.sleep(random.uniform(0, self._moment_max_s))
                gateway.kill()
                gateway.wait()
                gateway = self._start()
                say(f"kill {number + 1} of {self._kills}")
            await self._served(taking)
            sent = await asyncio.to_thread(load.stop)
            await self._until(lambda: self._has_all(sent), taking)
        finally:
            await asyncio.to_thread(load.stop)
            for task in taking:
                task.cancel()
            await asyncio.gather(*taking, return_exceptions=True)
            gateway.kill()
            gateway.wait()
        return self._verdict(sent, streams, time.monotonic() - began_s)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "etl", "gateway"]
        return subprocess.Popen(command, env=child_environment(self._settings))

    async def _take(self, number: int, stream: Stream) -> None:
        async for record in stream:
            if isinstance(record, Trade):
                self._found[number].append(record)
            elif isinstance(record, TradeBar):
                self._bars.append(record)

    async def _served(self, taking: list[asyncio.Task[None]]) -> None:
        """Until all streams had more."""
        enough, bars = [len(found) + SERVED_TRADES for found in self._found], len(self._bars) + 1
        await self._until(
            lambda: (
                all(len(found) >= least for found, least in zip(self._found, enough, strict=True))
                and len(self._bars) >= bars
            ),
            taking,
        )

    async def _until(self, holds: Callable[[], bool], taking: list[asyncio.Task[None]]) -> None:
        """As long as nothing fails; no longer than ``WITHIN_S``: what is missing then is in the verdict."""
        deadline = time.monotonic() + WITHIN_S
        while not holds() and time.monotonic() < deadline:
            for task in taking:
                if task.done():
                    task.result()
            await asyncio.sleep(POLL_S)

    def _has_all(self, sent: int) -> bool:
        return (
            len(self._found[0]) >= sent
            and len(self._found[1]) >= _of_one(sent)
            and sum(self._last_counts().values()) >= sent
        )

    def _last_counts(self) -> dict[tuple[str, int], int]:
        """Of each bar, in its last state."""
        return {(bar.symbol, bar.time_ns): bar.trade_count for bar in self._bars}

    def _verdict(self, sent: int, streams: list[Stream], seconds: float) -> dict[str, Any]:
        expected = (sent, _of_one(sent))
        numbers = [Counter(trade.record_key for trade in found) for found in self._found]
        told = Counter((bar.symbol, bar.time_ns, bar.trade_count) for bar in self._bars)
        return {
            "kills": self._kills,
            "seconds": round(seconds, 1),
            "sent": sent,
            "reconnects": sum(stream.reconnects for stream in streams),
            "lost": sum(count - len(keys) for count, keys in zip(expected, numbers, strict=True)),
            "doubled": sum(keys.total() - len(keys) for keys in numbers),
            "out_of_order": sum(map(_out_of_order, self._found)),
            "bars": len(self._last_counts()),
            "bars_doubled": told.total() - len(told),
            "bars_not_whole": sum(not bar.is_whole for bar in self._bars),
            "trades_in_no_bar": sent - sum(self._last_counts().values()),
        }


def _of_one(sent: int) -> int:
    """How many of the trades are of ``ONE``."""
    return (sent + SYMBOLS - 2) // SYMBOLS


def _out_of_order(found: list[Trade]) -> int:
    last: dict[str, int] = {}
    wrong = 0
    for trade in found:
        wrong += (trade.sequence or 0) < last.get(trade.symbol, -1)
        last[trade.symbol] = trade.sequence or 0
    return wrong
