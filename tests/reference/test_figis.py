"""FIGIs of tickers, from a source of its own: what it tells, what it does not know, and what is none."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from typer.testing import CliRunner

from etl.adapter.contract import Credentials
from etl.adapter.reference import Question
from etl.cli import app
from etl.errors import VenueError
from etl.exchanges import load
from etl.exchanges.openfigi import OpenFigi
from etl.model.identifiers import is_figi
from etl.model.reference import INSTRUMENTS, SYMBOL_NAMES, InstrumentState, SymbolName
from etl.reference.figis import Difference, differences, questions, refresh
from etl.reference.recorded import history, read, record
from etl.settings import Settings, changed
from etl.simulator.stocks import FIGIS
from etl.sources.history import Refused
from tests.support.access import access_at
from tests.support.serving import simulator
from tests.support.venue_server import VenueServer, venue_server

APPLE = InstrumentState("openfigi", "AAPL@US", "AAPL", figi="BBG000B9XRY4", title="APPLE INC")
BERKSHIRE = InstrumentState("openfigi", "BRK.B@US", "BRK.B", figi="BBG000DWG505", title="BERKSHIRE HATH-B")
MAPPING = "/v3/mapping"


def asked(*tickers: str) -> list[Question]:
    return [Question(ticker, ticker, "US") for ticker in tickers]


def row(composite: str | None, name: str = "APPLE INC", sector: str = "Equity") -> dict[str, Any]:
    return {
        "figi": "BBG000B9Y5X2", "name": name, "ticker": "X", "exchCode": "UW", "compositeFIGI": composite,
        "shareClassFIGI": None, "securityType": "Common Stock", "marketSector": sector,
    }  # fmt: skip


RESULTS = [
    {"data": [row("BBG000B9XRY4"), row("BBG000B9XRY4"), row("BBG00000000X", sector="Corp")]},
    {"data": [row("BBG000DWG505", "BERKSHIRE HATH-B")]},
    {"warning": "No identifier found."},
    {"error": "Invalid idValue."},
    {"data": [row("BBG000B9XRY5")]},
    {"data": [row("BBG000B9XRY4"), row("BBG000BPH459")]},
    {"data": [row(None)]},
    {"data": [5]},
]
ASKED = asked("AAPL", "BRK.B", "GONE", "BAD", "TYPO", "TWO", "NONE", "ODD")
FAULTS = [
    "openfigi: BAD@US: Invalid idValue.",
    "openfigi: TYPO@US: 'BBG000B9XRY5' is no FIGI",
    "openfigi: TWO@US: 2 composite FIGIs: BBG000B9XRY4, BBG000BPH459",
    "openfigi: ODD@US: no result: Expected `object`, got `int` - at `$.data[0]`",
]


@pytest.mark.parametrize("figi", ["BBG000B9XRY4", "BBG000BLNQ16", "NRG92C84SB39", *FIGIS.values()])
def test_a_figi_ends_with_its_check_digit(figi: str) -> None:
    assert is_figi(figi)
    assert not any(is_figi(figi[:-1] + digit) for digit in "0123456789" if digit != figi[-1])


@pytest.mark.parametrize(
    "text", ["", "BBG000B9XRY", "bbg000b9xry4", "BBG000B9XRA4", "GBG000B9XRY4", "BBX000B9XRY4"]
)
def test_what_is_no_figi(text: str) -> None:
    assert not is_figi(text)


def test_an_answer_tells_rows_warnings_and_errors_in_the_order_of_its_jobs() -> None:
    told = OpenFigi.read_figis(json.dumps(RESULTS).encode(), ASKED)
    assert told == [
        APPLE, BERKSHIRE, None, "Invalid idValue.", "'BBG000B9XRY5' is no FIGI",
        "2 composite FIGIs: BBG000B9XRY4, BBG000BPH459", None,
        "no result: Expected `object`, got `int` - at `$.data[0]`",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="8 results of 7 jobs"):
        OpenFigi.read_figis(json.dumps(RESULTS).encode(), ASKED[1:])


def test_a_share_of_a_class_is_spelled_as_the_source_does() -> None:
    assert json.loads(OpenFigi.figis_body(asked("AAPL", "BRK.B", "BAC.PRL"))) == [
        {"idType": "TICKER", "idValue": ticker, "exchCode": "US"} for ticker in ("AAPL", "BRK/B", "BAC.PRL")
    ]


def refreshed(settings: Settings, server: VenueServer, now_ns: int, *questions: Question) -> Any:
    access = access_at(f"http://127.0.0.1:{server.port}", OpenFigi, settings.state_path, Credentials("a-key"))
    return refresh(settings, access, questions, now_ns)


def test_what_is_known_is_kept_and_a_fault_takes_nothing_back(settings: Settings) -> None:
    lake_only = changed(settings, stores="lake")
    with venue_server() as server:
        server.answers[MAPPING] = (200, json.dumps(RESULTS))
        assert refreshed(lake_only, server, 1_000, *ASKED) == (2, FAULTS)
        assert server.headers[-1]["X-OPENFIGI-APIKEY"] == "a-key"
        assert server.bodies[-1] == OpenFigi.figis_body(ASKED)
        server.answers[MAPPING] = (
            200,
            json.dumps([{"error": "try again"}, {"warning": "No identifier found."}]),
        )
        assert refreshed(lake_only, server, 2_000, *ASKED[:2]) == (0, ["openfigi: AAPL@US: try again"])
    assert read(lake_only, INSTRUMENTS, ["openfigi"], InstrumentState) == [APPLE]
    told = history(lake_only, INSTRUMENTS, ["openfigi"], InstrumentState)
    assert sorted(told, key=lambda one: one[1].symbol) == [(1_000, APPLE), (1_000, BERKSHIRE)]


@pytest.mark.parametrize(
    ("status", "body", "error", "match"),
    [
        (401, "Invalid API key.", Refused, "status 401"),
        (413, "too many jobs", Refused, "status 413"),
        (200, "{}", VenueError, "openfigi: no answer about FIGIs"),
        (200, "[]", VenueError, "openfigi: no answer about FIGIs: 0 results of 1 jobs"),
    ],
)
def test_what_is_no_answer_is_refused_without_the_key(
    settings: Settings, status: int, body: str, error: type[VenueError], match: str
) -> None:
    with venue_server() as server:
        server.answers[MAPPING] = (status, body)
        with pytest.raises(error, match=match) as refused:
            refreshed(changed(settings, stores="lake"), server, 1_000, *asked("AAPL"))
    assert "a-key" not in str(refused.value)


def test_each_ticker_of_today_is_asked_for_once(settings: Settings) -> None:
    lake_only = changed(settings, stores="lake")
    left = InstrumentState("polygon", "OLD", "OLD", status="delisted", delisted_day=date(2026, 1, 2))
    record(lake_only, INSTRUMENTS, [left, InstrumentState("polygon", "IBM", "IBM")], ["polygon"], 1_000)
    names = [
        SymbolName("alpaca", "FB@2022-06-09", date(1900, 1, 1), "FB"),
        SymbolName("alpaca", "FB@2022-06-09", date(2022, 6, 9), "META"),
        SymbolName("alpaca", "TWTR@2022-11-08", date(1900, 1, 1), "TWTR"),
        SymbolName("alpaca", "TWTR@2022-11-08", date(2022, 11, 8), ""),
    ]
    record(lake_only, SYMBOL_NAMES, names, ["alpaca"], 1_000)
    venues = [load(name) for name in ("binance", "polygon", "alpaca", "alpaca_options", "openfigi")]
    expected = sorted({*load("alpaca").default_symbols, "IBM", "META"})
    assert questions(lake_only, venues) == sorted(asked(*expected), key=lambda one: one.key)


def test_two_vendors_that_do_not_say_the_same_are_told_of_and_neither_is_changed(settings: Settings) -> None:
    settings = changed(settings, stores="lake")
    of_polygon = [
        InstrumentState("polygon", "AAPL", "AAPL", figi="BBG000B9XRY4"),
        InstrumentState("polygon", "BRK.B", "BRK.B", figi="BBG000BPH459"),
        InstrumentState("polygon", "IBM", "IBM"),
    ]
    told = [APPLE, BERKSHIRE, structs.replace(APPLE, venue_symbol="IBM@US", symbol="IBM")]
    different = Difference("BRK.B", {"polygon": "BBG000BPH459", "openfigi": "BBG000DWG505"})
    assert differences([*of_polygon, *told], "polygon", "openfigi") == [different]
    record(settings, INSTRUMENTS, of_polygon, ["polygon"], 1_000)
    record(settings, INSTRUMENTS, told, ["openfigi"], 1_000)
    environment = {"ETL_STATE_DIR": settings.state_dir, "ETL_STORES": "lake"}
    ran = CliRunner().invoke(app, ["instruments", "differences"], env=environment)
    assert (ran.exit_code, ran.output.split()) == (
        1, ["BRK.B", "polygon:", "BBG000BPH459", "openfigi:", "BBG000DWG505"],
    )  # fmt: skip


async def of_simulator(settings: Settings, state_path: Path) -> list[Any]:
    async with simulator(state_path, "openfigi") as simulated:
        return [
            await asyncio.to_thread(
                refresh,
                settings,
                access_at(f"http://{simulated.address}/openfigi", OpenFigi, state_path, Credentials(key)),
                asked(*FIGIS, *(f"X{number}" for number in range(200))),
                1_000,
            )
            for key in ("any",)
        ]


def test_the_simulated_source_answers_by_the_hundred(settings: Settings, tmp_path: Path) -> None:
    settings = changed(settings, stores="lake")
    assert asyncio.run(of_simulator(settings, tmp_path)) == [(len(FIGIS), [])]
    assert {
        one.symbol: one.figi for one in read(settings, INSTRUMENTS, ["openfigi"], InstrumentState)
    } == FIGIS


def test_the_simulated_source_refuses_as_the_real_one(tmp_path: Path) -> None:
    async def statuses() -> list[tuple[int, str]]:
        found = []
        async with simulator(tmp_path, "openfigi") as simulated:
            url = f"http://{simulated.address}/openfigi{MAPPING}"
            for key, jobs in (("", 1), ("a", 101), *((("a", 1),) * 25)):
                async with simulated.http.post(
                    url, json=[{}] * jobs, headers={"X-OPENFIGI-APIKEY": key}
                ) as answer:
                    found.append((answer.status, answer.headers.get("ratelimit-reset", "")))
        return found

    first, second, *others, last = asyncio.run(statuses())
    assert [status for status, _ in (first, second, *others)] == [401, 413, *[200] * 24]
    assert last[0] == 429
    assert 1 <= int(last[1]) <= 6
