from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from etl.bench.faults import WAITING_FAULTS, FaultsRun, is_good, schedule
from etl.bench.rig import free_settings
from etl.settings import changed
from etl.simulator.faults import KINDS

VENUES = ("binance", "polygon", "alpaca")
LIVELY_S = 20.0


def test_the_schedule_has_every_kind_of_fault_and_as_many_disconnects_as_asked() -> None:
    steps = schedule(VENUES, 47, 90.0, waiting=True)
    assert {step.kind for step in steps} == set(KINDS)
    assert sum(step.kind == "disconnect" for step in steps) == 47
    assert {step.exchange for step in steps if step.kind == "disconnect"} == set(VENUES)


def test_faults_with_long_waits_come_after_the_others_and_one_by_one() -> None:
    steps = schedule(VENUES, 47, 90.0, waiting=True)
    for venue in VENUES:
        waiting = [step.at_s for step in steps if step.kind in WAITING_FAULTS and step.at_s >= 90.0]
        others = [step.at_s for step in steps if step.exchange == venue and step.at_s < 90.0]
        assert waiting
        assert max(others) < min(waiting)
    assert not [s for s in schedule(VENUES, 47, 90.0, waiting=False) if s.kind == "mute"]


@pytest.mark.integration
@pytest.mark.timeout(240)
def test_under_faults_nothing_is_lost_doubled_or_missing_in_silence_and_histories_fill_their_holes(
    tmp_path: Path,
) -> None:
    settings = changed(free_settings(tmp_path, ",".join(VENUES), 150.0), topic_partitions=2)
    steps = schedule(VENUES, 9, LIVELY_S, waiting=False)
    result = asyncio.run(FaultsRun(settings, steps, LIVELY_S, until_bar=False).result())
    assert is_good(result), json.dumps(result)
    assert result["disconnects"] >= 9
    assert result["gaps_repaired"] > 0
    assert result["declared_excess_ids"] == 0
    assert result["events_sent"] > 3 * 150 * LIVELY_S / 2
