"""Publishers without a broker: one that keeps what it is given, for tests, and passes the same contract tests as Kafka;
and one that drops it."""

from __future__ import annotations

from collections import defaultdict, deque

from msgspec import Struct

from etl.errors import TransportError
from etl.transports.publisher import Acknowledged, Headers


class Delivered(Struct, frozen=True):
    """One message as a consumer would see it."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class MemoryPublisher:
    """``delivered[topic]`` holds what the "broker" has. While ``stalled`` it takes nothing, as a broker that
    is down; ``queue_messages_max`` bounds what then waits."""

    def __init__(self, queue_messages_max: int = 200_000) -> None:
        self.delivered: defaultdict[str, list[Delivered]] = defaultdict(list)
        self.stalled = False
        self._queue: deque[tuple[str, Delivered, Acknowledged | None]] = deque()
        self._queue_messages_max = queue_messages_max
        self._failure: TransportError | None = None

    @property
    def pending_messages(self) -> int:
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        return len(self._queue) >= self._queue_messages_max

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        self._raise_failure()
        if len(self._queue) >= self._queue_messages_max:
            raise TransportError(f"queue full at {self._queue_messages_max} messages: reading was not paused")
        self._queue.append((topic, Delivered(key, value, tuple((headers or {}).items())), acknowledged))

    def poll(self) -> None:
        self._raise_failure()
        while self._queue and not self.stalled:
            topic, message, acknowledged = self._queue.popleft()
            self.delivered[topic].append(message)
            if acknowledged:
                acknowledged()

    def flush(self, timeout_s: float) -> None:
        self.poll()
        if self._queue:
            raise TransportError(f"{len(self._queue)} messages not acknowledged within {timeout_s:g} s")

    def fail(self, reason: str) -> None:
        """From now on every call raises, as after a broker's fatal error."""
        self._failure = TransportError(reason)

    def _raise_failure(self) -> None:
        if self._failure:
            raise self._failure


class Nowhere:
    """For who wants what the loop makes and no topics."""

    pending_messages = 0
    is_full = False

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        pass

    def poll(self) -> None:
        pass

    def flush(self, timeout_s: float) -> None:
        pass
