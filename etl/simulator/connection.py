"""One client on one socket, as a venue sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etl.simulator.truth import Contents


class Connection:
    """``outbox`` holds control messages to send; ``closing`` ends it after them."""

    def __init__(self, path: str = "", query: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.query = query or {}
        self.key = ""
        self.authenticated = False
        self.streams: set[str] = set()
        self.outbox: list[bytes] = []
        self.closing = False
        self.muted_until_ns = 0
        self.is_raw = False
        """Whether events come without the envelope that names their stream (Binance ``/ws``)."""
        self.contents: Contents = {}
        self.counts: dict[str, int] = {}
        """What the venue has counted on it: frames, by whatever they are counted within."""
        self.heartbeat_ns = 0
        """When the last one was sent."""
        self.opened_streams: list[str] = []
        """Subscribed to just now: whoever does is told first how things stand."""

    def write(self, payloads: Sequence[bytes]) -> None:
        """Send these frames, in this order, without waiting."""
        raise NotImplementedError

    def abort(self) -> None:
        """The connection is gone, now and without a word."""
        raise NotImplementedError

    @property
    def unread_bytes(self) -> int:
        """Sent, and not yet taken by the client."""
        return 0

    @property
    def is_open(self) -> bool:
        return True
