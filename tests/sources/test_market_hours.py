from __future__ import annotations

from datetime import UTC, datetime

import pytest

from etl.sources.market_hours import MarketHours

NEW_YORK = MarketHours("XNYS")


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-20T14:29:59", False),
        ("2026-11-20T14:30:00", True),
        ("2026-11-20T20:59:59", True),
        ("2026-11-20T21:00:00", False),
        ("2026-11-21T16:00:00", False),  # Saturday
        ("2026-11-26T16:00:00", False),  # Thanksgiving
        ("2026-11-27T17:59:59", True),
        ("2026-11-27T18:00:00", False),  # closes early
        ("2027-03-15T13:30:00", True),  # daylight saving, and beyond the first layout
    ],
)
def test_new_york_is_open_when_it_is(moment: str, is_open: bool) -> None:
    now_ns = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000_000
    assert NEW_YORK.is_open(now_ns) is is_open


def test_a_market_that_never_closes_needs_no_calendar() -> None:
    assert MarketHours("24/7").is_open(0)
