"""Message keys, as docs/topics.md promises them. Pure."""

from __future__ import annotations


def message_key(exchange: str, symbol: str) -> bytes:
    """The key of everything that is of one instrument, on every topic but the tape. What cannot be written (a lone
    surrogate in a garbled symbol) becomes ``?``."""
    return f"{exchange}:{symbol}".encode(errors="replace")
