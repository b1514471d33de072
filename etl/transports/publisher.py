"""What a transport offers to whoever publishes. Kafka and memory pass the same contract tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

Headers = Mapping[str, bytes]
Acknowledged = Callable[[], None]


class Publisher(Protocol):
    """Bounded and never blocking: ``publish`` queues, ``poll`` serves acknowledgements.

    The caller stops reading its source when ``pending_messages`` passes its own threshold or ``is_full``; what still
    comes from the read under way always fits. Per key, messages arrive in the order of their ``publish``.
    """

    @property
    def pending_messages(self) -> int:
        """Published and not yet acknowledged."""

    @property
    def is_full(self) -> bool:
        """The queue is at its limit of messages or bytes."""

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """Queue one message; ``acknowledged`` is called from a later ``poll`` once the broker has it, or as many
        messages as were published up to it. ``headers`` may change once this returns.

        Raises ``TransportError`` if the transport has failed for good or the caller ignored the threshold.
        """

    def poll(self) -> None:
        """Serve what the broker said, without waiting. Raises ``TransportError`` after a fatal failure."""

    def flush(self, timeout_s: float) -> None:
        """Wait until everything is acknowledged. Raises ``TransportError`` if it is not within ``timeout_s``."""


class TopicPublisher(Publisher, Protocol):
    """A transport's own, whose topics may be compacted, and which tells when all before a point is acknowledged."""

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes | None,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        """``value`` ``None``: a compacted topic forgets the key."""

    def settle(self, settled: Acknowledged) -> None:
        """Call ``settled`` from a later ``poll``, once everything published so far is acknowledged: what is published
        in between waits for it, a few milliseconds. Where that takes too long, or the queue is full, nothing is called:
        ask again later."""
