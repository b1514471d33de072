from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from etl.bench.rig import free_settings
from etl.bench.soak import GROWTH_MIB_MIN, SoakRun, judged, slope, thinned


def test_the_slope_is_that_of_the_line_whatever_a_few_readings_say() -> None:
    line = [(float(s), 100.0 + 0.25 * s) for s in range(200)]
    assert slope(line) == 0.25
    spiked = [(s, value + (500.0 if s % 20 == 0 else 0.0)) for s, value in line]
    assert slope(spiked) == pytest.approx(0.25, abs=0.02)
    assert slope(line[:1]) == 0.0


def test_growth_within_the_bound_is_flat_and_a_leak_is_not() -> None:
    waves = [(float(s), 400.0 + 10 * math.sin(s)) for s in range(100)]
    assert judged(waves, 0.05)["flat"]
    leak = [(s, value + s) for s, value in waves]
    assert not judged(leak, 0.05)["flat"]
    assert judged([(0.0, 10.0), (1.0, 10.0 + GROWTH_MIB_MIN)], 0.05)[
        "flat"
    ]  # of little, a little more is no leak


def test_a_long_series_is_thinned() -> None:
    assert thinned([(float(s), 1.23) for s in range(240)])[:2] == [(0, 1.2), (8, 1.2)]


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(180)
def test_a_short_soak_reads_memory_and_backlog_of_every_part(tmp_path: Path) -> None:
    result = asyncio.run(SoakRun(free_settings(tmp_path, "binance", 200.0), 12.0).result())
    assert set(result["memory"]) == {"kafka", "clickhouse", "stream-binance", "sink-clickhouse"}
    assert result["restarts"] == 0
    assert result["events_per_s"] > 50
    assert result["memory"]["sink-clickhouse"]["median_mib"] > 20
