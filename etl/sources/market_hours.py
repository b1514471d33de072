"""When silence means something: the sessions of a market, by exchange_calendars; overnight ones by its New York."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from etl.adapter.contract import Exchange
from etl.adapter.sessions import ALWAYS, NEW_YORK, OVERNIGHT, overnight_ns
from etl.errors import UsageError
from etl.model.times import NS_PER_DAY, NS_PER_S

HORIZON_DAYS = 60
"""Sessions are laid out so far ahead, and again when the last is near."""
BEHIND_DAYS = 60
"""And so far back; the library wants some sessions to begin with."""
EDGE_DAYS = 2
"""Nearer to the end of the layout, or its start, it is made anew."""

Sessions = tuple[tuple[int, int], ...]


class MarketHours:
    """``calendar`` is a name that exchange_calendars knows, ``us_overnight`` or ``24/7``. Regular sessions only: before
    and after them even a liquid stock may be silent for minutes. A late feed has its sessions ``delay_s`` later."""

    def __init__(self, calendar: str, delay_s: float = 0.0) -> None:
        self._name = calendar
        self._delay_ns = int(delay_s * NS_PER_S)
        self._sessions: Sessions = ()
        self._from_ns = self._until_ns = 0

    @classmethod
    def of(cls, exchange: type[Exchange], is_live: bool) -> MarketHours:
        """Those of a venue; a simulated one never closes."""
        return cls(exchange.calendar, exchange.delay_s) if is_live else cls(ALWAYS)

    def is_open(self, now_ns: int) -> bool:
        """Whether the market is in session; the first call for a calendar takes seconds (``prepare``)."""
        if self._name == ALWAYS:
            return True
        if not self._from_ns <= now_ns < self._until_ns:
            self.prepare(now_ns)
        time_ns = now_ns - self._delay_ns
        return any(start <= time_ns < end for start, end in self._sessions)

    def prepare(self, now_ns: int) -> None:
        """Lay out the sessions around ``now_ns``. Raises ``UsageError`` for a calendar that cannot be relied on."""
        if self._name == ALWAYS:
            return
        today = datetime.fromtimestamp(now_ns // NS_PER_S, UTC).date()
        first, last = today - timedelta(days=BEHIND_DAYS), today + timedelta(days=HORIZON_DAYS)
        self._sessions = sessions(self._name, first, last)
        self._from_ns = now_ns - (BEHIND_DAYS - EDGE_DAYS) * NS_PER_DAY
        self._until_ns = now_ns + (HORIZON_DAYS - EDGE_DAYS) * NS_PER_DAY


@lru_cache(maxsize=8)
def sessions(calendar: str, first: date, last: date) -> Sessions:
    """When a market is open on the days from ``first`` to ``last``, as [opening, closing) in ns: two of them on a day
    with a break. Raises ``UsageError`` for a calendar that the library does not know, or does not give right."""
    if calendar == OVERNIGHT:
        return tuple(overnight_ns(day.date()) for day in _schedule(NEW_YORK, first, last).index)
    return tuple(
        span for session in _schedule(calendar, first, last).itertuples() for span in _spans(session)
    )


def _schedule(name: str, first: date, last: date) -> Any:
    """One row a session, by day."""
    import exchange_calendars  # brings pandas: loaded where a market closes at all

    try:
        calendar: Any = exchange_calendars.get_calendar(name, start=str(first), end=str(last))
    except (exchange_calendars.errors.CalendarError, NotImplementedError, ValueError) as error:
        raise UsageError(
            f"calendar {name}: exchange_calendars cannot lay it out: {str(error)[:200]}"
        ) from error
    if getattr(calendar, "special_weekmasks", ()):
        raise UsageError(
            f"calendar {name}: exchange_calendars leaves out its sessions at weekends, with pandas 3"
        )
    return calendar.schedule


def _spans(session: Any) -> Iterator[tuple[int, int]]:
    """A session, or the two halves around its break."""
    bounds = session.open, session.break_start, session.break_end, session.close
    times_ns = [
        bound.value for bound in bounds if bound == bound
    ]  # without a break there is NaT, equal to nothing
    return zip(times_ns[::2], times_ns[1::2], strict=True)
