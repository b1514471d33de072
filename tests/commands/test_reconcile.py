from __future__ import annotations

import pytest

from etl.commands.reconcile import COLUMNS, _print_table
from etl.exchanges import names
from etl.reconcile.report import Report, VenueReport


def test_ten_venues_stand_whole_in_a_log_of_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    venues = {name: VenueReport(events_sent=100_000_000 + place) for place, name in enumerate(names()[:10])}
    _print_table(Report(ok=True, duration_s=1.0, venues=venues, latency_ms={}, events_per_s=1.0))
    words = capsys.readouterr().out.split()
    shown = [word for word in words if word in venues]
    assert shown == list(venues)
    assert [word for word in words if word.startswith("100,000,0")] == [
        f"{venue.events_sent:,}" for venue in venues.values()
    ]
    assert set(COLUMNS) <= set(words)
