from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import deltalake
import psycopg
import pytest

from etl.errors import UsageError
from etl.lake import Lake
from etl.lake.compaction import compact
from etl.lake.derived import derive
from etl.settings import Settings, changed, make
from etl.sinks.load import load_timescale
from etl.stores.expiry import DAY_S, TABLES, Expired, Retention, expire, retentions
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.query import query
from tests.reconcile.test_holdings import insert_into_clickhouse
from tests.support import stream
from tests.support.lake import complete_until, export_records

LATE_NS = stream.START_NS + 40 * stream.DAY


def test_nothing_expires_by_default() -> None:
    assert retentions(Settings()) == []
    assert [expire(Settings(), store) for store in TABLES] == [[], [], []]


def test_rules_name_store_table_and_days() -> None:
    settings = make(expire_days="timescale.quotes=90, clickhouse.books=400")
    assert retentions(settings) == [
        Retention("timescale", "quotes", 90),
        Retention("clickhouse", "books", 400),
    ]


@pytest.mark.parametrize(
    "text",
    ["quotes=90", "timescale.quotes", "timescale.nosuch=9", "timescale.gaps=9", "lake.gaps=9",
     "clickhouse.others=9", "elsewhere.trades=9",
     "timescale.quotes=1", "timescale.quotes=-3", "timescale.quotes=all"],
)  # fmt: skip
def test_a_rule_that_can_be_misread_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expire_days"):
        retentions(make(expire_days=text))


@pytest.mark.integration
def test_only_chunks_that_are_wholly_older_go(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True, timescale=True, expire_days="timescale.trades=30")
    migrate_timescale(settings)
    now_s = stream.START_NS / 1e9 + 40 * 86_400
    young_ns = stream.START_NS + 39 * stream.DAY
    stream.publish(settings, stream.trade(1, "expiry"), stream.trade(2, "expiry", time_ns=young_ns))
    load_timescale(settings)
    assert expire(settings, "timescale", lambda: now_s) == [Expired("timescale", "trades", 1)]
    assert expire(settings, "timescale", lambda: now_s) == [Expired("timescale", "trades", 0)]
    with psycopg.connect(settings.timescale_address) as connection:
        left = connection.execute("SELECT trade_id FROM trades WHERE exchange = 'expiry'").fetchall()
    assert left == [(str(3_735_683_259 + 2),)]


@pytest.mark.integration
def test_only_months_that_are_wholly_older_go(settings_with: Callable[..., Settings]) -> None:
    """Of 2024-08-08, 2024-09-17 and 2024-09-18, 30 days before 2024-10-17, the September ones stay."""
    settings = settings_with(clickhouse=True, expire_days="clickhouse.trades=30")
    migrate_clickhouse(settings)
    days = (0, 40, 41)
    trades = [stream.trade(n, time_ns=stream.START_NS + n * stream.DAY) for n in days]
    insert_into_clickhouse(settings, [*trades], "expiry")
    now_s = stream.START_NS / 1e9 + 70 * DAY_S
    assert expire(settings, "clickhouse", lambda: now_s) == [Expired("clickhouse", "trades", 1)]
    assert expire(settings, "clickhouse", lambda: now_s) == [Expired("clickhouse", "trades", 0)]
    left = query(settings, "clickhouse", "SELECT trade_id FROM trades ORDER BY trade_id").rows
    assert left == [(str(3_735_683_259 + n),) for n in days[1:]]


def test_only_days_of_the_lake_that_are_wholly_older_go_and_their_files_after_the_grace(
    settings: Settings,
) -> None:
    settings = changed(settings, expire_days="lake.trades=30")
    days = (0, 39, 40)
    export_records(settings, (stream.trade(n, time_ns=stream.START_NS + n * stream.DAY) for n in days))
    export_records(settings, [stream.quote(0)], start=10)
    old = {path for path in Path(settings.lake_path).rglob("*.parquet") if "2024-08-08" in str(path)}
    now_s = stream.START_NS / 1e9 + 69 * DAY_S
    assert expire(settings, "lake", lambda: now_s) == [Expired("lake", "trades", 1)]
    assert expire(settings, "lake", lambda: now_s) == [Expired("lake", "trades", 0)]
    left = query(settings, "lake", "SELECT trade_id FROM trades ORDER BY trade_id").rows
    assert left == [(str(3_735_683_259 + n),) for n in days[1:]]
    assert query(settings, "lake", "SELECT count(*) FROM quotes").rows == [(1,)]
    assert all(path.exists() for path in old)
    compact(settings, time.time_ns() + int(settings.lake.grace_s * 1e9) + 1)
    assert [path.exists() for path in sorted(old)] == [True, False]


def test_bars_of_expired_trades_stay_whatever_comes_late(settings: Settings) -> None:
    settings = changed(settings, expire_days="lake.trades=30")
    export_records(settings, [stream.trade(0), stream.trade(1), stream.trade(2, time_ns=LATE_NS)])
    derive(settings)
    bars = "SELECT symbol, time, open, high, low, close, volume, trades FROM ohlcv_1s ORDER BY time"
    made = query(settings, "lake", bars).rows
    assert [row[-1] for row in made] == [2, 1]
    assert expire(settings, "lake", lambda: LATE_NS / 1e9 + DAY_S) == [Expired("lake", "trades", 1)]
    assert expire(settings, "lake", lambda: LATE_NS / 1e9 + DAY_S) == [Expired("lake", "trades", 0)]
    export_records(settings, [stream.trade(5), stream.trade(6, time_ns=LATE_NS + 1)], start=10)
    complete_until(settings, LATE_NS + stream.DAY)
    derive(settings)
    assert query(settings, "lake", bars).rows[:-1] == made[:-1]
    assert query(settings, "lake", bars).rows[-1][-1] == 2  # of the day that is kept they follow
    assert Lake(settings).ohlcv().complete_until_ns == LATE_NS + stream.DAY
    kinds = "SELECT date::text, kind, rows FROM coverage ORDER BY ALL"
    assert query(settings, "lake", kinds).rows[0] == ("2024-08-08", "trade", 1)
    place = f"{settings.lake_path}/tables/ohlcv_1s"
    assert sorted(deltalake.DeltaTable(place).to_pyarrow_dataset().to_table()["trades"].to_pylist()) == [2, 2]


def test_of_a_lake_that_is_uploaded_what_is_in_the_bucket_expires(settings: Settings, tmp_path: Path) -> None:
    far = changed(settings, lake_url=str(tmp_path / "far"))
    export_records(far, [stream.trade(0)])
    local_first = changed(settings, lake_upload_url=far.lake.url, expire_days="lake.trades=30")
    assert expire(local_first, "lake", lambda: LATE_NS / 1e9) == [Expired("lake", "trades", 1)]
