from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from etl import crash
from etl.bench.drains import DRAINS
from etl.bench.kill import POINTS, SINK, STORES, WORKER, KillRun, blows
from etl.bench.rig import BROKERS, free_settings, over
from etl.bench.verdict import is_good

CRASH_POINTS = {value for name, value in vars(crash).items() if name.isupper()}


@pytest.mark.parametrize("transport", BROKERS)
def test_a_round_kills_every_part_and_hits_every_crash_point_that_there_is(transport: str) -> None:
    servers = {*STORES, BROKERS[transport]}
    a_round = list(islice(blows(random.Random(3), transport), len(servers) + len(DRAINS) + len(POINTS)))
    assert {blow.part for blow in a_round} == {*servers, *DRAINS, WORKER, SINK}
    assert Counter(blow.point for blow in a_round if blow.point) == Counter(CRASH_POINTS)


@pytest.mark.integration
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("transport", "times"), [("kafka", 3), ("redis", 2)])
def test_kill_9_of_parts_under_load_loses_doubles_and_hides_nothing(
    tmp_path: Path, transport: str, times: int
) -> None:
    run = KillRun(over(transport, free_settings(tmp_path, "binance,alpaca", 100.0)), times=times, seed=7)
    result = asyncio.run(run.result())
    assert is_good(result), json.dumps(result)
    assert result["kills"] >= times
    assert result["kills"] == sum(result["kills_by_part"].values())
    assert result["events"] > 0
    # a worker that begins as its broker is killed ends in one line, and begins again
    assert set(result["other_restarts"]) <= {"stream-binance", "stream-alpaca"}
