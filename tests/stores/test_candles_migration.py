"""What the continuous aggregates held is taken over, and what conditions change is made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from etl.settings import Settings
from etl.sinks.timescale import TimescaleStore
from etl.stores import migrate
from etl.stores.migrate import SQL_DIR, migrate_timescale

pytestmark = pytest.mark.integration

BEFORE = 12
"""The last migration with candles as continuous aggregates."""
_TRADES = """
INSERT INTO trades (key_time, time, exchange, symbol, record_key, event_time_ns, receive_time_ns, parser_version,
                    last_price, volume, size_unit, conditions, frame_sequence, frame_index)
SELECT at, at, exchange, 'A', exchange || number, extract(epoch FROM at)::bigint * 1000000000, 1, 1, price, 1, 'share',
       conditions, number, 0
FROM (SELECT timestamptz '2026-06-01 12:00:00+00' + number * INTERVAL '1 second' AS at, *
      FROM (VALUES ('kept', 0, 10, '{37}'::text[]), ('kept', 1, 11, NULL),
                   ('polygon', 0, 10, '{37}'), ('polygon', 1, 11, NULL))
          AS sent (exchange, number, price, conditions)) AS timed
"""
_CANDLES = "SELECT exchange, high, low, volume, trades FROM {} ORDER BY exchange"


def test_candles_are_taken_over(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(timescale=True)
    (tmp_path / "timescale").mkdir()
    for path in (SQL_DIR / "timescale").glob("*.sql"):
        if int(path.name[:4]) <= BEFORE:
            shutil.copy(path, tmp_path / "timescale")
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "SQL_DIR", tmp_path)
        migrate_timescale(settings)
    tables = ("ohlcv_1m", "ohlcv_1h", "ohlcv_1d")
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute(_TRADES)
        for table in tables:
            connection.execute(f"CALL refresh_continuous_aggregate('{table}', NULL, NULL)")
        assert migrate_timescale(settings)[0] == "0013_candles"
        former = (Decimal(11), Decimal(10), Decimal(2), 2)
        for table in tables:
            found = connection.execute(_CANDLES.format(table).encode()).fetchall()
            assert found == [("kept", *former), ("polygon", *former)], table
        with TimescaleStore(settings) as store:
            assert store.refresh_candles() == 1
            assert store.refresh_candles() == 0
        for table in tables:
            found = connection.execute(_CANDLES.format(table).encode()).fetchall()
            assert found == [("kept", *former), ("polygon", Decimal(11), Decimal(11), Decimal(2), 2)], table
