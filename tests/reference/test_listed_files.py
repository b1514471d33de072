"""What the newest end-of-day file of an exchange says of its shares, with their ISIN and FIGI, in every store."""

from __future__ import annotations

import asyncio
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.adapter.contract import Credentials
from etl.adapter.reference import Question
from etl.errors import VenueError
from etl.exchanges import load
from etl.exchanges.openfigi import OpenFigi
from etl.model.identifiers import is_isin
from etl.model.records import Kind
from etl.model.reference import INSTRUMENTS, InstrumentState
from etl.model.times import NS_PER_DAY
from etl.reference.figis import questions
from etl.reference.figis import refresh as refresh_figis
from etl.reference.listed_files import DAYS_BACK_MAX, refresh_all
from etl.reference.recorded import history, record
from etl.settings import Settings, changed
from etl.stores import timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from tests.support.access import access_at
from tests.support.lake import query
from tests.support.serving import simulator

NOW_NS = 1_796_000_000_123_456_789  # 2026-11-30 05:33 in India
RELIANCE, MAHINDRA, BAJAJ = "INE002A01018", "INE101A01026", "INE917I01010"
HEADINGS = "ISIN,TckrSymb, SctySrs ,Rsvd01,TradDt,Sgmt,FinInstrmId,FinInstrmNm\n"
FRIDAY = HEADINGS + (
    f"{RELIANCE},RELIANCE,EQ,,2026-11-27,CM,2885,RELIANCE INDUSTRIES LTD\n"
    f"{MAHINDRA},M&M,BE,,2026-11-27,CM,2031, MAHINDRA & MAHINDRA LTD \n"
    "INE000000001,ODD,EQ,,2026-11-27,CM,1,ODD LTD\n"
    f"{RELIANCE},RELIANCE,,,2026-11-27,FO,9,\n"
)
MONDAY = HEADINGS + f"{BAJAJ},BAJAJ-AUTO,EQ,,2026-11-30,CM,16669,BAJAJ AUTO LIMITED\n\n"


def share(venue: str, venue_symbol: str, symbol: str, title: str, isin: str) -> InstrumentState:
    market = {"nse": "XNSE", "bse": "XBOM"}[venue]
    return InstrumentState(venue, venue_symbol, symbol, quote="INR", market=market, title=title, isin=isin)


OF_FRIDAY = [
    share("nse", "RELIANCE.EQ", "RELIANCE-INR", "RELIANCE INDUSTRIES LTD", RELIANCE),
    share("nse", "M&M.BE", "M&M-INR-BE", "MAHINDRA & MAHINDRA LTD", MAHINDRA),
    share("nse", "ODD.EQ", "ODD-INR", "ODD LTD", ""),
]
OF_MONDAY = share("nse", "BAJAJ-AUTO.EQ", "BAJAJ-AUTO-INR", "BAJAJ AUTO LIMITED", BAJAJ)
OF_BOMBAY = share("bse", "2885", "2885-INR", "RELIANCE INDUSTRIES LTD", RELIANCE)


def put(folder: Path, venue: str, day: str, text: str) -> None:
    path = folder / load(venue)().archive_path(Kind.BAR, "*", day).removeprefix("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".zip":
        path.write_text(text)
        return
    with zipfile.ZipFile(path, "w") as made:
        made.writestr(path.stem, text)


def settings_of(settings: Settings, folder: Path, venues: str = "nse") -> Settings:
    return changed(settings, venues=venues, live=True, archive_url=folder.as_uri())


@pytest.mark.parametrize("isin", [RELIANCE, MAHINDRA, BAJAJ, "US0378331005", "IN0020200153"])
def test_an_isin_ends_with_its_check_digit(isin: str) -> None:
    assert is_isin(isin)
    assert not any(is_isin(isin[:-1] + digit) for digit in "0123456789" if digit != isin[-1])
    assert not any(map(is_isin, ("", isin.lower(), isin[:-1], isin + "0", f"1{isin[1:]}")))


def test_a_file_gives_exact_states() -> None:
    assert list(load("nse").read_listed(FRIDAY.encode())) == OF_FRIDAY
    assert next(iter(load("bse").read_listed(FRIDAY.encode()))) == OF_BOMBAY
    for text, match in (("", "not enough"), ("SYMBOL,SERIES,ISIN\n", "no TckrSymb or ISIN")):
        with pytest.raises(ValueError, match=match):
            list(load("nse").read_listed(text.encode()))


def test_a_day_without_a_trade_delists_nobody(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = changed(settings_of(settings, tmp_path), stores="lake")
    put(tmp_path, "nse", "2026-11-27", FRIDAY)
    with caplog.at_level(logging.WARNING):
        assert refresh_all(settings, NOW_NS) == {"nse": 3}
    assert caplog.messages == ["nse: 1 of 3 instruments have no ISIN, ODD.EQ first"]
    assert refresh_all(settings, NOW_NS + 1) == {"nse": 3}
    put(tmp_path, "nse", "2026-11-30", MONDAY)
    assert refresh_all(settings, NOW_NS + 2) == {"nse": 1}
    told = history(settings, INSTRUMENTS, ["nse"], InstrumentState)
    assert sorted(told, key=lambda one: one[1].venue_symbol) == sorted(
        [*((NOW_NS, row) for row in OF_FRIDAY), (NOW_NS + 2, OF_MONDAY)], key=lambda one: one[1].venue_symbol
    )


def test_what_is_not_there_or_no_file_is_said(
    settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = changed(settings_of(settings, tmp_path), stores="lake")
    put(tmp_path, "nse", "2026-11-27", FRIDAY)
    with caplog.at_level(logging.WARNING):
        assert refresh_all(settings, NOW_NS + DAYS_BACK_MAX * NS_PER_DAY) == {"nse": 0}
    assert caplog.messages == ["nse: no file of the last 14 days"]
    assert refresh_all(changed(settings, archive_url=""), NOW_NS) == {}, "nobody said where they lie"
    put(tmp_path, "nse", "2026-11-30", "a,b\n")
    with pytest.raises(VenueError, match="no list of instruments: no TckrSymb or ISIN among the headings"):
        refresh_all(settings, NOW_NS)


def test_an_isin_is_asked_for_once_a_market(settings: Settings) -> None:
    settings = changed(settings, stores="lake")
    other_series = share("nse", "RELIANCE.BL", "RELIANCE-INR-BL", "RELIANCE INDUSTRIES LTD", RELIANCE)
    record(settings, INSTRUMENTS, [other_series, *OF_FRIDAY], ["nse"], NOW_NS)
    record(settings, INSTRUMENTS, [OF_BOMBAY], ["bse"], NOW_NS)
    assert questions(settings, [load("nse"), load("bse"), OpenFigi]) == [
        Question("2885-INR", "", "XBOM", RELIANCE),
        Question("RELIANCE-INR", "", "XNSE", RELIANCE),
        Question("M&M-INR-BE", "", "XNSE", MAHINDRA),
    ]


@pytest.mark.integration
def test_isin_and_figi_are_in_every_store(settings_with: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_of(settings_with(clickhouse=True, timescale=True), tmp_path, "nse,bse")
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    put(tmp_path, "nse", "2026-11-27", FRIDAY)
    put(tmp_path, "bse", "2026-11-30", FRIDAY)
    assert refresh_all(settings, NOW_NS) == {"nse": 3, "bse": 3}
    asyncio.run(with_figis(settings, tmp_path))
    expected = [
        ("bse", "2885-INR", RELIANCE, "BBG0000SMLT5"),
        ("nse", "RELIANCE-INR", RELIANCE, "BBG0000SMLT5"),
    ]
    for store, rows in by_isin(settings).items():
        assert rows == expected, store


async def with_figis(settings: Settings, tmp_path: Path) -> None:
    async with simulator(tmp_path / "simulated", "openfigi") as simulated:
        url = f"http://{simulated.address}/openfigi"
        access = access_at(url, OpenFigi, tmp_path, Credentials("any"))
        asked = await asyncio.to_thread(questions, settings, [load("nse"), load("bse")])
        assert await asyncio.to_thread(refresh_figis, settings, access, asked, NOW_NS) == (2, [])


BY_ISIN = """
SELECT i.exchange, i.symbol, i.isin, f.figi
FROM instruments AS i JOIN instruments AS f ON f.isin = i.isin AND f.market = i.market
WHERE f.exchange = 'openfigi' AND i.exchange <> 'openfigi' ORDER BY i.exchange
"""


def by_isin(settings: Settings) -> dict[str, list[tuple[str, ...]]]:
    with connect(settings) as client:
        lines = client.execute(f"{BY_ISIN} FORMAT TSV").decode().splitlines()
    with timescale.session(settings) as connection:
        of_timescale = connection.execute(BY_ISIN.encode()).fetchall()
    return {
        "clickhouse": [tuple(line.split("\t")) for line in lines],
        "timescale": of_timescale,
        "lake": query(settings, BY_ISIN),
    }
