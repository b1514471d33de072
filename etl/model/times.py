"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime

from etl.errors import UsageError


def parse_ns(text: str) -> int:
    """ISO 8601 → ns, UTC where it names no zone. Raises ``UsageError``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text}: not an ISO 8601 time such as 2026-01-31T12:00:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


def text_of(time_ns: int) -> str:
    """``2026-01-31 12:00:00 UTC``."""
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
