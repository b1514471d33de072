"""Keep-alive texts, where a venue wants more than the pings of the protocol, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from etl.adapter.contract import KeepAlive

UNANSWERED_MAX = 2
"""Texts sent without an answer, after which a connection is dead one interval later."""


class Pulse:
    """Sends one connection's ``keepalive``; ``heard`` is told of each bare answer."""

    def __init__(self, keepalive: KeepAlive, send: Callable[[str], None]) -> None:
        self._keepalive = keepalive
        self._send = send
        self._unanswered = 0

    def heard(self) -> None:
        self._unanswered = 0

    async def until_silent(self, is_paused: Callable[[], bool]) -> str:
        """Returns what to tell the operator when the venue answers no more. While reading ``is_paused`` its answer may
        lie unread."""
        keepalive = self._keepalive
        while True:
            await asyncio.sleep(keepalive.every_s)
            if is_paused():
                self._unanswered = 0
            if self._unanswered >= UNANSWERED_MAX:
                waited_s = UNANSWERED_MAX * keepalive.every_s
                return f"no answer to {keepalive.text} within {waited_s:g} s"
            self._send(keepalive.text)
            if keepalive.answer:
                self._unanswered += 1
