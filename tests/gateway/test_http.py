"""``/v1/…`` on a real ClickHouse: ranges, pages, formats, what a token is good for; and OpenAPI is held to it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import aiohttp
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from etl.gateway.api import ENDPOINTS
from etl.gateway.openapi import document, page
from etl.gateway.ranges import COMMON, DECIMAL_LISTS, DECIMALS, FORMATS, STORES, TABLES
from etl.model.records import Record
from etl.settings import Settings
from tests.support import lake
from tests.support.gateway import address, bar, book, gap, gateway, quote, ready, token_of, trade, with_stored
from tests.support.reference_rows import KNOWN_FIRST, record_reference

START, END = "2025-12-31T23:59:59.999", "2026-01-01T00:01:00"
RANGE = {"exchange": "binance", "symbol": "BTC-USDT", "start": START, "end": END}
WIDE = "0.1234567890123456789012345"
"""More digits than the narrow column holds."""


def stored() -> list[Record]:
    """50 trades of which three lie in one millisecond, others beside them, and one before and after the range."""
    trades: list[Record] = [trade(number) for number in range(50)]
    trades[10] = trade(9, record_key="9b", sequence=10)
    trades[11] = trade(9, record_key="9a", sequence=11, last_price=WIDE)
    others = [
        trade(1, "ETH-USDT"),
        trade(2, exchange="kraken"),
        trade(-1, record_key="before"),
        trade(60_500),
    ]
    return [*trades, *others, quote(3), bar(4), bar(5, interval="5m"), book(6), gap(7)]


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, kafka_url: str, clickhouse_url: str
) -> Iterator[Settings]:
    with with_stored(tmp_path_factory.mktemp("gateway"), kafka_url, clickhouse_url, stored()) as made:
        yield made


@pytest.mark.integration
class TestOnClickHouse:
    def test_ranges_are_paged_and_come_in_any_format(self, settings: Settings) -> None:
        async def run() -> None:
            async with gateway(settings) as session:
                rows = await pages(session, settings, "trades", limit="7")
                assert [row["record_key"] for row in rows] == [
                    *map(str, range(10)), "9b", "9a", *map(str, range(12, 50)),
                ]  # fmt: skip
                assert list(rows[0]) == list(ENDPOINTS["trades"].columns)
                assert (rows[0]["time"], rows[0]["event_time_ns"]) == (
                    "2025-12-31T23:59:59.999500000Z", trade(0).event_time_ns,
                )  # fmt: skip
                assert (rows[5]["last_price"], rows[11]["last_price"], rows[5]["side"]) == (
                    "105.5",
                    WIDE,
                    "buy",
                )
                exact = [[*row.values()] for row in rows]
                whole = {"limit": "100", **RANGE}
                arrow = await body(session, settings, "trades", format="arrow", **whole)
                table = pa.ipc.open_stream(arrow).read_all()
                assert table.column("last_price").to_pylist() == [row["last_price"] for row in rows]
                assert str(table.schema.field("time").type) == "timestamp[ns, tz=UTC]"
                frame = polars.from_arrow(table)
                assert isinstance(frame, polars.DataFrame)
                assert frame["record_key"].to_list() == [row["record_key"] for row in rows]
                parquet = pq.read_table(
                    io.BytesIO(await body(session, settings, "trades", format="parquet", **whole))
                )
                assert parquet.column("event_time_ns").to_pylist() == [row["event_time_ns"] for row in rows]
                lines = (await body(session, settings, "trades", format="csv", **whole)).decode().splitlines()
                assert lines[0].replace('"', "").split(",") == list(ENDPOINTS["trades"].columns)
                assert len(lines) == len(exact) + 1
                floats = await rows_of(session, settings, "trades", decimals="float", **whole)
                assert floats[5]["last_price"] == 105.5

        asyncio.run(run())

    def test_every_table_gives_what_it_says(self, settings: Settings) -> None:
        async def run() -> None:
            async with gateway(settings) as session:
                for name in TABLES:
                    rows = await rows_of(session, settings, name, **RANGE)
                    assert list(rows[0]) == list(ENDPOINTS[name].columns), name
                (levels,) = await rows_of(session, settings, "books", **RANGE)
                assert (levels["bid_prices"], levels["bid_sizes"]) == (["1", "0.5"], ["3", "4"])
                (one,) = await rows_of(session, settings, "bars", interval="5m", **RANGE)
                assert (one["interval"], one["open"], one["close"]) == ("5m", "1", "2")
                (missing,) = await rows_of(session, settings, "gaps", **RANGE)
                assert (missing["gap_kind"], missing["from_sequence"]) == ("sequence", 5)
                day = {"start": START, "end": "2026-01-02"}
                found = await rows_of(session, settings, "instruments", **day)
                assert [(row["exchange"], row["symbol"], row["kinds"]) for row in found] == [
                    ("binance", "BTC-USDT", ["bar", "book", "quote", "trade"]),
                    ("binance", "ETH-USDT", ["trade"]),
                    ("kraken", "BTC-USDT", ["trade"]),
                ]
                covered = await rows_of(
                    session, settings, "coverage", symbol="BTC-USDT", exchange="binance", **day
                )
                assert {(row["kind"], row["day"], row["rows"]) for row in covered} == {
                    ("trade", "2025-12-31", 1), ("trade", "2026-01-01", 50), ("quote", "2026-01-01", 1),
                    ("bar", "2026-01-01", 2), ("book", "2026-01-01", 1),
                }  # fmt: skip
                assert (
                    await rows_of(session, settings, "trades", **{**RANGE, "symbol": "x' OR '1'='1\\"}) == []
                )
                estimate = json.loads(await body(session, settings, "trades", estimate="true", **RANGE))
                assert estimate == {"rows": 50, "rows_max": 1_000_000}

        asyncio.run(run())

    def test_the_lake_gives_the_same_rows(self, settings: Settings) -> None:
        lake.export_records(settings, stored())

        async def run() -> None:
            async with gateway(settings) as session:
                for name in TABLES:
                    rows = await rows_of(session, settings, name, store="lake", **RANGE)
                    assert rows == await rows_of(session, settings, name, **RANGE), name
                    floats = await rows_of(session, settings, name, store="lake", decimals="float", **RANGE)
                    assert floats == [as_floats(row) for row in rows], name
                    texts = [
                        (await body(session, settings, name, store=store, format="csv", **RANGE)).decode()
                        for store in STORES
                    ]
                    cells = [list(csv.reader(text.splitlines())) for text in texts]
                    assert cells[1] == cells[0], name
                    tables = [
                        pa.ipc.open_stream(
                            await body(session, settings, name, store=store, format="arrow", **RANGE)
                        ).read_all()
                        for store in STORES
                    ]
                    assert tables[1].to_pylist() == tables[0].to_pylist(), name
                rows = await pages(session, settings, "trades", limit="7", store="lake")
                assert rows == await pages(session, settings, "trades", limit="7")
                bars = await rows_of(session, settings, "bars", store="lake", interval="5m", **RANGE)
                assert [one["interval"] for one in bars] == ["5m"]
                estimate = await body(session, settings, "trades", estimate="true", store="lake", **RANGE)
                assert json.loads(estimate) == {"rows": 50, "rows_max": 1_000_000}
                params = {**RANGE, "symbol": "BTC-*", "store": "lake"}
                async with session.get(address(settings, "/v1/trades"), params=params) as answer:
                    assert (answer.status, await answer.json()) == (
                        400,
                        {"code": "bad_request", "message": "symbol: one name"},
                    )
            limits = ready(settings, gateway_scan_rows_max=10)
            async with gateway(limits) as session:
                params = {**RANGE, "store": "lake"}
                async with session.get(address(limits, "/v1/trades"), params=params) as answer:
                    assert (answer.status, (await answer.json())["code"]) == (413, "too_large")

        asyncio.run(run())

    def test_reference_data_is_what_holds_or_what_was_known(self, settings: Settings) -> None:
        record_reference(settings)

        async def run() -> None:
            async with gateway(settings) as session:

                async def told(table: str, column: str, **params: str) -> list[Any]:
                    rows = await rows_of(session, settings, table, **params)
                    assert all(list(row) == list(ENDPOINTS[table].columns) for row in rows), table
                    return [row[column] for row in rows]

                assert await told("listings", "price_step", exchange="binance") == ["0.1"]
                assert await told("listings", "price_step", at=KNOWN_FIRST) == ["0.01"]
                assert await told("listings", "strike", symbol="BTC-USDT") == ["60000.5"]
                assert await told("listings", "symbol", at="1970-01-01") == []
                assert await told("sessions", "session_kind") == ["regular", "post"]
                assert await told("sessions", "session_kind", end="2026-11-27T18:00:00") == ["regular"]
                assert await told("sessions", "session_kind", start="2026-11-27T18:00:01") == ["post"]
                assert await told("corporate_actions", "shares_before", symbol="AAPL") == [
                    "0.3333333333333333333"
                ]
                assert await told("corporate_actions", "effective_day", exchange="alpaca") == []
                assert await told("symbol_names", "symbol") == ["META", "", "FB", "META"]
                assert await told("symbol_spans", "first_day", current_symbol="META") == [
                    "2012-05-18", "2022-06-09",
                ]  # fmt: skip
                assert await told(
                    "symbol_spans", "instrument_id", symbol="META", of_time="2022-06-09T03:00:00"
                ) == ["ETF"]
                assert await told("symbol_spans", "until_day", of_time="2022-06-09T05:00:00") == [None]
                assert await told("observations", "value", exchange="fred") == ["0.0000000000000000001"]
                assert await told("observations", "value", symbol="GDP", at="2026-01-01") == []
                for form in FORMATS:
                    answer = await body(session, settings, "corporate_actions", format=form)
                    if form == "arrow":
                        (row,) = pa.ipc.open_stream(answer).read_all().to_pylist()
                        assert (row["effective_day"], row["cash_amount"]) == (date(2020, 8, 31), None)
                params = {"at": "then"}
                async with session.get(address(settings, "/v1/sessions"), params=params) as answer_of:
                    assert (answer_of.status, (await answer_of.json())["message"]) == (
                        400, "at: then: not an ISO 8601 time such as 2026-01-31T12:00:00",
                    )  # fmt: skip
            small = ready(settings, gateway_rows_max=1)
            async with gateway(small) as session, session.get(address(small, "/v1/sessions")) as refused:
                assert (refused.status, (await refused.json())["code"]) == (413, "too_large")

        asyncio.run(run())

    def test_what_cannot_be_answered_says_why(self, settings: Settings) -> None:
        limits = ready(settings, gateway_scan_rows_max=10)

        async def run() -> None:
            async with gateway(limits) as session:
                for changed, status, reason in (
                    ({"start": "soon"}, 400, "start: soon: not an ISO 8601 time"),
                    ({"symbol": ""}, 400, "symbol is missing"),
                    ({"sort": "up"}, 400, "sort: no such parameter; there are exchange, symbol"),
                    ({"end": START}, 400, "end: not after start"),
                    ({"format": "xml"}, 400, "format: json, csv, arrow, parquet"),
                    ({"limit": "0"}, 400, "limit: 1 to 1000000"),
                    ({"cursor": "aGVsbG8"}, 400, "cursor: not one that an earlier page gave"),
                    ({}, 413, "Code: 158"),
                ):
                    async with session.get(
                        address(limits, "/v1/trades"), params={**RANGE, **changed}
                    ) as answer:
                        text = await answer.text()
                        assert (answer.status, reason in text) == (status, True), text
                async with session.post(address(limits, "/v1/trades")) as answer:
                    assert answer.status == 405

        asyncio.run(run())

    def test_a_token_bounds_what_is_answered(self, settings: Settings) -> None:
        async def run() -> None:
            own = token_of(settings, exchanges=["kraken"], kinds=["trade"], requests_per_minute=7)
            async with (
                gateway(settings),
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {own}"}) as session,
                aiohttp.ClientSession() as nobody,
            ):
                for table, exchange, status in (
                    ("trades", "kraken", 200), ("trades", "binance", 403), ("quotes", "kraken", 403),
                    ("gaps", "kraken", 200), ("gaps", "binance", 403),
                ):  # fmt: skip
                    params = {**RANGE, "exchange": exchange}
                    async with session.get(address(settings, f"/v1/{table}"), params=params) as answer:
                        assert answer.status == status, (table, exchange)
                async with session.get(
                    address(settings, "/v1/sessions"), params={"exchange": "binance"}
                ) as answer:
                    assert answer.status == 403
                found = await rows_of(session, settings, "instruments", start=START, end=END)
                assert [(row["exchange"], row["kinds"]) for row in found] == [("kraken", ["trade"])]
                async with session.get(address(settings, "/v1/trades"), params=RANGE) as answer:
                    assert answer.status == 429
                    assert 0 < int(answer.headers["Retry-After"]) <= 60
                async with nobody.get(address(settings, "/v1/trades"), params=RANGE) as answer:
                    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                for path in ("/docs", "/openapi.json", "/health"):
                    async with nobody.get(address(settings, path)) as answer:
                        assert answer.status == 200
                async with nobody.get(address(settings, "/docs")) as answer:
                    assert "script-src" not in answer.headers["Content-Security-Policy"]
                    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]

        asyncio.run(run())


def as_floats(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: [*map(float, value)]
        if name in DECIMAL_LISTS
        else float(value)
        if name in DECIMALS and value is not None
        else value
        for name, value in row.items()
    }


async def body(session: aiohttp.ClientSession, settings: Settings, table: str, **params: str) -> bytes:
    async with session.get(address(settings, f"/v1/{table}"), params=params) as answer:
        found = await answer.read()
        assert answer.status == 200, found
        assert (
            answer.content_type == FORMATS[params.get("format", "json")][1].partition(";")[0]
            or "estimate" in params
        )
        return found


async def rows_of(
    session: aiohttp.ClientSession, settings: Settings, table: str, **params: str
) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (await body(session, settings, table, **params)).splitlines()]


async def pages(
    session: aiohttp.ClientSession, settings: Settings, table: str, **params: str
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        async with session.get(address(settings, f"/v1/{table}"), params=RANGE | params | cursor) as answer:
            assert answer.status == 200, await answer.text()
            rows += [json.loads(line) for line in (await answer.read()).splitlines()]
            if "X-Next-Cursor" not in answer.headers:
                return rows
            cursor = {"cursor": answer.headers["X-Next-Cursor"]}


def test_the_document_says_every_path_parameter_and_column() -> None:
    told = document()
    assert set(told["paths"]) == {f"/v1/{name}" for name in ENDPOINTS}
    for name, endpoint in ENDPOINTS.items():
        operation = told["paths"][f"/v1/{name}"]["get"]
        assert [one["name"] for one in operation["parameters"]] == [one.name for one in endpoint.parameters]
        contents = operation["responses"]["200"]["content"]
        assert {kind.partition(";")[0] for _, kind in FORMATS.values()} == set(contents)
        assert list(contents["text/csv"]["schema"]["properties"]) == list(endpoint.columns)
    assert all(
        endpoint.columns[: len(COMMON)] == COMMON for name, endpoint in ENDPOINTS.items() if name in TABLES
    )
    assert json.loads(json.dumps(told)) == told


def test_the_page_has_no_script_and_names_all() -> None:
    text = page()
    assert "<script" not in text
    assert "//" not in text
    for endpoint in ENDPOINTS.values():
        assert f"GET {endpoint.path}" in text
        assert all(f"<code>{parameter.name}</code>" in text for parameter in endpoint.parameters)
