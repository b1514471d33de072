from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from etl.bench.chaos import ChaosRun
from etl.bench.rig import free_settings, plain_errors, stopped
from etl.bench.toxics.plan import CLOCK, DISK, STOP
from etl.bench.toxics.proxy import KINDS
from etl.bench.verdict import is_good
from etl.errors import EtlError

SEED = 1


def test_a_drain_that_hangs_is_one_plain_error() -> None:
    async def hang() -> None:
        raise EtlError("load: not done within 300 s")

    async def run() -> None:
        with plain_errors():
            async with asyncio.TaskGroup() as outer, asyncio.TaskGroup() as inner:
                outer.create_task(asyncio.sleep(0.0))
                inner.create_task(hang())

    with pytest.raises(EtlError, match="not done within 300 s"):
        asyncio.run(run())


def test_what_has_just_ended_cannot_stand_still_and_the_run_says_so() -> None:
    async def why_not(leader: int) -> str:
        async with stopped(leader) as reason:
            return reason

    ended = subprocess.Popen(["true"], start_new_session=True)
    ended.wait()
    for leader in (0, ended.pid):
        assert asyncio.run(why_not(leader)) == "it did not run"


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(420)
def test_a_short_chaos_loses_doubles_and_hides_nothing(tmp_path: Path) -> None:
    settings = free_settings(tmp_path / "state", "binance,alpaca", 100.0)
    run = ChaosRun(tmp_path, settings, 40.0, SEED)
    result = asyncio.run(run.result())
    assert is_good(result), json.dumps(result)
    assert result["events"] > 0
    assert {act["kind"] for act in result["done"]} == {*KINDS, STOP, CLOCK, DISK}
    assert len(result["done"]) == result["acts"]
    left_out = {act["kind"] for act in result["done"] if "left_out" in act}
    assert left_out <= ({DISK} if "tmpfs" not in result["disk"] else set()), result["done"]
