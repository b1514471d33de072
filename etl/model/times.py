"""Units of time in ns, the lengths of bars, and times as people type them. The only place of these constants."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from etl.errors import UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR
NS_PER_WEEK = 7 * NS_PER_DAY

Time = int | str | date | datetime
"""As callers of Python give it: ns, ISO 8601, a date (its midnight), a datetime; UTC where no zone is named."""
Duration = int | str | timedelta
"""ns, a text such as ``250ms``, ``5s``, ``1m``, ``1h``, ``1d``, or a timedelta."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_NS = {"s": NS_PER_S, "m": NS_PER_MINUTE, "h": NS_PER_HOUR, "d": NS_PER_DAY, "w": NS_PER_WEEK}


def interval_ns(interval: str) -> int:
    """Length of a bar that is called ``1s``, ``5m``, ``1h``, ``1d`` or ``1w``; 0 where its length is not fixed
    (``1M``) or not known."""
    count, unit = interval[:-1], interval[-1:]
    return int(count) * _UNITS_NS.get(unit, 0) if count.isdecimal() and count.isascii() else 0


def parse_ns(text: str) -> int:
    """ISO 8601 → ns, UTC where it names no zone. Raises ``UsageError``."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"{text}: not an ISO 8601 time such as 2026-01-31T12:00:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_S + moment.microsecond * NS_PER_US


def as_ns(time: Time) -> int:
    """Raises ``UsageError`` for a text that is no time."""
    if isinstance(time, int):
        return time
    if isinstance(time, str):
        return parse_ns(time)
    if not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day, tzinfo=UTC)
    moment = time if time.tzinfo else time.replace(tzinfo=UTC)
    nanosecond = getattr(time, "nanosecond", 0)  # pandas has it
    return (moment - _EPOCH) // timedelta(microseconds=1) * NS_PER_US + nanosecond


def duration_ns(duration: Duration) -> int:
    """Raises ``UsageError`` for what is no duration of a fixed length above 0."""
    if isinstance(duration, timedelta):
        ns = duration // timedelta(microseconds=1) * NS_PER_US
    elif isinstance(duration, str):
        ns = _short_ns(duration) or interval_ns(duration)
    else:
        ns = duration
    if ns <= 0:
        raise UsageError(f"{duration}: not a duration such as 250ms, 5s, 1m, 1h or 1d")
    return ns


def _short_ns(duration: str) -> int:
    count, unit = duration[:-2], {"ms": NS_PER_MS, "us": NS_PER_US, "ns": 1}.get(duration[-2:], 0)
    return int(count) * unit if count.isdecimal() and count.isascii() else 0


def text_of(time_ns: int) -> str:
    """``2026-01-31 12:00:00 UTC``."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
