"""Repair against simulated venues, whose history agrees with what they stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientWebSocketResponse

from etl.adapter.contract import Channel, Credentials, Exchange, Request
from etl.errors import OutOfReach
from etl.exchanges import load
from etl.exchanges.polygon import Polygon
from etl.ingest import repair as repair_module
from etl.ingest.feed import Feed
from etl.ingest.gap_ledger import due
from etl.ingest.intake import open_intake
from etl.ingest.repair import Repairer, Repairs, publish_verdict
from etl.model.records import Frame, Gap, GapKind, GapState, Kind, Record, Source
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.settings import Settings, make
from etl.sources.history import History
from etl.transports.memory import MemoryPublisher
from etl.wire import codec
from tests.support.serving import Client, receive_bytes, simulator
from tests.support.stream import START_NS, gap

CREDENTIALS = Credentials("KEY", "SECRET")
BEFORE, LOST, AFTER = 150, 60, 150


class Run:
    """Frames of a simulated venue, taken in as a worker does, save those that ``lose`` throws away."""

    def __init__(self, venue: str, client: Client, state_path: Path) -> None:
        self.venue = venue
        self.client = client
        self.publisher = MemoryPublisher()
        self.settings = make(state_dir=str(state_path))
        self.exchange = load(venue)
        self.feed = Feed(self.settings, self.exchange, self.publisher)
        self.feed.offer_repair = self._note
        self.declared: dict[tuple[str, str], Gap] = {}
        self.sent: list[Record] = []
        self._intake = open_intake(
            self.feed, self.exchange(), "c1", "ws://venue/stream?streams=btcusdt@trade"
        )
        self._reader = self.exchange()

    def _note(self, gap: Gap) -> None:
        self.declared[gap.symbol, gap.record_key] = gap

    @property
    def open_gaps(self) -> list[Gap]:
        return [gap for gap in self.declared.values() if gap.gap_state is GapState.OPEN and gap.to_time_ns]

    def take(self, frames: Sequence[bytes]) -> None:
        self._see(frames)
        for payload in frames:
            self._intake.take_read([payload], self.now_ns())

    def lose(self, frames: Sequence[bytes], kind: GapKind = GapKind.DISCONNECT) -> None:
        self._see(frames)
        self.feed.publish_gaps(self.feed.continuity.lost(kind, "cut", self.now_ns()))

    def _see(self, frames: Sequence[bytes]) -> None:
        for payload in frames:
            frame = msgspec.structs.replace(_FRAME, exchange=self.venue, payload=payload)
            self.sent += [record for record in self._reader.parse(frame) if isinstance(record, Record)]

    def now_ns(self) -> int:
        return self.client.server.now_ns()

    def history(self) -> History:
        return History(f"http://{self.client.address}/{self.venue}", self.exchange(CREDENTIALS))

    async def repaired(self) -> list[Gap]:
        """Every open gap after one attempt."""
        async with self.history() as history:
            repairer = Repairer(self.settings.ingest, self.feed, history, CREDENTIALS)
            return [publish_verdict(self.feed, gap, await repairer.attempt(gap)) for gap in self.open_gaps]

    def published(self) -> list[Record]:
        self.publisher.poll()
        return [codec.decode(m.value) for m in self.publisher.delivered[self.settings.topics.normalized]]


def identities(records: Sequence[Record], kinds: Sequence[Kind]) -> set[tuple[str, Kind, str]]:
    return {(record.symbol, record.kind, record.record_key) for record in records if record.kind in kinds}


_FRAME = Frame("", "c1", 1, "ws://venue/stream", 1, b"")


@pytest.mark.parametrize(
    ("venue", "kinds"),
    [
        ("binance", (Kind.TRADE,)),
        ("polygon", (Kind.TRADE, Kind.QUOTE)),
        ("alpaca", (Kind.TRADE, Kind.QUOTE)),
        ("kraken", (Kind.TRADE,)),
    ],
)
def test_what_a_lost_connection_missed_is_fetched_and_its_gaps_are_closed(
    tmp_path: Path, venue: str, kinds: tuple[Kind, ...]
) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, venue) as client:
            socket = await client.log_in(venue)
            run = Run(venue, client, tmp_path)
            run.take(await receive_bytes(socket, BEFORE))
            run.lose(await receive_bytes(socket, LOST))
            run.take(await receive_bytes(socket, AFTER))
            run.feed.publish_gaps(run.feed.continuity.decide())
            assert identities(run.sent, kinds) - identities(run.published(), kinds)
            settled = [gap for gap in await run.repaired() if not gap.channel.startswith(("A", "kline"))]
            assert {gap.gap_state for gap in settled} == {GapState.REPAIRED}
            assert identities(run.sent, kinds) - identities(run.published(), kinds) == set()
            sources = {record.source for record in run.published() if record.kind in kinds}
            assert sources == {Source.STREAM, Source.REPAIR}
            assert run.feed.counts.closed

    asyncio.run(scene())


def test_of_a_small_hole_of_trades_only_the_missing_ids_are_asked_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            run = Run("binance", client, tmp_path)
            frames = [f for f in await receive_bytes(socket, 400) if b"@trade" in f]
            run.take([*frames[:20], *frames[22:60]])
            run.feed.publish_gaps(run.feed.continuity.decide())
            (gap,) = run.open_gaps
            (settled,) = await run.repaired()
            assert settled.gap_state is GapState.REPAIRED
            assert settled.record_key == gap.record_key
            assert settled.reason == "repair: all ids are there"
            assert (settled.attempts, settled.repaired_rows) == (1, 2)
            assert settled.detected_time_ns == gap.detected_time_ns == gap.receive_time_ns
            asked = [line.endpoint for line in client.truth("binance") if "historicalTrades" in line.endpoint]
            assert asked == [f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={gap.from_sequence}&limit=2"]
            repaired = [record for record in run.published() if record.source is Source.REPAIR]
            assert [record.sequence for record in repaired] == [gap.from_sequence, gap.to_sequence]

    asyncio.run(scene())


def test_where_no_request_names_ids_a_small_hole_is_asked_for_by_its_times_and_judged_by_its_ids(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, "kraken") as client:
            socket = await client.log_in("kraken")
            run = Run("kraken", client, tmp_path)
            frames = [f for f in await receive_bytes(socket, 80) if b'"trade","type":"update"' in f]
            run.take([*frames[:20], *frames[22:60]])
            run.feed.publish_gaps(run.feed.continuity.decide())
            (gap,) = run.open_gaps
            (settled,) = await run.repaired()
            assert (settled.gap_state, settled.reason) == (GapState.REPAIRED, "repair: all ids are there")
            (asked,) = [line.endpoint for line in client.truth("kraken") if "Trades" in line.endpoint]
            since = gap.from_time_ns - repair_module.WIDEN_NS - 1
            assert asked == f"/0/public/Trades?pair=XBTUSD&since={since}&count=1000"
            assert {gap.from_sequence, gap.to_sequence} <= {
                record.sequence for record in run.published() if record.source is Source.REPAIR
            }

    asyncio.run(scene())


def test_ids_that_the_venue_leaves_out_are_a_hole_of_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            run = Run("binance", client, tmp_path)
            run.take(await receive_bytes(socket, 100))
            await client.fault("binance", "wrong_sequence", count=3)
            while not any(
                gap.channel == "trade" for gap in run.open_gaps
            ):  # what was sent before comes first
                run.take(await receive_bytes(socket, 100))
                run.feed.publish_gaps(run.feed.continuity.decide())
            settled = [gap for gap in await run.repaired() if gap.channel == "trade"]
            assert [gap.gap_state for gap in settled] == [GapState.SOURCE_HOLE]
            assert "the history leaves out 3 ids" in settled[0].reason

    asyncio.run(scene())


def test_a_hole_of_a_million_ids_that_the_venue_left_out_costs_one_request(tmp_path: Path) -> None:
    """As after a restart of the venue, whose ids then begin far above."""

    async def scene() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            run = Run("binance", client, tmp_path)
            run.take(await receive_bytes(socket, 100))
            await client.fault("binance", "wrong_sequence", count=1_000_000)
            run.take(await receive_bytes(socket, 300))
            run.feed.publish_gaps(run.feed.continuity.decide())
            (settled,) = [gap for gap in await run.repaired() if gap.channel == "trade"]
            assert settled.gap_state is GapState.SOURCE_HOLE
            assert "the history leaves out 1000000 ids" in settled.reason
            asked = [line.endpoint for line in client.truth("binance") if "historicalTrades" in line.endpoint]
            assert len(asked) == 1

    asyncio.run(scene())


def test_what_a_loss_before_the_first_record_missed_is_fetched_and_proved_by_its_end(tmp_path: Path) -> None:
    """Also bars, whose time is their start, before the subscription."""

    async def scene() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            run = Run("binance", client, tmp_path)
            run.exchange = type("BinanceBySeconds", (run.exchange,), {"channels": by_seconds(run.exchange)})
            run.feed = Feed(run.settings, run.exchange, run.publisher)
            run.feed.offer_repair = run._note
            run._intake = open_intake(run.feed, run.exchange(), "c1", "ws://venue/stream")
            run.feed.continuity.expect([("BTC-USDT", "BTCUSDT")], ["trade", "kline_1s"], run.now_ns())
            missed = await receive_until_bars(socket, 2)
            run.lose(missed)
            run.take(await receive_until_bars(socket, 2))
            awaited = [gap for gap in await run.repaired() if NO_EVENT_BEFORE in gap.flags]
            assert {(gap.channel, gap.gap_state) for gap in awaited} == {
                ("trade", GapState.REPAIRED),
                ("kline_1s", GapState.REPAIRED),
            }
            kinds = (Kind.TRADE, Kind.BAR)
            assert identities(run.sent, kinds) - identities(run.published(), kinds) == set()

    asyncio.run(scene())


def by_seconds(exchange: type[Exchange]) -> tuple[Channel, ...]:
    """Its channels with bars of a second, which close while a test runs."""
    minutes = exchange.channel("kline_1m")
    assert minutes is not None
    return (*exchange.channels, msgspec.structs.replace(minutes, name="kline_1s"))


async def receive_until_bars(socket: ClientWebSocketResponse, count: int) -> list[bytes]:
    """Frames up to and with so many closed bars."""
    frames: list[bytes] = []
    while sum(b'"x":true' in frame for frame in frames) < count:
        frames += await receive_bytes(socket, 1)
    return frames


def test_a_gap_whose_end_the_history_does_not_show_stays_open_with_its_reason(tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, "polygon") as client:
            socket = await client.log_in("polygon")
            run = Run("polygon", client, tmp_path)
            run.take(await receive_bytes(socket, BEFORE))
            run.lose(await receive_bytes(socket, LOST))
            run.take(await receive_bytes(socket, AFTER))
            run.feed.publish_gaps(run.feed.continuity.decide())
            (gap,) = [gap for gap in run.open_gaps if gap.channel == "Q"]
            later = msgspec.structs.replace(gap, to_time_ns=run.now_ns() + 3_600_000_000_000)
            async with run.history() as history:
                verdict = await Repairer(run.settings.ingest, run.feed, history, CREDENTIALS).attempt(later)
            assert (verdict.state, verdict.reason) == (
                GapState.OPEN,
                "the first good event is not in the history",
            )

    asyncio.run(scene())


class Forgetful(Polygon):
    """A history that gives its newest rows and says that there are none before."""

    def next_request(self, request: Request, frame: Frame) -> Request | None:
        raise OutOfReach("it begins later")


def test_what_the_newest_rows_do_not_reach_over_can_never_be_repaired(tmp_path: Path) -> None:
    async def scene() -> None:
        async with simulator(tmp_path, "polygon") as client:
            socket = await client.log_in("polygon")
            run = Run("polygon", client, tmp_path)
            run.take(await receive_bytes(socket, BEFORE))
            run.lose(await receive_bytes(socket, LOST))
            run.take(await receive_bytes(socket, AFTER))
            run.feed.publish_gaps(run.feed.continuity.decide())
            run.feed.exchange = Forgetful
            (gap,) = [gap for gap in run.open_gaps if gap.channel == "Q"]
            earlier = msgspec.structs.replace(gap, from_time_ns=gap.from_time_ns - 3_600_000_000_000)
            async with History(f"http://{client.address}/polygon", Forgetful(CREDENTIALS)) as history:
                repairer = Repairer(run.settings.ingest, run.feed, history, CREDENTIALS)
                reached, lost = [await repairer.attempt(one) for one in (gap, earlier)]
            assert (reached.state, reached.reason) == (GapState.REPAIRED, "both ends are in the history")
            assert (lost.state, lost.reason) == (GapState.UNREPAIRABLE, "it begins later")

    asyncio.run(scene())


def test_repairs_try_again_until_the_history_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "RETRY_FIRST_S", 0.01)

    async def scene() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            run = Run("binance", client, tmp_path)
            repairs = Repairs(run.settings.ingest, run.feed, CREDENTIALS)
            run.feed.offer_repair = repairs.offer
            frames = [f for f in await receive_bytes(socket, 400) if b"@trade" in f]
            await client.fault("binance", "page_cut", count=1, duration_s=0.2)
            run.take([*frames[:20], *frames[25:60]])
            run.feed.publish_gaps(run.feed.continuity.decide())
            assert repairs.pending == 1
            async with run.history() as history:
                running = asyncio.create_task(repairs.run(history))
                async with asyncio.timeout(20):
                    while repairs.pending:  # noqa: ASYNC110  a test polls
                        await asyncio.sleep(0.01)
                running.cancel()
            assert run.feed.counts.repairs == {GapState.REPAIRED: 1}
            assert identities(run.sent, [Kind.TRADE]) <= identities(run.published(), [Kind.TRADE])

    asyncio.run(scene())


def test_what_a_backfill_looks_for_again_is_left_to_it(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path))
    feed = Feed(settings, load("binance"), MemoryPublisher())
    streamed = gap(1, from_time_ns=START_NS, to_time_ns=START_NS + 1)
    unpublished = gap(2, from_time_ns=START_NS, to_time_ns=START_NS + 2, gap_kind=GapKind.SOURCE_HOLE)
    repairs = Repairs(settings.ingest, feed, CREDENTIALS)
    for one in (streamed, unpublished):
        repairs.offer(one)
    assert repairs.pending == 1
    assert due([streamed, unpublished], START_NS + 3) == [streamed]


def test_the_queue_of_repairs_is_bounded_and_takes_a_gap_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair_module, "QUEUE_GAPS_MAX", 2)
    exchange = load("binance")

    async def scene() -> None:
        feed = Feed(Settings(), exchange, MemoryPublisher())
        repairs = Repairs(Settings().ingest, feed, CREDENTIALS)
        for number in (1, 1, 2, 3):
            repairs.offer(gap_of(number))
        repairs.offer(msgspec.structs.replace(gap_of(9), gap_state=GapState.UNREPAIRABLE))
        repairs.offer(msgspec.structs.replace(gap_of(9), to_time_ns=0))
        assert (repairs.pending, feed.counts.repairs_put_off) == (2, 1)

    asyncio.run(scene())


def gap_of(number: int) -> Gap:
    return Gap(
        "binance", "BTC-USDT", "BTCUSDT", "trade", 1, 1, Source.STREAM, "c1", 1, 0, f"trade/{number}", 0, 1,
        gap_kind=GapKind.SEQUENCE, gap_state=GapState.OPEN, from_sequence=number, to_sequence=number,
        from_time_ns=1, to_time_ns=2,
    )  # fmt: skip
