"""When silence means something: the sessions of a market, by exchange_calendars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

ALWAYS = "24/7"
HORIZON_DAYS = 60
"""Sessions are laid out so far ahead, and again when the last is near."""


class MarketHours:
    """``calendar`` is a name that exchange_calendars knows, or ``24/7``. Regular sessions only: before and after
    them even a liquid stock may be silent for minutes."""

    def __init__(self, calendar: str) -> None:
        self._name = calendar
        self._sessions: list[tuple[int, int]] = []
        self._until_ns = 0

    def is_open(self, now_ns: int) -> bool:
        """Whether the market is in session; the first call for a calendar takes seconds (``prepare``)."""
        if self._name == ALWAYS:
            return True
        if now_ns >= self._until_ns:
            self.prepare(now_ns)
        return any(start <= now_ns < end for start, end in self._sessions)

    def prepare(self, now_ns: int) -> None:
        """Lay out the sessions around ``now_ns``."""
        if self._name == ALWAYS:
            return
        import exchange_calendars  # brings pandas: loaded where a market closes at all

        today = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC).date()
        first, last = today - timedelta(days=HORIZON_DAYS), today + timedelta(days=HORIZON_DAYS)
        calendar: Any = exchange_calendars.get_calendar(self._name, start=str(first), end=str(last))
        schedule = calendar.schedule.loc[str(today - timedelta(days=1)) : str(last)]
        self._sessions = [
            (opening.value, closing.value)
            for opening, closing in zip(schedule["open"], schedule["close"], strict=True)
        ]
        self._until_ns = now_ns + (HORIZON_DAYS - 2) * 86_400_000_000_000
