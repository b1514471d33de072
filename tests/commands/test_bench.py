"""``etl bench`` when somebody ends it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import etl_command
from tests.support.topics import eventually

ENDS_WITHIN_S = 60.0


@pytest.mark.integration
def test_a_benchmark_that_is_ended_leaves_no_server_and_no_folder(tmp_path: Path) -> None:
    with subprocess.Popen(
        etl_command("bench", "start", "--no-airflow", "--venues", "binance", "--runs", "1"),
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        eventually(lambda: any(tmp_path.glob("etl-bench-*/**/kafka")))
        running.send_signal(signal.SIGTERM)
        assert running.wait(ENDS_WITHIN_S) != 0
    assert list(tmp_path.iterdir()) == []
    left = subprocess.run(["pgrep", "--full", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
