"""The table of sessions in every store: what is told again is not written again, what is told no more is withdrawn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime

import pytest

from etl.lake.query import connect as connect_lake
from etl.model.reference import SESSIONS, MarketSession
from etl.reference.recorded import record
from etl.reference.sessions import refresh
from etl.settings import Settings, changed
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale

pytestmark = pytest.mark.integration

TODAY = date(2026, 11, 30)
MORNING_NS = 1_796_000_000_000_000_000
NOON_NS = MORNING_NS + 3_600_000_000_000
DAY = (
    "SELECT session_kind, opens_ns FROM {table} WHERE exchange = 'polygon' AND session_day = '2026-11-27'"
    " ORDER BY opens_ns, session_kind"
)


def rows_of(settings: Settings, sql: str, table: str, asof: str) -> dict[str, list[tuple[str, int]]]:
    """Of each store; ``asof`` is the call of the table's function there."""
    with connect(settings) as client:
        lines = client.execute(f"{sql.format(table=asof or table)} FORMAT TSV").decode().splitlines()
    with timescale.session(settings) as connection:
        of_timescale = connection.execute(
            sql.format(table=asof.replace("known_time = ", "") or table).encode()
        )
        told = [(str(kind), int(opens)) for kind, opens in of_timescale.fetchall()]
    with connect_lake(settings) as lake:
        found = lake.sql(sql.format(table=asof.replace("known_time = ", "") or table)).fetchall()
    return {
        "clickhouse": [(kind, int(opens)) for kind, opens in (line.split("\t") for line in lines)],
        "timescale": told,
        "lake": found,
    }


def test_the_sessions_of_every_store(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "etl.reference.sessions.known_days", lambda name: (date(2026, 11, 1), date(2026, 12, 31))
    )
    settings = changed(settings_with(clickhouse=True, timescale=True), venues="polygon,binance,nse")
    migrate_clickhouse(settings)
    migrate_timescale(settings)

    added = refresh(settings, TODAY, MORNING_NS)
    assert set(added) == {"clickhouse", "timescale", "lake"}
    assert len(set(added.values())) == 1
    assert refresh(settings, TODAY, NOON_NS) == {"clickhouse": 0, "timescale": 0, "lake": 0}
    after = "SELECT session_kind, opens_ns FROM {table} WHERE exchange = 'nse' AND session_day > '2026-12-31'"
    for store, found in rows_of(settings, after, "sessions", "").items():
        assert found == [("unknown", 1_798_741_800_000_000_000)], store  # midnight in India

    kinds = ["pre", "opening_auction", "regular", "closing_auction", "post"]
    for store, found in rows_of(settings, DAY, "sessions", "").items():
        assert [kind for kind, _ in found] == kinds, store
    # the year's last call: a day is told to be none
    day = date(2026, 11, 27)
    told = MarketSession("polygon", day, "holiday", NOON_NS, NOON_NS, "XNYS", False, "a day of mourning")
    of_day = record(settings, SESSIONS, [told], ["polygon"], NOON_NS, lambda row: row.session_day == day)
    assert of_day == {"clickhouse": 6, "timescale": 6, "lake": 6}
    for store, found in rows_of(settings, DAY, "sessions", "").items():
        assert found == [("holiday", NOON_NS)], store
    before = datetime.fromtimestamp(MORNING_NS // 10**9, UTC).isoformat()
    asof = f"sessions_at(known_time = '{before[:19].replace('T', ' ')}')"
    for store, found in rows_of(settings, DAY, "sessions", asof).items():
        assert len(found) == 5, store
    always = "SELECT session_kind, opens_ns FROM {table} WHERE exchange = 'binance'"
    for store, found in rows_of(settings, always, "sessions", "").items():
        assert found == [("continuous", 0)], store
