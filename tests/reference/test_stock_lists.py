"""What a vendor lists of stocks, from its answers into every store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec import structs

from etl.errors import VenueError
from etl.exchanges import load
from etl.lake import layout
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_DAY
from etl.reference.recorded import record
from etl.reference.stock_lists import chosen, refresh, states
from etl.settings import Settings, changed
from etl.simulator.stocks import FIGIS, LISTED
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from tests.support.access import access_at
from tests.support.lake import query
from tests.support.serving import simulator
from tests.support.venue_server import venue_server

TODAY = date(2026, 11, 30)
NOW_NS = 1_796_000_000_123_456_789  # 2026-11-30
PAGE = (
    b'{"results":[{"ticker":"AAPL","name":"Apple Inc.","market":"stocks","locale":"us","primary_exchange":"XNAS",'
    b'"type":"CS","active":true,"currency_name":"usd","cik":"0000320193","composite_figi":"BBG000B9XRY4",'
    b'"share_class_figi":"BBG001S5N8V8","last_updated_utc":"2026-11-29T00:00:00Z"},'
    b'{"ticker":"TWTR","name":"Twitter, Inc.","type":"CS","active":false,"currency_name":"usd",'
    b'"delisted_utc":"2022-11-08T05:00:00Z"},{"ticker":"ODD","type":"AGEN","name":null}],"status":"OK"}'
)
APPLE = InstrumentState(
    "polygon", "AAPL", "AAPL", "stock", quote="USD", status="active", figi="BBG000B9XRY4", market="XNAS",
    title="Apple Inc.",
)  # fmt: skip
TWITTER = InstrumentState(
    "polygon", "TWTR", "TWTR", "stock", quote="USD", status="delisted", delisted_day=date(2022, 11, 8),
    title="Twitter, Inc.",
)  # fmt: skip


def test_a_page_gives_exact_states() -> None:
    odd = InstrumentState("polygon", "ODD", "ODD", "agen", status="active")
    assert list(load("polygon").read_listed(PAGE)) == [APPLE, TWITTER, odd]


@pytest.mark.parametrize("venue", ["polygon_options", "polygon_crypto", "polygon_indices", "alpaca"])
def test_only_a_feed_of_stocks_asks_for_their_list(venue: str) -> None:
    assert load(venue).listed_paths == ()


def test_of_several_that_had_a_ticker_the_listed_one_is_it_else_the_last() -> None:
    older = structs.replace(TWITTER, delisted_day=date(1999, 1, 4), title="Another")
    gone = structs.replace(APPLE, status="delisted", delisted_day=date(2001, 1, 2))
    for rows in ([older, TWITTER, gone, APPLE], [APPLE, gone, TWITTER, older]):
        assert chosen(rows) == {"AAPL": APPLE, "TWTR": TWITTER}


def test_a_ticker_that_is_new_or_anothers_now_is_listed_since_it_was_seen() -> None:
    assert list(states([APPLE], {}, TODAY)) == [APPLE], "nobody knows since when"
    since = structs.replace(APPLE, listed_day=date(2020, 1, 2))
    unnamed = structs.replace(APPLE, figi="")
    anothers = structs.replace(APPLE, figi="BBG000000001")
    for told, expected in (
        (APPLE, since),
        (unnamed, structs.replace(unnamed, listed_day=since.listed_day)),
        (anothers, structs.replace(anothers, listed_day=TODAY)),
    ):
        assert list(states([told], {"AAPL": since}, TODAY)) == [expected]
    left = structs.replace(since, status="delisted", delisted_day=TODAY)
    new = structs.replace(APPLE, venue_symbol="NEW", symbol="NEW")
    assert list(states([new], {"AAPL": since}, TODAY)) == [structs.replace(new, listed_day=TODAY), left]
    later = {"AAPL": left, "NEW": structs.replace(new, listed_day=TODAY)}
    assert list(states([new], later, date(2026, 12, 5))) == [later["NEW"], left]


def test_an_answer_that_is_no_list_is_refused(settings: Settings) -> None:
    lake_only = changed(settings, stores="lake")
    with venue_server() as server:
        server.answers["/v3/reference/tickers"] = (200, "{}")
        access = access_at(f"http://127.0.0.1:{server.port}", load("polygon"), settings.state_path)
        with pytest.raises(VenueError, match="polygon: not a list of stocks"):
            refresh(lake_only, access, NOW_NS)


@pytest.mark.integration
def test_the_stocks_of_a_list_are_in_every_store_beside_rows_of_before_there_were_such_columns(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = changed(settings_with(clickhouse=True, timescale=True), venues="polygon")
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    former = layout.REFERENCE_SCHEMAS[INSTRUMENTS.history]
    bare = pa.schema([field for field in former if field.name not in ("figi", "market", "title")])
    with monkeypatch.context() as patched:
        patched.setitem(layout.REFERENCE_SCHEMAS, INSTRUMENTS.history, bare)
        old = InstrumentState("polygon", "OLD", "OLD", listed_day=date(2019, 3, 1))
        record(settings, INSTRUMENTS, [old], ["polygon"], NOW_NS - NS_PER_DAY)

    in_pages = tuple(path.replace("limit=1000", "limit=4") for path in load("polygon").listed_paths)
    monkeypatch.setattr(load("polygon"), "listed_paths", in_pages)
    counts = asyncio.run(refresh_twice(settings, tmp_path))
    assert counts == [len(LISTED) + 1] * 2
    listed = [
        (name, "stock", "USD", "active", "2026-11-30", "", FIGIS[name], "XNAS", f"{name} Inc.")
        for name in LISTED
    ]
    gone = ("GONE", "stock", "USD", "delisted", "", "2026-03-02", "", "XNAS", "GONE Inc.")
    left = ("OLD", "", "", "delisted", "2019-03-01", "2026-11-30", "", "", "")
    for store, rows in told_by(settings).items():
        assert rows == sorted([*listed, gone, left]), store


async def refresh_twice(settings: Settings, state_path: Path) -> list[int]:
    async with simulator(state_path, "polygon") as simulated:
        access = [
            access_at(f"http://{simulated.address}/polygon", load("polygon"), settings.state_path)
            for _ in range(2)
        ]
        return [
            await asyncio.to_thread(refresh, settings, one, NOW_NS + number)
            for number, one in enumerate(access)
        ]


def told_by(settings: Settings) -> dict[str, list[tuple[str, ...]]]:
    columns = "venue_symbol, instrument_class, quote, status, {listed}, {delisted}, figi, market, title"
    sql = f"SELECT {columns} FROM instruments ORDER BY venue_symbol"
    days = {day: f"ifNull(toString({day}_day), '')" for day in ("listed", "delisted")}
    with connect(settings) as client:
        lines = client.execute(f"{sql.format(**days)} FORMAT TSV").decode().splitlines()
        (versions,) = client.execute("SELECT count() FROM instruments_history FORMAT TSV").decode().split()
    elsewhere = sql.format(**{day: f"coalesce({day}_day::text, '')" for day in ("listed", "delisted")})
    with timescale.session(settings) as connection:
        of_timescale = connection.execute(elsewhere.encode()).fetchall()
    assert int(versions) == len(LISTED) + 3, "a second answer says nothing new"
    return {
        "clickhouse": [tuple(line.split("\t")) for line in lines],
        "timescale": [tuple(map(str, row)) for row in of_timescale],
        "lake": [tuple(map(str, row)) for row in query(settings, elsewhere)],
    }
