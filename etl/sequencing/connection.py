"""Whether a connection's messages follow each other, where a venue numbers them over all it carries. Pure, bounded.

A break tells that something is missing, not of which symbol or channel: whoever asks declares a gap on all of them.
"""

from __future__ import annotations

from etl.adapter.contract import ConnectionSequence

SCOPES_MAX = 10_000
"""Scopes of one connection; beyond, the one first seen is forgotten, and begins anew with its next number."""


class ConnectionFollower:
    """Of one connection; dies with it, as the venue's numbers do."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        """By scope."""

    def follow(self, sequence: ConnectionSequence) -> str:
        """What is wrong before this message; "" if it goes on from the last of its scope, or begins it.

        Each break is told once: the next message is measured by this one.
        """
        number, scope = sequence.number, sequence.scope
        last = self._last.get(scope)
        if last is None and len(self._last) >= SCOPES_MAX:
            del self._last[next(iter(self._last))]
        self._last[scope] = number
        if last is None or number == last + 1:
            return ""
        place = f" of {scope}" if scope else ""
        missing = f": {last + 1}-{number - 1} missing" if number > last else ""
        return f"message {number}{place} follows {last}{missing}"
