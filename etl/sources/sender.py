"""What a connection says to its venue, no faster than the venue takes it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from etl.errors import VenueError

Message = str | bytes
WAITING_MESSAGES_MAX = 10_000


class Sender:
    """At most one message each 1/``messages_per_s`` (0 = no limit). Answers go before subscriptions: a venue does not
    wait long for its pong, and a thousand subscriptions may take minutes. Within each the order stays."""

    def __init__(self, send: Callable[[Message], None], messages_per_s: float) -> None:
        self._send = send
        self._pause_s = 1 / messages_per_s if messages_per_s else 0.0
        self._answers: deque[Message] = deque()
        self._subscriptions: deque[Message] = deque()
        self._next_at = 0.0
        """When the next may go, by ``time.monotonic``."""
        self._timer: asyncio.TimerHandle | None = None

    def subscribe(self, messages: Iterable[Message]) -> None:
        """Raises ``VenueError`` if more than ``WAITING_MESSAGES_MAX`` would wait."""
        for message in messages:
            self._add(self._subscriptions, message)

    def answer(self, message: Message) -> None:
        """Raises ``VenueError`` as ``subscribe`` does."""
        self._add(self._answers, message)

    @property
    def is_subscribing(self) -> bool:
        """Whether subscriptions wait for their turn."""
        return bool(self._subscriptions)

    def stop(self) -> None:
        """What waits is dropped: the connection has ended."""
        self._answers.clear()
        self._subscriptions.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _add(self, queue: deque[Message], message: Message) -> None:
        if not self._pause_s:
            self._send(message)
            return
        if len(queue) >= WAITING_MESSAGES_MAX:
            raise VenueError(f"more than {WAITING_MESSAGES_MAX} messages wait to be sent")
        queue.append(message)
        if self._timer is None:
            self._send_due()

    def _send_due(self) -> None:
        self._timer = None
        now = time.monotonic()
        if now >= self._next_at:
            self._send((self._answers or self._subscriptions).popleft())
            self._next_at = now + self._pause_s
        if self._answers or self._subscriptions:
            delay_s = self._next_at - now
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._send_due)
