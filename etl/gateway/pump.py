"""One thread that follows the topic for all clients of this process, and hands what comes to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from functools import partial
from queue import SimpleQueue

from etl.settings import Settings
from etl.transports.message import Message
from etl.transports.transport import transport_of

GROUP = "etl-gateway"
"""The name under which a broker sees us; nothing is committed."""
MESSAGES_MAX = 5_000
"""Handed over at once."""
HANDED_OVER_MAX = 4
"""Lots that the event loop has not taken yet: beyond, the thread waits, and the broker keeps what comes."""
POLL_S = 0.5
GATHER_S = 0.002
"""After a lot: at high rates one lot holds what would have been several, at the cost of so much latency."""


class Pump:
    """``take`` is called on the loop, with messages in the order of each partition. ``failed`` holds what ended it."""

    def __init__(
        self, settings: Settings, starts: Mapping[int, int], take: Callable[[list[Message]], None]
    ) -> None:
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settings = settings
        self._positions = dict(starts)
        self._new: SimpleQueue[int] = SimpleQueue()
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._free = threading.Semaphore(HANDED_OVER_MAX)
        self._thread = threading.Thread(target=self._run, name="pump", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, partition: int) -> None:
        """Of a partition that is new, from its beginning on."""
        self._new.put(partition)

    def fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:  # noqa: BLE001  it ends the process, on the other thread
            self._call(partial(self.fail, error))

    def _follow(self) -> None:
        while not self._stop.is_set():
            while not self._new.empty():
                self._positions[self._new.get()] = 0
            follower = transport_of(self._settings).follower(
                self._settings.topics.normalized, GROUP, self._positions
            )
            try:
                while not self._stop.is_set() and self._new.empty():
                    self._hand_over(follower.poll(MESSAGES_MAX, POLL_S))
            finally:
                follower.close()

    def _hand_over(self, messages: list[Message]) -> None:
        if not messages:
            return
        while not self._free.acquire(timeout=POLL_S):
            if self._stop.is_set():
                return
        for message in messages:
            self._positions[message.partition] = message.offset + 1
        self._call(partial(self._taken, messages))
        self._stop.wait(GATHER_S)

    def _taken(self, messages: list[Message]) -> None:
        self._free.release()
        self._take(messages)

    def _call(self, work: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)
