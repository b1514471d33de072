"""What a scan reads is told before it runs: at most by the log, by row groups by the footers."""

from __future__ import annotations

import warnings

import pytest

from etl.lake import Lake, LargeScanWarning, asof
from etl.lake.estimate import Scan
from etl.settings import Settings, changed
from tests.support import stream
from tests.support.lake import export_records

MS, START = stream.MS, stream.START_NS


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """A file of eight trades, of A and then B, in row groups of two; another of one quote."""
    symbols = ("A", "B", "A", "B", "A", "B", "A", "B")
    trades = [stream.trade(number, symbol=symbol) for number, symbol in enumerate(symbols)]
    export_records(changed(settings, lake_row_group_rows=2), [*trades, stream.quote(0, symbol="A")])
    return Lake(settings)


def test_the_log_tells_what_is_read_at_most_and_the_footers_which_row_groups(lake: Lake) -> None:
    whole = lake.trades()
    size = whole.scan.bytes
    assert whole.scan == whole.closer_scan() == Scan(1, 8, size)
    for asked, rows in (
        ({"symbol": "A"}, 4),
        ({"symbol": ["A", "C*"]}, 4),
        ({"symbol": "B*"}, 4),
        ({"symbol": "AB"}, 0),
        ({"start": START + 4 * MS}, 4),
        ({"start": START + 2 * MS + 999}, 8),  # statistics are of microseconds
        ({"start": START + 2 * MS + 1_000}, 6),
        ({"symbol": "A", "end": START + 4 * MS}, 2),
        ({"symbol": "A", "end": START + 4 * MS + 1}, 4),
    ):
        found = lake.trades(**asked, incomplete="allow")
        assert (found.scan, found.closer_scan()) == (Scan(1, 8, size), Scan(1, rows, size * rows // 8)), asked
    assert lake.trades(symbol="Z").scan == Scan()
    joined = asof(whole, lake.quotes())
    assert joined.scan == Scan(2, 9, size + lake.quotes().scan.bytes)
    assert repr(whole).startswith(f"<trades: 1 files, 8 rows, {size:,} bytes, ")


def test_a_large_scan_is_told_and_a_narrow_one_of_large_files_is_not(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.lake.result.LARGE_SCAN_ROWS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(lake.trades(symbol="A").collect()) == 4
        assert len(lake.quotes().collect()) == 1
    size = lake.trades().scan.bytes
    told = rf"^trades: 1 files, 8 rows, {size:,} bytes are to be read; ohlcv\(\) has prices and volumes"
    for read in (lake.trades().collect, lake.trades().lazy):
        with pytest.warns(LargeScanWarning, match=told) as caught:
            read()
        assert caught[0].filename == __file__
