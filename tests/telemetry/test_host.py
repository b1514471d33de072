from __future__ import annotations

import time
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from etl.settings import make
from etl.telemetry.host import FolderMetrics, folder_bytes, with_host


def test_every_process_tells_of_itself_and_of_the_disk_that_its_state_will_lie_on(tmp_path: Path) -> None:
    own = CollectorRegistry()
    Gauge("etl_own", "", registry=own).set(3)
    whole = with_host(own, make(state_dir=str(tmp_path / "not" / "yet")))
    assert whole.get_sample_value("etl_own") == 3
    assert (
        0
        < (whole.get_sample_value("etl_disk_free_bytes") or 0)
        < (whole.get_sample_value("etl_disk_bytes") or 0)
    )
    assert time.time() - 86_400 < (whole.get_sample_value("process_start_time_seconds") or 0) < time.time()


def test_every_process_tells_which_stores_are_filled() -> None:
    whole = with_host(CollectorRegistry(), make(stores="clickhouse,lake"))
    kept = {
        store: whole.get_sample_value("etl_store_kept", {"store": store})
        for store in ("clickhouse", "timescale", "lake")
    }
    assert kept == {"clickhouse": 1, "timescale": 0, "lake": 1}


def test_folders_of_the_state_are_measured_beside_the_scrape(tmp_path: Path) -> None:
    (tmp_path / "lake" / "deep").mkdir(parents=True)
    (tmp_path / "lake" / "deep" / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "kafka").mkdir()
    (tmp_path / "status.json").write_bytes(b"{}")
    sizes = folder_bytes(tmp_path)
    assert list(sizes) == ["kafka", "lake"]
    assert (sizes["kafka"], sizes["lake"] >= 10_000) == (0, True)
    registry = CollectorRegistry()
    registry.register(FolderMetrics(tmp_path))
    deadline = time.monotonic() + 10
    while (found := registry.get_sample_value("etl_state_bytes", {"folder": "lake"})) is None:
        assert time.monotonic() < deadline
    assert found == sizes["lake"]


def test_a_state_that_is_not_there_has_no_folders(tmp_path: Path) -> None:
    assert folder_bytes(tmp_path / "none") == {}
