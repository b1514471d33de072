"""``etl.lake.Lake``: what it finds is what the views find, exactly, in every form, and it says how far it reaches."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from etl.errors import StoreError, UsageError
from etl.lake import IncompleteWarning, Lake
from etl.lake.compaction import compact, vacuum
from etl.lake.derived import derive
from etl.lake.layout import FILE_SCHEMAS
from etl.model.records import BarState, GapState, Source
from etl.settings import Settings, make
from tests.support import stream
from tests.support.bucket import running_bucket
from tests.support.lake import complete_until, export_records, query, state_of

MS, START = stream.MS, stream.START_NS
WIDE = "1234567890123.1234567890123456789"
WIDER = "0.1234567890123456789012345"
FAR = f"0.{'1' * 30}"
LATER = START + stream.DAY

OVERLAPPING = (
    [
        stream.trade(0, last_price=WIDE, conditions=("@", "T"), flags=("stale",)),
        stream.trade(1, "kraken", symbol="XBT/USD", trade_id=""),
        stream.trade(2, symbol='odd %2A=\' "name" 币', last_price="0.00000001", volume=FAR),
        stream.trade(3, symbol="BTC-EUR", volume=WIDER),
        stream.trade(4, time_ns=LATER, volume="9999999999.12345678"),
        stream.quote(0, ask=None),
        stream.book(0, bid_sizes=("0.0000000001", "1"), ask_prices=(), ask_sizes=()),
        stream.bar(0, bar_state=BarState.OPEN, quote_volume="12.1234567890123456789"),
        stream.bar(1),
        stream.gap(0, exchange="*", symbol="*", to_sequence=None),
        stream.gap(1),
    ],
    [
        stream.trade(0, last_price=WIDE, parser_version=2, venue_symbol="newer"),
        stream.trade(1, "kraken", symbol="XBT/USD", trade_id="", source=Source.REPAIR),
        stream.trade(5),
        # the venue told no time: its copy, of the same key time, lies in the next day
        stream.quote(6, key_time_ns=START, receive_time_ns=START + 9),
        stream.quote(6, key_time_ns=START, receive_time_ns=LATER + 9, parser_version=3),
        stream.quote(0, ask="9", parser_version=7),
        stream.book(0, depth=5, parser_version=2, bid_sizes=("2", "0.5"), ask_prices=(), ask_sizes=()),
        stream.bar(0, bar_state=BarState.CLOSED),
        stream.gap(1, gap_state=GapState.REPAIRED, receive_time_ns=LATER),
    ],
)


def with_doubles(settings: Settings) -> Settings:
    """Two exports that share identities."""
    export_records(settings, OVERLAPPING[0])
    export_records(settings, OVERLAPPING[1], len(OVERLAPPING[0]))
    return settings


@pytest.fixture
def overlapping(settings: Settings) -> Settings:
    return with_doubles(settings)


@pytest.fixture(scope="module", params=["exported", "compacted"])
def standing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The same for tests that only read."""
    made = with_doubles(make(state_dir=str(tmp_path_factory.mktemp("lake"))))
    if request.param == "compacted":
        compact(made, START)
    return made


def by_views(settings: Settings, table: str, where: str = "true") -> list[tuple[Any, ...]]:
    names = ", ".join(name for name in FILE_SCHEMAS[table].names if name != "wide_decimals")
    return query(
        settings, f"SELECT exchange, {names} FROM {table} WHERE {where} ORDER BY exchange, symbol, record_key"
    )


def rows_of(frame: pl.DataFrame, table: str) -> list[tuple[Any, ...]]:
    names = [name for name in FILE_SCHEMAS[table].names if name != "wide_decimals"]
    return frame.sort("exchange", "symbol", "record_key").select("exchange", *names).rows()


@pytest.mark.parametrize("table", ["trades", "quotes", "book_updates", "bars", "gaps"])
def test_it_finds_what_the_views_find_in_every_value(standing: Settings, table: str) -> None:
    found = Lake(standing).table(table).collect()
    assert rows_of(found, table) == by_views(standing, table)
    assert found["time_ns"].to_list() == sorted(found["time_ns"])


def keys_of(result: Any) -> list[tuple[str, str, str]]:
    return list(result.lazy().select("exchange", "symbol", "record_key").collect().sort(pl.all()).iter_rows())


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"exchange": "binance"}, "exchange = 'binance'"),
        ({"exchange": ["binance", "kraken"], "symbol": ["XBT/USD", "BTC-EUR"]}, "symbol IN ('XBT/USD', 'BTC-EUR')"),
        ({"symbol": "BTC-*"}, "symbol LIKE 'BTC-%'"),
        ({"symbol": ["BTC-E*", 'odd %2A=\' "name" 币']}, "symbol = 'BTC-EUR' OR symbol LIKE 'odd%'"),
        ({"symbol": "NONE"}, "false"),
        ({"exchange": "none"}, "false"),
        ({"start": LATER}, f"event_time_ns >= {LATER}"),
        ({"end": LATER}, f"event_time_ns < {LATER}"),
        ({"start": START + 1 * MS, "end": START + 3 * MS}, f"event_time_ns BETWEEN {START + MS} AND {START + 2 * MS}"),
        ({"start": START + 1, "end": START + MS + 1}, f"event_time_ns = {START + MS}"),
        ({"symbol": "BTC-USDT", "start": date(2024, 8, 9)}, f"symbol = 'BTC-USDT' AND event_time_ns = {LATER}"),
        ({"start": "2024-08-09T00:00", "end": datetime(2024, 8, 10)}, f"event_time_ns = {LATER}"),
    ],
    ids=str,
)  # fmt: skip
def test_exchange_symbol_and_time_choose_the_rows(
    standing: Settings, asked: dict[str, Any], where: str
) -> None:
    found = Lake(standing).trades(**asked, incomplete="allow")
    assert keys_of(found) == query(
        standing, f"SELECT exchange, symbol, record_key FROM trades WHERE {where} ORDER BY ALL"
    )


def test_what_holds_of_an_identity_holds_even_where_its_time_is_not_asked_for(overlapping: Settings) -> None:
    first_day = Lake(overlapping).quotes(end=LATER, incomplete="allow").collect()
    assert first_day["parser_version"].to_list() == [7]
    compact(overlapping, START)
    assert Lake(overlapping).quotes(end=LATER, incomplete="allow").collect().equals(first_day)


def test_only_files_of_the_time_and_the_symbol_are_opened(settings: Settings) -> None:
    for day in range(3):
        first = START + day * stream.DAY
        export_records(
            settings,
            [stream.trade(day * 2, time_ns=first), stream.trade(day * 2 + 1, time_ns=first + MS)],
            day * 2,
        )
    lake = Lake(settings)
    one = lake.trades("binance", "BTC-USDT", START + stream.DAY, START + 2 * stream.DAY, incomplete="allow")
    assert (one.scan.files, one.versions, one.lazy().select(pl.len()).collect().item()) == (
        1,
        {"trades": 2},
        2,
    )
    assert lake.trades(symbol="ETH-*").scan.files == 0
    assert (lake.trades().scan.files, lake.trades(end=START, incomplete="allow").scan.files) == (3, 0)


def test_a_result_has_every_form_and_none_rounds(overlapping: Settings) -> None:
    lake = Lake(overlapping)
    names = ["symbol", "time", "time_ns", "last_price", "volume", "sequence"]
    found = lake.trades("binance", ["BTC-USDT", "BTC-EUR"], columns=names)
    expected = [
        ("BTC-USDT", START, Decimal(WIDE), Decimal("0.02"), 3735683259),
        ("BTC-EUR", START + 3 * MS, Decimal("61840.03"), Decimal(WIDER), 3735683262),
        ("BTC-USDT", START + 5 * MS, Decimal("61842.05"), Decimal("0.02"), 3735683264),
        ("BTC-USDT", LATER, Decimal("61841.04"), Decimal("9999999999.12345678"), 3735683263),
    ]
    without_time = [name for name in names if name != "time"]
    assert found.collect().select(without_time).rows() == expected
    assert found.lazy().sort("time_ns").select(without_time).collect().rows() == expected
    table = found.to_arrow()
    assert [tuple(row[name] for name in without_time) for row in table.to_pylist()] == expected
    assert table["time"][0].as_py() == datetime(2024, 8, 8, 23, 54, 15, 342_000, tzinfo=UTC)
    frame = found.to_pandas()
    assert list(frame["time_ns"]) == [row[1] for row in expected]
    assert list(frame["last_price"]) == [row[2] for row in expected]
    assert (str(frame["sequence"].dtype), str(frame["time"].dtype)) == ("int64", "datetime64[us, UTC]")
    with duckdb.connect() as connection:
        relation = found.to_duckdb(connection)
        assert relation.aggregate("sum(volume), max(last_price)").fetchall() == [
            (Decimal("9999999999.2869135690123456789012345"), Decimal(WIDE))
        ]
    assert found.pipe(lambda rows: rows.filter(pl.col("volume") > 1)).collect()["time_ns"].to_list() == [
        LATER
    ]
    assert repr(found).startswith("<trades: 3 files, ")


def test_a_long_fraction_takes_no_room_from_the_digits_before_the_point(settings: Settings) -> None:
    tiny, longer = f"0.{'0' * 24}1", f"0.{'0' * 27}1"
    export_records(settings, [stream.trade(0, last_price=WIDE), stream.trade(1, last_price=tiny)])
    held: list[Decimal | None] = [Decimal(WIDE), Decimal(tiny)]
    sql = "SELECT last_price FROM trades ORDER BY time"
    for _ in range(2):
        assert Lake(settings).trades().collect()["last_price"].to_list() == held
        assert [price for (price,) in query(settings, sql)] == held
        compact(settings, START)
    export_records(settings, [stream.trade(2, last_price=longer)], 2)
    # 13 digits before the point leave room for 25 behind it
    found = Lake(settings).trades(columns=["last_price", "wide_decimals"]).collect()
    assert found["last_price"].to_list() == [*held, None]
    assert found["wide_decimals"].to_list()[2] == {"last_price": longer}
    assert [price for (price,) in query(settings, sql)] == [*held, None]


def test_missing_integers_stay_integers_in_pandas(settings: Settings) -> None:
    export_records(settings, [stream.quote(0, sequence=(1 << 62) + 1), stream.quote(1, sequence=None)])
    frame = Lake(settings).quotes(columns=["sequence"]).to_pandas()
    assert frame["sequence"][0] == (1 << 62) + 1
    assert frame["sequence"].isna().tolist() == [False, True]


def test_sql_sees_the_same_commit(overlapping: Settings) -> None:
    lake = Lake(overlapping)
    count = "SELECT count(*) FROM trades"
    assert lake.sql(count).fetchall() == [(6,)]
    export_records(overlapping, [stream.trade(9)], 100)
    assert (lake.sql(count).fetchall(), len(lake.trades().collect())) == ([(6,)], 6)
    lake.refresh()
    assert (lake.sql(count).fetchall(), len(lake.trades().collect())) == ([(7,)], 7)


def test_a_refresh_follows_exports_compactions_and_deletions(overlapping: Settings) -> None:
    lake = Lake(overlapping)
    for table in ("trades", "quotes", "gaps"):
        lake.table(table).collect()  # what is made of its files goes on
    shown = lake._view
    lake.refresh()
    assert lake.versions == shown.versions()
    export_records(overlapping, [stream.trade(9), stream.trade(10, "okx", time_ns=LATER)], 100)
    complete_until(overlapping, LATER + 1)
    for change in (lambda: None, lambda: compact(overlapping, START), lambda: derive(overlapping)):
        change()
        lake.refresh()
        anew = Lake(overlapping)
        assert (lake.versions, lake.complete_until_ns) == (anew.versions, LATER + 1)
        assert lake._view.state == anew._view.state
        for table in ("trades", "quotes", "gaps", "ohlcv_1m"):
            found, expected = (it.table(table, incomplete="allow") for it in (lake, anew))
            assert found.collect().equals(expected.collect())
            assert (found.scan, found.versions) == (expected.scan, expected.versions)


def test_an_answer_knows_how_far_the_lake_is_complete(settings: Settings) -> None:
    export_records(settings, [stream.trade(number) for number in range(5)])
    lake = Lake(settings)
    assert (lake.complete_until_ns, lake.complete_until, len(lake.trades().collect())) == (None, None, 5)
    with pytest.warns(IncompleteWarning, match="nobody has told"):
        lake.trades(end=START + 10 * MS)
    with pytest.raises(StoreError, match="nobody has told"):
        lake.trades(end=START + 10 * MS, incomplete="clamp")

    until = START + 3 * MS
    complete_until(settings, until)
    lake.refresh()
    assert lake.complete_until == datetime(2024, 8, 8, 23, 54, 15, 345_000, tzinfo=UTC)
    whole = lake.trades()
    assert (whole.complete_until_ns, whole.end_ns, len(whole.collect())) == (until, until, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(lake.trades(end=until).collect()) == 3
    with pytest.warns(IncompleteWarning, match="only up to 2024-08-08 23:54:15 UTC") as told:
        beyond = lake.trades(end=until + MS)
    assert (len(beyond.collect()), told[0].filename) == (4, __file__)
    assert len(lake.trades(end=until + MS, incomplete="clamp").collect()) == 3
    assert len(lake.trades(end=until + MS, incomplete="allow").collect()) == 4
    with pytest.raises(StoreError, match="only up to"):
        lake.trades(end=until + MS, incomplete="raise")


def test_an_older_version_and_a_pin_show_what_was_there(overlapping: Settings) -> None:
    before = Lake(overlapping)
    first = before.trades(version=0).collect()
    assert sorted(first["record_key"]) == sorted(
        record.record_key for record in OVERLAPPING[0] if record.kind.name == "TRADE"
    )
    complete_until(overlapping, LATER + stream.DAY)
    lake = Lake(overlapping)
    held = lake.trades().collect()
    pin = lake.pin("march-backtest")
    assert (pin.complete_until_ns, pin.versions["trades"], lake.pins()) == (
        LATER + stream.DAY,
        1,
        [pin],
    )

    export_records(overlapping, [stream.trade(8, "okx")], 100)
    compact(overlapping, 1 << 62)  # everybody's grace is over
    lake = Lake(overlapping)
    assert len(lake.trades("okx").collect()) == 1
    assert lake.trades(version="march-backtest").collect().equals(held)
    old = lake.at("march-backtest")
    old.refresh()
    assert old.trades().collect().equals(held)
    assert (old.complete_until_ns, old.versions) == (LATER + stream.DAY, pin.versions)
    assert old.sql("SELECT count(*) FROM trades").fetchall() == [(len(held),)]
    assert vacuum(overlapping, 1 << 62) == 0
    assert old.trades().collect().equals(held)
    # what the log has forgotten and a pin names
    assert Lake(overlapping).trades(version=0).collect().equals(first)

    lake.unpin("march-backtest")
    assert lake.pins() == []
    vacuum(overlapping, time.time_ns() + 2 * stream.DAY)
    with pytest.raises(UsageError, match="no pin march-backtest; there are none"):
        Lake(overlapping).at("march-backtest")
    with pytest.raises(StoreError, match="2 files of version 0 have been deleted since; pin what shall stay"):
        Lake(overlapping).trades(version=0)
    left = {path.name for path in Path(overlapping.lake_path).rglob("exchange=*/**/*.parquet")}
    assert left == {path.rpartition("/")[2] for path in state_of(overlapping).files}


@pytest.mark.parametrize("name", ["", "a/b", ".hidden", "ü", "x" * 101])
def test_a_pins_name_is_one(overlapping: Settings, name: str) -> None:
    with pytest.raises(UsageError, match="not a pin's name"):
        Lake(overlapping).pin(name)


def test_a_pin_of_files_that_are_gone_is_refused_and_leaves_nothing(overlapping: Settings) -> None:
    old = Lake(overlapping)
    compact(overlapping, 1 << 62)
    with pytest.raises(StoreError, match="refresh, then pin"):
        old.pin("late")
    assert old.pins() == []
    old.refresh()
    assert old.pin("late").name == "late"
    with pytest.raises(UsageError, match="there is a pin late already"):
        old.pin("late")


def test_what_cannot_be_meant_is_refused(overlapping: Settings) -> None:
    lake = Lake(overlapping)
    for asked, told in (
        ({"columns": ["price"]}, "no such column: price"),
        ({"incomplete": "maybe"}, "must be one of warn, clamp, raise, allow"),
        ({"verison": 1}, "no such option: verison"),
        ({"version": "none"}, "no pin none"),
        ({"start": "yesterday"}, "not an ISO 8601 time"),
        ({"with_gaps": "long"}, "not a duration"),
    ):
        with pytest.raises(UsageError, match=told):
            lake.trades(**asked)
    with pytest.raises(UsageError, match="no such table"):
        lake.table("forecasts")
    with pytest.raises(StoreError, match="no version 99"):
        lake.trades(version=99)


def test_a_lake_is_opened_by_its_folder_and_an_empty_one_is_empty(tmp_path: Any) -> None:
    lake = Lake(tmp_path / "lake")
    assert lake.versions == {}
    for found in (
        lake.trades(),
        lake.quotes(with_gaps=True),
        lake.l2(),
        lake.books(),
        lake.bars(interval="1m"),
        lake.gaps(),
    ):
        assert found.collect().is_empty()
        assert found.scan.files == 0


def test_a_bucket_answers_as_the_folder_does(overlapping: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(overlapping.lake_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket() as (address, objects):
        objects |= {
            f"lake/a/{path.relative_to(root)}": path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        there = Lake(f"s3://lake/a?endpoint_override={address}&scheme=http&region=us-east-1")
        assert there.trades().collect().equals(Lake(overlapping).trades().collect())
        assert there.sql("SELECT count(*) FROM trades").fetchall() == [(6,)]


def test_the_package_costs_nothing_until_it_is_used() -> None:
    command = "import sys, etl.lake; print([m for m in ('polars', 'duckdb', 'pyarrow') if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"
