"""Snapshots of a connection's books: when it is ready, and again for each book that breaks."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from etl.adapter.carried import is_all
from etl.adapter.contract import Exchange, Subscription
from etl.errors import VenueError
from etl.model.records import Kind
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.sources.history import Answer, History
from etl.telemetry.worker import WorkerCounts

PAUSE_NS = 5 * NS_PER_S
"""Between two snapshots of one symbol."""
AHEAD_MAX_NS = NS_PER_MINUTE
"""No book waits for longer: one that seems to was noted before the wall clock was set back."""
POLL_S = 0.1
ASKED_MAX = 10_000
"""Books of one connection that were asked for once; beyond, the first are forgotten: of contracts that are over."""

_log = logging.getLogger(__name__)


class Snapshots:
    """``due_ns``: venue symbols whose book needs one, and from when; whoever follows the books adds to it."""

    def __init__(
        self,
        history: History,
        parser: Exchange,
        subscription: Subscription,
        due_ns: dict[str, int],
        counts: WorkerCounts,
    ) -> None:
        self._history = history
        self._parser = parser
        self._subscription = subscription
        self._due_ns = due_ns
        self._counts = counts

    async def run(
        self, take: Callable[[Answer], None], subscribe: Callable[[Sequence[str | bytes]], None]
    ) -> None:
        """Ask for what books need to be joined: by request at once, then for those that broke, for ever. Where the
        venue begins a book anew by subscription, that is said instead; ``take`` gets each answer to a request. Of all
        symbols there is no snapshot: each has its own once its book is found to need one."""
        self._due_ns.update({symbol: 0 for symbol in self._subscription.symbols if not is_all(symbol)})
        asked_ns: dict[str, int] = {}
        while True:
            now_ns, steady_ns = time.time_ns(), time.monotonic_ns()
            for symbol, from_ns in list(self._due_ns.items()):
                is_asked = symbol in asked_ns and steady_ns < asked_ns[symbol] + PAUSE_NS
                if is_asked or now_ns < from_ns <= now_ns + AHEAD_MAX_NS:
                    continue
                del self._due_ns[symbol]
                messages = self._resubscription(symbol) if symbol in asked_ns else ()
                if len(asked_ns) >= ASKED_MAX:
                    del asked_ns[next(iter(asked_ns))]
                asked_ns[symbol] = steady_ns
                if messages:
                    self._counts.snapshots_requested += 1
                    subscribe(messages)
                else:
                    await self._request(symbol, take)
            await asyncio.sleep(POLL_S)

    def _resubscription(self, symbol: str) -> Sequence[str | bytes]:
        """Of the symbol's books alone."""
        channels = ((name, self._parser.channel(name)) for name in self._subscription.channels)
        books = tuple(name for name, channel in channels if channel and channel.kind is Kind.BOOK)
        if not books:
            return ()
        return self._parser.resubscribe(Subscription((symbol,), books, self._subscription.socket))

    async def _request(self, symbol: str, take: Callable[[Answer], None]) -> None:
        wanted = Subscription((symbol,), self._subscription.channels, self._subscription.socket)
        for request in self._parser.snapshot_requests(wanted):
            self._counts.snapshots_requested += 1
            try:
                answer = await self._history.fetch(request)
            except VenueError as error:
                _log.warning("%s: %s", self._parser.name, error)
                self._due_ns[symbol] = 0
                continue
            take(answer)
