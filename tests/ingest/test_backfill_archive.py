"""Backfills from an archive whose files come late, or never match their checksum."""

from __future__ import annotations

import asyncio
import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from etl.embedded.ports import free_ports
from etl.errors import VenueError
from etl.ingest.backfill import Summary, run
from etl.ingest.backfill_holes import known
from etl.ingest.backfill_jobs import Job, day_of
from etl.ingest.backfill_marks import Marks
from etl.ingest.look_again import look_again
from etl.model.records import Gap, GapState, Record, Trade
from etl.model.times import NS_PER_DAY
from etl.settings import Settings
from etl.transports.kafka import ensure_topics
from tests.support.topics import quarantined, records

DAYS = 12
HOUR_NS = 3_600_000_000_000
FIRST_NS = time.time_ns() // NS_PER_DAY * NS_PER_DAY - DAYS * NS_PER_DAY
ROWS = 10
"""A day: its ids go on from those of the day before."""


def lines(day: int) -> bytes:
    start_us = (FIRST_NS + day * NS_PER_DAY) // 1_000
    rows = (
        f"{day * ROWS + n},91000.1,0.01,910.001,{start_us + n},False,True\r\n" for n in range(1, ROWS + 1)
    )
    return b"\xef\xbb\xbf" + "".join(rows).encode() + b"\r\n"


class Archive:
    """Files by day; ``broken`` have a checksum of something else."""

    def __init__(self) -> None:
        self.days: dict[str, bytes] = {day_of(FIRST_NS + day * NS_PER_DAY): lines(day) for day in range(DAYS)}
        self.broken: set[str] = set()
        self.asked: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        name = request.path.rpartition("BTCUSDT-trades-")[2].removesuffix(".CHECKSUM")
        day = name.removesuffix(".zip")
        if day not in self.days:
            return web.Response(status=404)
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            made.writestr(zipfile.ZipInfo(f"{day}.csv"), self.days[day])
        content = file.getvalue()
        if not request.path.endswith(".CHECKSUM"):
            return web.Response(body=content)
        told = b"another" if day in self.broken else content
        return web.Response(text=f"{hashlib.sha256(told).hexdigest()}  {name}\n")


@contextmanager
def served(archive: Archive | HongKong, port: int) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    application = web.Application()
    application.router.add_get("/{path:.*}", archive.serve)
    runner = web.AppRunner(application)

    async def start() -> None:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    (port,) = free_ports(1)
    made = settings_with(kafka=True, venues="binance", simulator_port=port)
    ensure_topics(made)
    return made


def job(first_day: int, last_day: int) -> Job:
    span = FIRST_NS + first_day * NS_PER_DAY, FIRST_NS + (last_day + 1) * NS_PER_DAY
    symbols, kinds = ("BTCUSDT",), ("trade",)
    return Job(
        exchange="binance", symbols=symbols, kinds=kinds, start_ns=span[0], end_ns=span[1], archive=True
    )


def last_states(found: list[Record]) -> dict[str, Gap]:
    return {one.record_key: one for one in found if isinstance(one, Gap)}


@pytest.mark.integration
def test_a_file_that_is_late_is_open_and_closed_by_the_run_that_brings_it(settings: Settings) -> None:
    archive = Archive()
    late = day_of(FIRST_NS + (DAYS - 1) * NS_PER_DAY)
    old = day_of(FIRST_NS + 2 * NS_PER_DAY)
    kept = {day: archive.days.pop(day) for day in (late, old)}
    with served(archive, settings.simulator_port_of("binance")):
        assert run(settings, job(1, DAYS - 1)) == Summary(DAYS - 1, 0, DAYS - 3, (DAYS - 3) * ROWS, 2)
        first = sorted(last_states(records(settings)).values(), key=lambda gap: gap.from_time_ns)
        assert [gap.gap_state for gap in first] == [GapState.OPEN, GapState.OPEN]
        assert "not found" in first[0].reason
        assert first[1].reason.startswith("look again after ")
        assert "not published yet" in first[1].reason
        archive.days[late] = kept[late]
        assert run(settings, job(DAYS - 1, DAYS - 1)).holes == 0
        states = {gap.from_time_ns: gap.gap_state for gap in last_states(records(settings)).values()}
        assert states == {
            first[0].from_time_ns: GapState.OPEN,
            first[1].from_time_ns: GapState.REPAIRED,
        }
        archive.days[old] = kept[old]
        assert run(settings, job(1, DAYS - 1)).holes == 0
    states = {gap.from_time_ns: gap.gap_state for gap in last_states(records(settings)).values()}
    assert set(states.values()) == {GapState.REPAIRED}
    assert quarantined(settings) == []


@pytest.mark.integration
def test_a_file_that_is_late_is_looked_for_at_the_time_that_its_gap_names(settings: Settings) -> None:
    archive = Archive()
    late = day_of(FIRST_NS + (DAYS - 1) * NS_PER_DAY)
    content = archive.days.pop(late)
    with served(archive, settings.simulator_port_of("binance")):
        assert run(settings, job(DAYS - 2, DAYS - 1)).holes == 1
        (hole,) = known(settings, "binance")
        archive.asked.clear()

        assert look_again(settings, hole.look_again_ns - 1) == {}
        assert look_again(settings, hole.look_again_ns, exchange="alpaca") == {}
        assert look_again(settings, hole.look_again_ns, key="trade/1-2") == {}
        assert archive.asked == []

        assert look_again(settings, hole.look_again_ns) == {GapState.OPEN: 1}
        assert len(archive.asked) == 1, "its checksum, and no other day"
        (again,) = known(settings, "binance")
        assert (again.key, again.ask) == (hole.key, hole.ask)
        assert again.look_again_ns >= hole.look_again_ns

        archive.broken.add(late)
        archive.days[late] = content
        assert look_again(settings, again.look_again_ns) == {GapState.OPEN: 1}, "the venue refuses: it stays"
        archive.broken.clear()
        assert look_again(settings, 0, symbol="BTC-USDT", any_time=True) == {GapState.REPAIRED: 1}
        assert known(settings, "binance") == []
        assert look_again(settings, 0, any_time=True) == {}
    found = records(settings)
    (gap,) = last_states(found).values()
    assert (gap.gap_state, gap.record_key) == (GapState.REPAIRED, hole.key)
    ids = {int(one.trade_id) for one in found if isinstance(one, Trade)}
    assert ids == set(range((DAYS - 2) * ROWS + 1, DAYS * ROWS + 1))


@pytest.mark.integration
def test_a_day_that_never_matches_its_checksum_keeps_no_other_from_being_fetched_and_judged(
    settings: Settings,
) -> None:
    archive = Archive()
    broken = day_of(FIRST_NS + 3 * NS_PER_DAY)
    archive.broken.add(broken)
    holed = day_of(FIRST_NS + 8 * NS_PER_DAY)
    archive.days[holed] = b"".join(
        archive.days[holed].splitlines(keepends=True)[n] for n in (0, 1, 2, 5, 6, 7, 8, 9)
    )
    with served(archive, settings.simulator_port_of("binance")):
        for _ in range(2):
            with pytest.raises(VenueError, match=rf"{broken}.*SHA-256.*1 of \d+ chunks are not done"):
                run(settings, job(0, DAYS - 1))
            found = records(settings)
            ids = {int(one.trade_id) for one in found if isinstance(one, Trade)}
            lost = {84, 85}
            assert ids == set(range(1, DAYS * ROWS + 1)) - set(range(31, 41)) - lost
            (gap,) = last_states(found).values()
            assert (gap.from_sequence, gap.to_sequence, gap.gap_state) == (84, 85, GapState.SOURCE_HOLE)
        assert len(list(Marks(settings, job(0, DAYS - 1).name).folder.glob("*.json"))) == DAYS - 1
        archive.broken.clear()
        archive.asked.clear()
        assert run(settings, job(0, DAYS - 1)).holes == 1
        assert len(archive.asked) == 2, "only what was not done, and its checksum"
    assert {int(one.trade_id) for one in records(settings) if isinstance(one, Trade)} >= set(range(31, 41))


class HongKong:
    """OKX's files, a trade an hour: their days begin eight hours before ours, and no checksum lies beside them."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        day = request.path[-len("2026-01-01.zip") :].removesuffix(".zip")
        number = next(n for n in range(DAYS) if day_of(FIRST_NS + n * NS_PER_DAY) == day)
        hours = range(24 * number - 8, 24 * number + 16)
        rows = (
            f"BTC-USDT,{100 + n},buy,91000.1,0.01,{(FIRST_NS + n * HOUR_NS) // 1_000_000},0\n" for n in hours
        )
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as made:
            header = "instrument_name,trade_id,side,price,size,created_time,source\n"
            made.writestr(zipfile.ZipInfo(f"{day}.csv"), header + "".join(rows))
        return web.Response(body=file.getvalue())


@pytest.mark.integration
def test_a_day_of_utc_comes_whole_out_of_two_files_of_hong_kong(
    settings_with: Callable[..., Settings],
) -> None:
    (port,) = free_ports(1)
    settings = settings_with(kafka=True, venues="okx", simulator_port=port)
    ensure_topics(settings)
    archive = HongKong()
    asked = Job(
        exchange="okx", symbols=("BTC-USDT",), kinds=("trade",), start_ns=FIRST_NS, end_ns=FIRST_NS + NS_PER_DAY,
        archive=True,
    )  # fmt: skip
    with served(archive, settings.simulator_port_of("okx")):
        assert run(settings, asked) == Summary(2, 0, 2, 24, 0)
    days = [day_of(FIRST_NS), day_of(FIRST_NS + NS_PER_DAY)]
    folder = "/okx/cdn/okex/traderecords/trades/daily"
    assert sorted(archive.asked) == [
        f"{folder}/{day.replace('-', '')}/BTC-USDT-trades-{day}.zip" for day in days
    ]
    trades = [one for one in records(settings) if isinstance(one, Trade)]
    assert sorted((one.event_time_ns, one.record_key) for one in trades) == [
        (FIRST_NS + n * HOUR_NS, str(100 + n)) for n in range(-8, 40)
    ]
    assert quarantined(settings) == []
