"""The clock that recordings of several venues share: what was received first goes out first, whoever sent it."""

from __future__ import annotations

from collections.abc import Collection


class Pace:
    """``from_ns``: by the time of receipt, where all begin. ``speed`` 1 = as it was received, 10 = ten times that.
    It begins once each of ``venues`` has a client that subscribed, so that none misses what others see."""

    def __init__(self, venues: Collection[str], from_ns: int, speed: float) -> None:
        self._waiting = set(venues)
        self._from_ns = from_ns
        self._speed = speed
        self._began_ns = 0

    def is_due(self, venue: str, receive_time_ns: int, now_ns: int) -> bool:
        self._waiting.discard(venue)
        if self._waiting:
            return False
        self._began_ns = self._began_ns or now_ns
        return receive_time_ns - self._from_ns <= (now_ns - self._began_ns) * self._speed
