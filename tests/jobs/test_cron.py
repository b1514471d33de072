from __future__ import annotations

import pytest

from etl.errors import UsageError
from etl.jobs.cron import due_after, due_by, minutes_of_day
from etl.jobs.table import JOBS
from etl.model.times import parse_ns

LINES = sorted({job.cron for job in JOBS.values() if job.cron})


@pytest.mark.parametrize(
    ("line", "time", "by", "after"),
    [
        ("* * * * *", "2026-02-28T23:59:59.999999", "2026-02-28T23:59", "2026-03-01T00:00"),
        ("* * * * *", "2026-01-31T00:00", "2026-01-31T00:00", "2026-01-31T00:01"),
        ("*/5 * * * *", "2026-01-31T12:34:56", "2026-01-31T12:30", "2026-01-31T12:35"),
        ("0 * * * *", "2025-12-31T23:00", "2025-12-31T23:00", "2026-01-01T00:00"),
        ("15 */4 * * *", "2026-03-01T00:14:59", "2026-02-28T20:15", "2026-03-01T00:15"),
        ("15 */4 * * *", "2026-03-01T12:34:56", "2026-03-01T12:15", "2026-03-01T16:15"),
        ("30 1 * * *", "2028-02-29T01:29", "2028-02-28T01:30", "2028-02-29T01:30"),
        ("0 0 * * *", "2026-03-01T00:00", "2026-03-01T00:00", "2026-03-02T00:00"),
    ],
)
def test_when_a_line_was_and_will_be_due(line: str, time: str, by: str, after: str) -> None:
    assert due_by(line, parse_ns(time)) == parse_ns(by)
    assert due_after(line, parse_ns(time)) == parse_ns(after)


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_the_table_is_understood(line: str) -> None:
    due_ns = due_after(line, parse_ns("2026-01-31T12:34:56"))
    assert due_by(line, due_ns) == due_ns
    assert due_by(line, due_ns - 1) < parse_ns("2026-01-31T12:34:56")


@pytest.mark.parametrize(
    "line", ["", "* * * *", "0 0 1 * *", "60 * * * *", "* 24 * * *", "*/0 * * * *", "a * * * *"]
)
def test_a_line_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="cron line"):
        minutes_of_day(line)
