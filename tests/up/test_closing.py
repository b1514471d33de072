from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from etl.embedded.status import PartState
from etl.errors import EtlError
from etl.monitoring import processes
from etl.monitoring.processes import SinkStatus, Snapshot, VenueStatus
from etl.settings import Settings
from etl.transports import kafka_backlogs
from etl.up import closing


def reading(rows: int, backlog: int = 0, state: str = "running", **venue: int) -> Snapshot:
    return Snapshot(
        taken_ns=1,
        venues={"binance": VenueStatus(state="streaming", **venue)},
        sinks={"clickhouse": SinkStatus(state=state, rows=rows, backlog=backlog)},
    )


def readings_used(
    monkeypatch: pytest.MonkeyPatch, readings: list[Snapshot], uncommitted: Sequence[int] = (0,)
) -> int:
    """How many readings ``caught_up`` takes; the last one lasts, as does the last count of ``uncommitted``."""
    uncommitted = list(uncommitted)
    taken: list[Snapshot] = []

    def take(parts: list[PartState], host: str) -> Snapshot:
        taken.append(readings[min(len(taken), len(readings) - 1)])
        return taken[-1]

    monkeypatch.setattr(processes, "take", take)
    monkeypatch.setattr(
        kafka_backlogs, "behind", lambda *_: uncommitted.pop(0) if len(uncommitted) > 1 else uncommitted[0]
    )
    monkeypatch.setattr(closing, "SETTLE_POLL_S", 0.001)
    asyncio.run(closing.caught_up(Settings(), list))
    return len(taken)


def test_caught_up_means_nothing_pending_and_nothing_moving_for_several_readings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    still = reading(50)
    assert readings_used(monkeypatch, [still]) == 1 + closing.SETTLED_READINGS
    moving = [reading(10), reading(20), reading(50, frames=3), still]
    assert readings_used(monkeypatch, moving) == len(moving) + closing.SETTLED_READINGS


def test_a_sink_that_waits_for_its_partitions_and_tells_of_no_backlog_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert readings_used(monkeypatch, [reading(50)], [9, 9, 9, 9, 9, 9, 0]) == 6 + closing.SETTLED_READINGS


@pytest.mark.parametrize(
    "unfinished",
    [
        reading(50, backlog=1),
        reading(50, pending=1),
        reading(50, repairs_pending=1),
        reading(50, state="restarting"),
    ],
)
def test_what_is_unfinished_is_waited_for(monkeypatch: pytest.MonkeyPatch, unfinished: Snapshot) -> None:
    readings = [unfinished] * 10 + [reading(50)]
    assert readings_used(monkeypatch, readings) >= 10 + closing.SETTLED_READINGS


def test_a_backlog_that_does_not_shrink_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "STALLED_AFTER_S", 0.05)
    with pytest.raises(EtlError, match="sink clickhouse is running with a backlog of 7"):
        readings_used(monkeypatch, [reading(50, backlog=7)])


def test_a_gap_that_cannot_be_repaired_now_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "REPAIRS_WITHIN_S", 0.02)
    assert readings_used(monkeypatch, [reading(50, repairs_pending=1)]) > closing.SETTLED_READINGS
