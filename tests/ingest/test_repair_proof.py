from __future__ import annotations

import tracemalloc
from collections.abc import Iterable

import pytest
from msgspec.structs import replace

from etl.adapter.contract import Channel, SequenceRule
from etl.exchanges.binance import Binance
from etl.ingest.repair_proof import Fetched, judge_ids
from etl.model.records import Gap, GapKind, GapState, Record, Source
from etl.sequencing.gap import declared
from tests.support import stream

(TRADES,) = (channel for channel in Binance.channels if channel.name == "trade")
MIB = 1 << 20


def trade(number: int) -> Record:
    return stream.trade(0, source=Source.REPAIR, sequence=number)


def fetched(good: Iterable[int], refused: Iterable[int] = (), channel: Channel = TRADES) -> Fetched:
    found = Fetched(gap(1, 2), channel)
    for number in good:
        found.judged(trade(number), is_good=True)
    for number in refused:
        found.judged(trade(number), is_good=False)
    return found


def gap(first: int, last: int) -> Gap:
    return declared(trade(0), GapKind.SEQUENCE, GapState.OPEN, "", 0, 0, first, last)


@pytest.mark.parametrize(
    ("good", "refused", "state", "reason"),
    [
        ((5, 3, 4, 4, 9), (), GapState.REPAIRED, "all ids are there"),
        ((3, 5, 9), (4,), GapState.UNREPAIRABLE, "id 4 are in quarantine"),
        ((3, 4, 5), (4,), GapState.REPAIRED, "all ids are there"),
        ((3,), (1, 4, 5, 8), GapState.UNREPAIRABLE, "2 ids from 4 to 5 are in quarantine"),
        ((4, 9), (), GapState.SOURCE_HOLE, "the history leaves out 2 ids from 3 to 5"),
        ((3, 4, 6), (), GapState.SOURCE_HOLE, "the history leaves out id 5"),
        ((1, 2, 3), (), GapState.OPEN, "the history does not reach 2 ids from 4 to 5 yet"),
        ((), (), GapState.OPEN, "the history does not reach 3 ids from 3 to 5 yet"),
    ],
)
def test_ids_3_to_5_are_judged_by_the_set_of_those_that_came(
    good: tuple[int, ...], refused: tuple[int, ...], state: GapState, reason: str
) -> None:
    verdict = judge_ids((3, 5), fetched(good, refused))
    assert (verdict.state, verdict.reason, verdict.rows) == (state, reason, len(good) + len(refused))


def test_a_verdict_costs_no_memory_by_the_width_of_its_gap() -> None:
    few = fetched((1, 2_000_000))
    tracemalloc.start()
    verdict = judge_ids((1, 1_000_000), few)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert verdict.reason == "the history leaves out 999999 ids from 2 to 1000000"
    assert peak_bytes < MIB


def test_what_came_is_kept_as_runs_of_ids_and_not_at_all_where_no_id_proves_anything() -> None:
    tracemalloc.start()
    found = fetched(range(500))
    rising = fetched(range(0, 1_000, 2), channel=replace(TRADES, rule=SequenceRule.RISING))
    kept_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert (found.rows, rising.rows) == (500, 500)
    assert kept_bytes < 8_192
