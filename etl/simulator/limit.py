"""How often a simulated venue lets itself be asked."""

from __future__ import annotations

from collections import deque


class Limit:
    """``requests_max`` within any ``per_ns``."""

    def __init__(self, requests_max: int, per_ns: int) -> None:
        self.requests_max = requests_max
        self._per_ns = per_ns
        self._asked: deque[int] = deque()

    def wait_ns(self, now_ns: int) -> int:
        """How long until one may ask again; 0 = now, and it counts."""
        while self._asked and self._asked[0] <= now_ns - self._per_ns:
            self._asked.popleft()
        if len(self._asked) >= self.requests_max:
            return self._asked[0] + self._per_ns - now_ns
        self._asked.append(now_ns)
        return 0
