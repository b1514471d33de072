from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest
from msgspec import json
from prometheus_client.samples import Sample

from etl.bench import latency
from etl.bench.feed.frames import frames, of_symbols, recorded
from etl.bench.feed.paced import SYMBOLS
from etl.bench.rig import free_settings
from etl.monitoring import processes
from etl.simulator import recording


def test_each_symbol_gets_every_frame_with_rising_ids_and_the_time_at_which_it_is_due() -> None:
    path = recording.shipped("binance")
    assert path is not None
    mix = of_symbols(recorded(path, ("trade",)), ("BTCUSDT", "ETHUSDT"))
    count = 3 * len(mix.templates)
    made = [json.decode(frame)["data"] for frame in frames(mix, count, start_ms=1_000, frames_per_ms=10)]
    assert [trade["s"] for trade in made[:4]] == ["BTCUSDT", "ETHUSDT"] * 2
    for symbol in ("BTCUSDT", "ETHUSDT"):
        ids = [trade["t"] for trade in made if trade["s"] == symbol]
        assert ids == list(range(ids[0], ids[0] + count // 2))
    assert [trade["T"] for trade in itertools.islice(made, 0, 41, 10)] == [1_000, 1_001, 1_002, 1_003, 1_004]


def test_acknowledgements_before_the_measured_time_do_not_count() -> None:
    def reading(*counts: int) -> processes.Samples:
        bounds = ("0.001", "0.002", "+Inf")
        return {
            f"{latency.ACKS}_bucket": [
                Sample(f"{latency.ACKS}_bucket", {"exchange": "binance", "le": bound}, count)
                for bound, count in zip(bounds, counts, strict=True)
            ]
        }

    cold, later = reading(0, 0, 50), reading(90, 100, 150)
    assert processes.quantile(later, latency.ACKS, 0.99) == float("inf")
    assert processes.quantile(latency.gained(cold, later), latency.ACKS, 0.99) == pytest.approx(0.0019)
    assert processes.quantile(latency.gained({}, later), latency.ACKS, 0.5) == pytest.approx(0.001 * 75 / 90)


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(180)
def test_a_short_run_measures_every_row_and_what_a_polling_client_sees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "WARM_UP_S", 4.0)
    settings = free_settings(tmp_path, "binance", 300.0)
    result = asyncio.run(latency.LatencyRun(settings, 300.0, SYMBOLS[:2], 4.0).result())
    assert result["stored_per_s"] > 0
    assert result["polled_events"] > 0
    queryable, polled = result["queryable_ms"], result["polled_ms"]
    assert 0 < queryable["p50"] <= queryable["p99"] <= queryable["p99_9"]
    assert polled["p50"] > 0
    assert result["parts_per_minute"] > 0
    assert 0 < result["active_parts_max"] < 100
