"""``etl sessions show`` at the end of a calendar."""

from __future__ import annotations

from typer.testing import CliRunner

from etl.commands.sessions import app


def test_the_last_line_says_where_the_calendar_ends() -> None:
    told = CliRunner().invoke(app, ["show", "nse", "--start", "2026-12-31"])
    assert told.exit_code == 0
    assert told.stdout.splitlines() == [
        "2026-12-31  opening_auction 2026-12-31 03:30 to 2026-12-31 03:45  (exchange_calendars 4.13.2)",
        "2026-12-31  regular         2026-12-31 03:45 to 2026-12-31 10:00  (exchange_calendars 4.13.2)",
        "2026-12-31  closing_auction 2026-12-31 09:45 to 2026-12-31 10:05  (exchange_calendars 4.13.2)",
        "2027-01-01  unknown         2026-12-31 18:30 to 2262-04-11 23:47  (calendar XNSE ends at 2026-12-31)",
    ]
