"""Snapshots of a connection's books: when it is ready, and again for each book that breaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from etl.adapter.contract import Exchange, Subscription
from etl.errors import VenueError
from etl.model.times import NS_PER_S
from etl.sources.history import Answer, History
from etl.telemetry.worker import WorkerCounts

PAUSE_NS = 5 * NS_PER_S
"""Between two snapshots of one symbol."""
POLL_S = 0.1

_log = logging.getLogger(__name__)


class Snapshots:
    """``due_ns``: venue symbols whose book needs one, and from when; whoever follows the books adds to it.
    ``take`` gets each answer."""

    def __init__(
        self,
        history: History,
        parser: Exchange,
        subscription: Subscription,
        due_ns: dict[str, int],
        counts: WorkerCounts,
        take: Callable[[Answer], None],
    ) -> None:
        self._history = history
        self._parser = parser
        self._subscription = subscription
        self._due_ns = due_ns
        self._counts = counts
        self._take = take

    async def run(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Ask for what books need to be joined: at once when ``ready``, then for those that broke, for ever."""
        await ready()
        self._due_ns.update(dict.fromkeys(self._subscription.symbols, 0))
        requested_ns: dict[str, int] = {}
        while True:
            now_ns = time.time_ns()
            for symbol, from_ns in list(self._due_ns.items()):
                if now_ns >= max(from_ns, requested_ns.get(symbol, 0) + PAUSE_NS):
                    del self._due_ns[symbol]
                    requested_ns[symbol] = now_ns
                    await self._request(symbol)
            await asyncio.sleep(POLL_S)

    async def _request(self, symbol: str) -> None:
        wanted = Subscription((symbol,), self._subscription.channels, self._subscription.socket)
        for request in self._parser.snapshot_requests(wanted):
            self._counts.snapshots_requested += 1
            try:
                answer = await self._history.fetch(request)
            except VenueError as error:
                _log.warning("%s: %s", self._parser.name, error)
                self._due_ns[symbol] = 0
                continue
            self._take(answer)
