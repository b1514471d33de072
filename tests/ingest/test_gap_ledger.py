from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from typer.testing import CliRunner

from etl.commands.gaps import app
from etl.ingest.gap_ledger import Selection, read_gaps, summary
from etl.model.records import Gap, GapKind, GapState
from etl.sequencing.gap import settled
from etl.settings import Settings
from etl.stores.migrate import migrate_clickhouse
from tests.sinks.test_clickhouse import insert
from tests.support.stream import START_NS, gap, trade

SECOND = 1_000_000_000


@pytest.mark.integration
def test_gaps_are_read_back_as_they_were_published_by_every_choice(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    sequence = gap(1, event_time_ns=START_NS, from_time_ns=START_NS, to_time_ns=START_NS + SECOND)
    filled = gap(2, event_time_ns=START_NS + 1, from_time_ns=START_NS, to_time_ns=START_NS + 2 * SECOND)
    start = gap(
        3,
        exchange="polygon",
        event_time_ns=START_NS + 2,
        gap_kind=GapKind.START,
        gap_state=GapState.UNREPAIRABLE,
        from_sequence=None,
        to_sequence=None,
    )
    repaired = msgspec.structs.replace(
        settled(filled, GapState.REPAIRED, START_NS + SECOND, "repair: all ids are there"),
        attempts=2,
        repaired_rows=3,
        detected_time_ns=START_NS + 1,
        flags=("a_flag",),
    )
    trades = [trade(number, time_ns=START_NS + number * SECOND) for number in range(11)]
    insert(settings, [sequence, filled, start, *trades], "first")
    insert(settings, [repaired], "second")

    def chosen(**selection: str) -> list[Gap]:
        return read_gaps(settings, Selection(**selection))

    assert chosen() == [sequence, repaired, start]
    assert chosen(state="open") == [sequence]
    assert chosen(kind="start") == chosen(exchange="polygon") == [start]
    assert chosen(symbol="BTCUSDT") == chosen(symbol="BTC-USDT") == [sequence, repaired, start]
    assert chosen(key=repaired.record_key) == [repaired]
    assert chosen(symbol="' OR 1 = 1 --") == []

    without_end = gap(
        4, event_time_ns=START_NS, from_time_ns=START_NS + 8 * SECOND, gap_state=GapState.UNREPAIRABLE
    )
    (before,) = summary(settings)
    insert(settings, [without_end], "third")
    (after,) = summary(settings)
    assert before["coverage"] == pytest.approx(0.9)
    assert after["coverage"] == pytest.approx(0.7)
    assert (after["gaps"], after["unrepairable"]) == (3, 1)
    row = before
    assert (row["exchange"], row["events"], row["gaps"]) == ("binance", 11, 2)
    assert (row["repaired"], row["open"], row["share_repaired"]) == (1, 1, 0.5)
    assert row["gaps_per_million"] == pytest.approx(2e6 / 11, abs=0.001)
    assert row["coverage"] == pytest.approx(0.9)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(app, ["list", "--kind", "nonsense"])
    assert "nonsense: there are disconnect, sequence" in str(result.exception)
