"""The request budget of several machines: one allowance in Redis or Valkey for each address and key of a venue.

What is spent is decided in Python, as in the file of one machine (``etl.sources.limiter``): read, decide, and write if
nobody was faster. Times are the server's, which all machines ask. A server that does not answer stops requests, for
nobody knows then what the others spent; streams go on, and gaps stay open until they can be repaired.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from etl.errors import TransportError, VenueError
from etl.model.times import NS_PER_S
from etl.sources.limiter import Allowance
from etl.transports.redis_client import Connection, parse_address

ANSWER_WITHIN_S = 2.0
CHANGES_MAX = 100
"""As often as another may be faster before a request is given up."""
KEPT_S = 2 * 86_400
"""Longer than a venue shuts anybody out; what is spent is forgotten sooner."""
_SWAP = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""


class RedisAllowance:
    """``name``: of the budget, the same on all machines. May be used from several threads."""

    def __init__(self, url: str, name: str) -> None:
        """Raises ``UsageError`` for an address that is none; connects when first asked."""
        address = parse_address(url)
        self._connection = Connection(address)
        self._key = f"{address.prefix}budget:{name}"
        self._lock = threading.Lock()

    def read(self) -> tuple[Allowance, int]:
        with self._lock:
            kept, now_ns = self._read()
        return _decoded(kept), now_ns

    def change(self, change: Callable[[Allowance, int], tuple[int, Allowance]]) -> int:
        with self._lock:
            for _ in range(CHANGES_MAX):
                kept, now_ns = self._read()
                known = _decoded(kept)
                result, changed = change(known, now_ns)
                if changed == known or self._swap(kept, msgspec.json.encode(changed)):
                    return result
        raise VenueError(f"{self._key}: others change the request budget all the time")

    def _read(self) -> tuple[bytes, int]:
        (seconds, microseconds), kept = self._ask(("TIME",), ("GET", self._key))
        return kept or b"", int(seconds) * NS_PER_S + int(microseconds) * 1_000

    def _swap(self, expected: bytes, replaced: bytes) -> bool:
        (swapped,) = self._ask(("EVAL", _SWAP, 1, self._key, expected, replaced, KEPT_S))
        return bool(swapped)

    def _ask(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        try:
            return [self._connection.call(*command, timeout_s=ANSWER_WITHIN_S) for command in commands]
        except TransportError as error:
            raise VenueError(f"request budget: {error}") from None


def _decoded(kept: bytes) -> Allowance:
    return msgspec.json.decode(kept, type=Allowance) if kept else Allowance()
