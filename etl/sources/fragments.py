"""Fragments of one message, joined. Pure."""

from __future__ import annotations

from etl.transports import frames

FRAGMENTS_MAX = 16_384
"""Of one message; most venues send none. An empty one costs a venue two bytes, and us a microsecond."""


class Fragments:
    """Of one connection. A message that grew too large stays so: the connection ends by it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0

    @property
    def excess(self) -> str:
        """What the message has too much of; "" = nothing."""
        if self._bytes > frames.FRAME_BYTES_LIMIT:
            return f"more than {frames.FRAME_BYTES_LIMIT} bytes"
        return f"more than {FRAGMENTS_MAX} fragments" if len(self._parts) > FRAGMENTS_MAX else ""

    def add(self, payload: bytes, final: bool) -> bytes | None:
        """The message, once it is whole."""
        if self.excess:
            return None
        self._parts.append(payload)
        self._bytes += len(payload)
        if not final or self.excess:
            return None
        whole = b"".join(self._parts)
        self._parts, self._bytes = [], 0
        return whole
