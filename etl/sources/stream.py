"""Keeps a subscription connected: back-off after a loss, and rotation to a new connection before the venue's own limit
ends the old one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from etl.adapter.faults import Failures
from etl.sources.websocket import Connection, End
from etl.telemetry.worker import WorkerCounts

DELIVERED_S = 2.0
"""A connection that delivered for so long was a success, and the back-off begins anew; one that only opened was none. A
venue that closes each just after that sees fewer than 150 in 5 minutes, half of what the strictest takes."""
CLOSE_TIMEOUT_S = 2.0
"""From our close, also of a connection that is just being opened, until it is let go."""
WATCH_S = 0.25
LIFE_MARGIN = 0.02
"""Share of a connection's allowed life at which its successor is opened before the venue closes it."""
OVERLAP_TIMEOUT_S = 30.0
"""How long a successor may take to be ready before the old connection is closed anyway."""
OVERLAP_S = 1.0
"""How long both run together once the successor is ready: what is still under way to the old one arrives."""

_log = logging.getLogger(__name__)


class Supervision(Protocol):
    """What hears how a stream fares; see ``etl/ingest/worker.py``."""

    def overlap(self, name: str, begins: bool) -> None:
        """Two connections carry the same from now on, or no longer do."""

    def subscribed(self, connection: Connection) -> None:
        """``connection`` gets from now on all that it carries."""

    def lost(self, connection: Connection, end: End) -> None:
        """``connection`` ended and no other covers what it carried."""


class _Attempt(NamedTuple):
    connection: Connection
    life: asyncio.Task[End]
    begun: float
    """By ``time.monotonic``."""


class Stream:
    """Keeps one subscription of a venue connected until ``stop`` is set."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        counts: WorkerCounts,
        stop: asyncio.Event,
        supervision: Supervision,
    ) -> None:
        self._name = name
        self._connect = connect
        self._counts = counts
        self._stop = stop
        self._supervision = supervision
        self._failures = Failures()
        self._lost_at = 0.0
        """When the last connection was lost, by ``time.monotonic``; 0 = none is missing."""
        self._subscribed: Connection | None = None
        """The newest that was heard to be subscribed."""

    async def run(self) -> None:
        """Raises ``EtlError`` where going on would be of no use."""
        attempt: _Attempt | None = None
        while not self._stop.is_set():
            attempt = attempt or self._begin()
            await self._until_retiring(attempt)
            if attempt.life.done() or self._stop.is_set() or attempt.connection.parser.connections_max == 1:
                end = await self._close(attempt)
                self._lost_at = self._lost_at or time.monotonic()
                attempt = None
                await self._back_off(end)
            else:
                attempt = await self._rotate(attempt)
        if attempt is not None:  # stopped during a rotation
            await self._close(attempt)

    def _begin(self) -> _Attempt:
        connection = self._connect()
        self._counts.connections_up[self._name] = True
        return _Attempt(connection, asyncio.create_task(connection.run()), time.monotonic())

    async def _close(self, attempt: _Attempt) -> End:
        attempt.connection.close("planned", attempt.connection.retired_for or "the worker ends")
        end = await self._ended(attempt.life)
        self._supervision.lost(attempt.connection, end)
        return end

    async def _until_retiring(self, attempt: _Attempt) -> None:
        connection, life = attempt.connection, attempt.life
        allowed_s = connection.parser.connection_life_s * (1 - LIFE_MARGIN)
        while not life.done() and not self._stop.is_set() and not connection.retiring.is_set():
            await asyncio.wait({life}, timeout=WATCH_S)
            connection.watch(time.time_ns())
            self._observe_subscribed(connection)
            self._counts.last_receive_ns.update(connection.intake.last_event_ns)
            if allowed_s and time.monotonic() - attempt.begun > allowed_s:
                connection.retire("the venue would soon end it for its age")

    def _observe_subscribed(self, connection: Connection) -> None:
        if not connection.ready_at or connection is self._subscribed:
            return
        self._subscribed = connection
        self._supervision.subscribed(connection)
        # a channel that never gives anything is silent from here on
        for channel in connection.subscription.channels:
            self._counts.last_receive_ns.setdefault(channel, time.time_ns())
        if self._lost_at:
            if self._counts.observe_reconnect_s is not None:
                self._counts.observe_reconnect_s(connection.ready_at - self._lost_at)
            self._lost_at = 0.0

    async def _rotate(self, old: _Attempt) -> _Attempt:
        """Open the new connection, then close the old one: between them nothing is missed. An old one that ends before
        is lost at once, before the new one's first record hides where; one that was only doubted stays if the new one
        does not get ready."""
        self._supervision.overlap(self._name, begins=True)
        new = self._begin()
        ready = asyncio.create_task(new.connection.ready.wait())
        stopping = asyncio.create_task(self._stop.wait())
        awaited = {ready, new.life, stopping, old.life}
        await asyncio.wait(awaited, timeout=OVERLAP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        is_covered = new.connection.ready.is_set() and not old.life.done()
        if is_covered:
            await asyncio.wait({old.life}, timeout=OVERLAP_S)
        ready.cancel()
        stopping.cancel()
        if not is_covered and old.connection.can_stay and not old.life.done() and not self._stop.is_set():
            new.connection.close("planned", "its predecessor goes on")
            await self._ended(new.life)
            self._supervision.overlap(self._name, begins=False)
            self._counts.connections_up[self._name] = True
            old.connection.stay()
            return old
        old.connection.close("planned", old.connection.retired_for)
        end = await self._ended(old.life)
        if not is_covered:
            self._supervision.lost(old.connection, end)
            self._lost_at = self._lost_at or time.monotonic()
        self._supervision.overlap(self._name, begins=False)
        self._counts.connections_up[self._name] = not new.life.done()
        return new

    async def _ended(self, life: asyncio.Task[End]) -> End:
        """Why it ended; a socket that does not close in time is let go."""
        await asyncio.wait({life}, timeout=CLOSE_TIMEOUT_S)
        if not life.done():
            life.cancel()
            await asyncio.wait({life})
        end = End("planned", "it did not close in time", is_own=True) if life.cancelled() else life.result()
        self._counts.connections_up[self._name] = False
        self._counts.reconnects[end.reason] += 1
        return end

    async def _back_off(self, end: End) -> None:
        if end.reason == "planned":
            return
        if end.delivered_s >= DELIVERED_S:
            self._failures.clear()
        delay_s = self._failures.add(end.fault, random.random())  # noqa: S311
        _log.warning("%s: %s (%s); again in %.2f s", self._name, end.reason, end.detail, delay_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)
