from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etl.bench.isolation import BLOCKED, Bench


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_six_workers_are_measured_while_the_seventh_is_blocked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seconds=2.0, rate=50.0, flood=500.0)
    phase = asyncio.run(bench.phase(BLOCKED))
    assert phase.events > 6 * 50
    assert phase.latency_ms["p50"] <= phase.latency_ms["p99"]
    assert phase.cpu > 0
