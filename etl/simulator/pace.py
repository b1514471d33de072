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
        self._heads: dict[str, int] = {}
        self._has_moved = False

    def is_due(self, venue: str, receive_time_ns: int, now_ns: int) -> bool:
        """Whether the next frame of ``venue`` is: its time has come, and no other venue has an earlier one."""
        if venue in self._waiting:
            self._waiting.remove(venue)
            self._has_moved = True
        self._heads[venue] = receive_time_ns
        if self._waiting:
            return False
        self._began_ns = self._began_ns or now_ns
        is_due = receive_time_ns - self._from_ns <= (
            now_ns - self._began_ns
        ) * self._speed and receive_time_ns <= min(self._heads.values())
        self._has_moved |= is_due
        return is_due

    def end(self, venue: str) -> None:
        """It has no more; the others go on."""
        self._has_moved |= self._heads.pop(venue, None) is not None

    def has_moved(self) -> bool:
        """Whether anything changed since this was asked last: then another venue's frame may be due now."""
        moved, self._has_moved = self._has_moved, False
        return moved
