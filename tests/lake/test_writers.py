"""Two exporters of one topic and two compactors beside each other, killed at their writes again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pyarrow.parquet as pq
import pytest

from etl import settings as settings_module
from etl.lake.storage import open_storage
from etl.settings import Settings, changed
from tests.support import stream
from tests.support.bucket import running_bucket
from tests.support.lake import query, state_of
from tests.support.lake_writers import APP_ID, ROWS

DEADLY_ROUNDS = 3
DEATHS = "0.12"


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.long)])
def lake(
    request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    if request.param == "folder":
        yield settings
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket() as (address, _):
        url = f"s3://lake/prefix?scheme=http&endpoint_override={address}&region=us-east-1"
        yield changed(settings, lake_url=url)


def run_writers(settings: Settings, seed: int, deaths: str) -> list[int]:
    """How each ended."""
    environment = {**os.environ, **settings_module.as_environment(settings)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.lake_writers", what, f"{seed} {number} {what}", deaths],
            env=environment,
        )
        for what in ("export", "compact")
        for number in range(2)
    ]
    return [writer.wait(timeout=120) for writer in writers]


def test_every_row_is_there_once_however_often_the_writers_are_killed(lake: Settings) -> None:
    ended = [code for seed in range(DEADLY_ROUNDS) for code in run_writers(lake, seed, DEATHS)]
    assert set(ended) <= {0, -9}
    assert ended.count(-9) >= 3
    assert run_writers(lake, 99, "0") == [0, 0, 0, 0]
    state, storage = state_of(lake), open_storage(lake)
    assert state.done("trades", APP_ID) == ROWS
    rows = [
        (key, number)
        for file in state.of("trades")
        for table in [pq.ParquetFile(storage.open(file.path)).read()]
        for key, number in zip(
            table["record_key"].to_pylist(), table["frame_sequence"].to_pylist(), strict=True
        )
    ]
    trades = [stream.trade(n) for n in range(ROWS)]
    assert sorted(rows) == [(trade.record_key, trade.frame_sequence) for trade in trades]
    assert query(lake, "SELECT count(*), count(DISTINCT record_key) FROM trades") == [(ROWS, ROWS)]
