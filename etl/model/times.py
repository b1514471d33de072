"""Units of time in ns, the lengths of bars, and times as people type them. The only place of these constants."""

from __future__ import annotations

from datetime import UTC, datetime

from etl.errors import UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR
NS_PER_WEEK = 7 * NS_PER_DAY

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


def text_of(time_ns: int) -> str:
    """``2026-01-31 12:00:00 UTC``."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
