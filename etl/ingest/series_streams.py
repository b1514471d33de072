"""The streams of series: the contracts that there are now, over as many connections as they need.

The venue's list is read again and again, and its own channel tells of contracts as they come and go; what to do about
each says ``contracts``. Subscriptions are changed on connections that stay: each is a lane, which gets contracts as
long as it has room and ends when it has none left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence

from msgspec.structs import replace

from etl.adapter.carried import Carried
from etl.adapter.contract import Subscription
from etl.adapter.series import Contract, Series, is_share, share_of
from etl.errors import VenueError
from etl.ingest.contracts import Contracts
from etl.ingest.lane import Lane
from etl.ingest.streams import Streams
from etl.ingest.subscriptions import symbols_max_of

TICK_S = 0.25
PAGES_MAX = 100
"""Of the list of one series."""

_log = logging.getLogger(__name__)


async def run_streams(streams: Streams, name: str, subscription: Subscription) -> None:
    """Until the streams end: one for what is named, or those of series. Raises ``EtlError``."""
    series = streams.feed.exchange.series
    if series is not None and any(map(is_share, subscription.symbols)):
        await SeriesStreams(streams, series, subscription).run(name)
    else:
        await streams.open(name, subscription).run()


class SeriesStreams:
    """``subscription``: shares of series, and the channels that are wanted of their contracts."""

    def __init__(self, streams: Streams, series: Series, subscription: Subscription) -> None:
        self._streams = streams
        self._feed = feed = streams.feed
        self._history = streams.access.history
        self._series = series
        self._subscription = subscription
        self._symbols_max = symbols_max_of(feed.exchange, subscription)
        self._stop = streams.stop
        self._shares = Carried(subscription.symbols)
        self._contracts = Contracts(series)
        self._symbol_of = feed.exchange().instruments.symbol
        self._lanes: dict[int, tuple[Lane, asyncio.Event]] = {}
        self._lane_of: dict[str, Lane] = {}
        self._is_known = False
        """Whether the list was read once."""

    async def run(self, name: str) -> None:
        """Until ``stop``. Raises ``EtlError`` where going on would be of no use."""
        self._feed.hear_contract.append(self._hear)
        news = replace(self._subscription, channels=(self._series.channel,))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._streams.open(f"{name}/{self._series.channel}", news).run())
            sweeping = group.create_task(self._sweep())
            while not self._stop.is_set():
                self._step(name, group, time.time_ns())
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), TICK_S)
            sweeping.cancel()
            for _, stop in self._lanes.values():
                stop.set()

    def _hear(self, contract: Contract) -> None:
        if contract.venue_symbol in self._shares:
            self._contracts.tell(contract, time.time_ns())

    # the list

    async def _sweep(self) -> None:
        while True:
            now_ns = time.time_ns()
            try:
                listed = await self._listed()
            except VenueError as error:
                _log.warning("%s: contracts are not known anew: %s", self._feed.exchange.name, error)
            else:
                self._contracts.list(listed, now_ns)
                if not self._is_known:
                    self._leave_former(now_ns)
                self._is_known = True
            await asyncio.sleep(self._series.sweep_s)

    async def _listed(self) -> Sequence[Contract]:
        """Of this worker. Raises ``VenueError``."""
        found: list[Contract] = []
        for share in map(share_of, self._subscription.symbols):
            for request in self._series.requests(share.prefix):
                async for page in self._history.pages(request, PAGES_MAX):
                    try:
                        found += self._series.read(page.payload)
                    except ValueError as error:
                        raise VenueError(f"{page.endpoint}: {error}") from None
        own = [contract for contract in found if contract.venue_symbol in self._shares]
        _log.debug("%d of %d contracts are carried here", len(own), len(found))
        return own

    def _leave_former(self, now_ns: int) -> None:
        """What an earlier life of this worker knew of contracts that have come to their end since."""
        followed = self._feed.continuity.names().values()
        own = {each for each in followed if each in self._shares and not is_share(each)}
        self._contracts.leave(own, now_ns)

    # what is due

    def _step(self, name: str, group: asyncio.TaskGroup, now_ns: int) -> None:
        due, channels = self._contracts.due(now_ns), self._subscription.channels
        continuity, joins = self._feed.continuity, list(due.joins)
        for contract in joins:
            named = (self._symbol_of(contract.venue_symbol), contract.venue_symbol)
            self._feed.publish_gaps(continuity.enlist(named, channels, contract.opens_ns, now_ns))
        self._change([contract.venue_symbol for contract in joins], due.leaves, name, group)
        names = [(self._symbol_of(venue_symbol), venue_symbol) for venue_symbol in due.forgets]
        for symbol, _ in names:
            self._feed.publish_gaps(continuity.dismiss(symbol, channels, now_ns))
            self._feed.forget(symbol)
        if names:
            for lane, _ in self._lanes.values():
                lane.forget(names)
        for symbol in map(self._symbol_of, due.statuses):
            self._feed.publish_gaps(continuity.dismiss(symbol, [self._series.channel], now_ns))

    def _change(
        self, joins: Sequence[str], leaves: Sequence[str], name: str, group: asyncio.TaskGroup
    ) -> None:
        leaving: dict[Lane, list[str]] = {}
        for symbol in leaves:
            leaving.setdefault(self._lane_of.pop(symbol), []).append(symbol)
        for lane, symbols in leaving.items():
            lane.change((), symbols)
        waiting = list(joins)
        while waiting:
            lane = self._lane_with_room(name, group)
            room = self._symbols_max - len(lane.subscription.symbols)
            taken, waiting = waiting[:room], waiting[room:]
            lane.change(taken, ())
            self._lane_of.update(dict.fromkeys(taken, lane))
        for lane, stop in self._lanes.values():
            if not lane.subscription.symbols:
                stop.set()

    def _lane_with_room(self, name: str, group: asyncio.TaskGroup) -> Lane:
        """The first, so that those behind it run empty; else a new one."""
        for lane, stop in self._lanes.values():
            if len(lane.subscription.symbols) < self._symbols_max and not stop.is_set():
                return lane
        number = next(number for number in range(len(self._lanes) + 1) if number not in self._lanes)
        lane, stop = self._streams.lane(replace(self._subscription, symbols=())), asyncio.Event()
        self._lanes[number] = lane, stop
        group.create_task(self._run(number, f"{name}/{number}", lane, stop))
        return lane

    async def _run(self, number: int, name: str, lane: Lane, stop: asyncio.Event) -> None:
        await self._streams.open_lane(name, lane, stop).run()
        del self._lanes[number]
        self._feed.counts.connections_up.pop(name, None)
