"""Quality by venue and day: the score by its formula, and what is published is what the store says, again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from etl.model.records import GapKind, GapState
from etl.monitoring import incidents
from etl.monitoring.incidents import CRITICAL, Finding
from etl.monitoring.quality import Quality, score
from etl.monitoring.quality_page import page_of
from etl.monitoring.quality_publish import page_path, publish, read
from etl.settings import Settings
from etl.stores.migrate import migrate_clickhouse
from tests.sinks.test_clickhouse import insert
from tests.support.stream import START_NS, gap, trade

SECOND = 1_000_000_000
DAY = datetime.fromtimestamp(START_NS // SECOND, UTC).date()
WHOLE = Quality(
    exchange="okx", day=date(2026, 11, 29), events=1_000_000, gaps=0, gaps_per_million=0.0, repaired=0, open=0,
    source_holes=0, unrepairable=0, share_repaired=1.0, latency_p50_ms=4.0, latency_p99_ms=20.0, coverage=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, 100.0),
        ({"coverage": 0.9}, 90.0),
        ({"quarantined": 1_000_000}, 50.0),
        ({"open": 600, "unrepairable": 400}, 50.0),
        ({"gaps": 1_000, "repaired": 1_000}, 100.0),
        ({"gaps": 9, "source_holes": 9, "coverage": 0.99}, 99.0),
        ({"events": 0}, 0.0),
    ],
)
def test_the_score_is_what_its_formula_says(changed: dict[str, float], expected: float) -> None:
    assert score(replace(WHOLE, **changed)) == expected


def test_the_page_has_a_column_a_venue_and_shows_what_a_venue_calls_itself_as_text() -> None:
    worse = replace(WHOLE, exchange="<b>", day=date(2026, 11, 28), score=12.5, latency_p50_ms=None)
    page = page_of([replace(WHOLE, score=99.5), worse])
    assert "<tr><th>day</th><th>&lt;b&gt;</th><th>okx</th></tr>" in page
    assert '<tr><td>2026-11-29</td><td>–</td><td class="good">99.50</td></tr>' in page
    assert '<tr><td>2026-11-28</td><td class="bad">12.50</td><td>–</td></tr>' in page
    assert '<tr><td>okx</td><td class="good">99.50</td><td>1,000,000</td><td>100.000%</td>' in page
    assert "Nothing is published yet" in page_of([])


@pytest.mark.integration
def test_a_day_is_published_to_the_table_the_lake_and_the_page_and_again_when_it_has_changed(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    start = gap(1, event_time_ns=START_NS, gap_kind=GapKind.START, gap_state=GapState.UNREPAIRABLE)
    open_gap = gap(2, event_time_ns=START_NS + 1, from_time_ns=START_NS, to_time_ns=START_NS + SECOND)
    insert(
        settings, [start, open_gap, *(trade(n, time_ns=START_NS + n * SECOND) for n in range(11))], "first"
    )
    finding = Finding(
        key="silent/binance",
        severity=CRITICAL,
        title="",
        since_ns=0,
        how_far="",
        cause="",
        to_do="",
        exchange="binance",
    )
    with incidents.held(settings.state_path) as ledger:
        ledger.note([finding], START_NS, 3_600.0)

    (before,) = publish(settings, DAY)
    assert (before.exchange, before.day, before.events, before.gaps, before.open) == (
        "binance",
        DAY,
        11,
        1,
        1,
    )
    assert (before.quarantined, before.incidents) == (0, 1)
    assert before.coverage == pytest.approx(0.9)
    assert before.score == round(90 / (1 + 1e6 / 11 / 1_000), 2)
    assert read(settings, DAY) == [before]
    assert pq.read_table(lake_file(settings)).to_pylist() == [
        {name: getattr(before, name) for name in before.__struct_fields__}
    ]
    assert (
        f'<tr><td>{DAY}</td><td class="bad">{before.score:.2f}</td></tr>' in page_path(settings).read_text()
    )

    insert(settings, [trade(n, time_ns=START_NS + n * SECOND) for n in range(11, 21)], "second")
    (after,) = publish(settings, DAY)
    assert (after.events, after.score > before.score) == (21, True)
    assert read(settings, DAY) == [after]
    assert pq.read_table(lake_file(settings)).to_pylist()[0]["events"] == 21


def lake_file(settings: Settings) -> Path:
    return Path(settings.lake_path) / "quality" / f"date={DAY}.parquet"
