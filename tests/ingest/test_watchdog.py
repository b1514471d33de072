"""What has fallen silent: quiet, or lost? Against a venue in this process."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from msgspec.structs import replace

from etl.adapter.contract import Credentials, Subscription
from etl.exchanges.binance import Binance
from etl.ingest import watchdog
from etl.model.instruments import Instrument, Instruments
from etl.model.records import Bar, Gap, GapKind, GapState, Source, Trade
from etl.model.times import NS_PER_MS, NS_PER_S
from etl.sources import stream
from tests.support.streaming import Run, against_a_server, running
from tests.support.venue_server import VenueServer, quote, trade

PAST = "/api/v3/historicalTrades"
BARS = "/api/v3/klines"
AGGREGATES = "/api/v3/aggTrades"
BOTH = Subscription(("BTCUSDT",), ("trade", "bookTicker"))


class Impatient(Binance):
    """Half a second of silence is much, on each of its channels."""

    channels = tuple(replace(channel, stale_after_s=0.5) for channel in Binance.channels)


class Deaf(Impatient):
    """Nothing tells that a connection is subscribed."""

    ready_on_open = False


class OneSocket(Impatient):
    """A second connection would close the first, but a subscription can be begun anew."""

    connections_max = 1

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [f"{word} {' '.join((*subscription.symbols, *subscription.channels))}" for word in ("-", "+")]


class Dated(Impatient):
    """One of its contracts is over."""

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        listed = Instrument("BTCUSDT", "BTC-USDT", expires_ns=1), Instrument("ETHUSDT", "ETH-USDT")
        super().__init__(credentials, Instruments(listed))


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LOOK_NS", 50 * NS_PER_MS)
    monkeypatch.setattr(watchdog, "ASK_NS", 50 * NS_PER_MS)
    monkeypatch.setattr(stream, "OVERLAP_S", 0.1)


def rows(*numbers: int) -> tuple[int, str]:
    """The venue's history has these trades."""
    row = {
        "price": "61837.63",
        "qty": "0.02",
        "quoteQty": "1236.75",
        "isBuyerMaker": True,
        "isBestMatch": True,
    }
    return 200, json.dumps([row | {"id": n, "time": 1_790_000_000_000 + n} for n in numbers])


MINUTE_MS = 60_000
FIRST_BAR_MS = 1_790_000_040_000


def bar(volume: str) -> str:
    """The stream's closed bar of the first minute."""
    return (
        f'{{"stream":"btcusdt@kline_1m","data":{{"e":"kline","E":{FIRST_BAR_MS},"s":"BTCUSDT","k":{{"t":{FIRST_BAR_MS},'
        f'"T":{FIRST_BAR_MS + MINUTE_MS - 1},"s":"BTCUSDT","i":"1m","f":1,"L":3,"o":"1","c":"2","h":"3","l":"1",'
        f'"v":"{volume}","n":3,"x":true,"q":"7","V":"2","Q":"3","B":"0"}}}}}}'
    )


def bar_rows(volume: str) -> tuple[int, str]:
    """The same of the venue's history."""
    end_ms = FIRST_BAR_MS + MINUTE_MS - 1
    return 200, json.dumps([[FIRST_BAR_MS, "1", "3", "1", "2", volume, end_ms, "7", 3, "2", "3", "0"]])


async def flow(server: VenueServer, event: Callable[[int], str], *, while_: Awaitable[None]) -> None:
    """``event`` after ``event`` until ``while_`` is done."""
    waiting, number = asyncio.ensure_future(while_), 100
    while not waiting.done():
        number += 1
        await asyncio.to_thread(server.send, event(number))
        await asyncio.sleep(0.05)
    await waiting


def gaps(run: Run) -> list[tuple[str, str, GapKind, GapState, bool]]:
    return [
        (gap.venue_symbol, gap.channel, gap.gap_kind, gap.gap_state, bool(gap.to_time_ns))
        for gap in run.published()
        if isinstance(gap, Gap) and gap.gap_kind is not GapKind.START
    ]


@against_a_server
async def test_a_quiet_instrument_on_a_socket_that_delivers_is_left_alone(server: VenueServer) -> None:
    server.answers[PAST] = rows()
    async with running(server, Impatient, BOTH) as run:
        await asyncio.to_thread(server.send, trade(1))
        quiet = run.until(lambda: run.feed.counts.silences["quiet"] == 2)
        await flow(server, quote, while_=quiet)
        assert (server.opened, run.ends, gaps(run)) == (1, [], [])
        # half a second was its limit: its silence is normal for three times as long as it was until it was asked for
        await run.until(
            lambda: run.feed.counts.silence_normal_until_ns["trade", BOTH] > time.time_ns() + NS_PER_S
        )
        asked = [path for path in server.requests if path.startswith(PAST)]
        assert asked == [f"{PAST}?symbol=BTCUSDT&fromId=2&limit=1"] * 2


@against_a_server
async def test_the_newest_with_which_an_answer_begins_is_not_published_again_unless_it_says_something_else(
    server: VenueServer,
) -> None:
    server.answers[BARS] = bar_rows("5")
    async with running(server, Impatient, Subscription(("BTCUSDT",), ("kline_1m",))) as run:
        counts = run.feed.counts
        await asyncio.to_thread(server.send, bar("5"))
        await run.until(
            lambda: counts.ignored[watchdog.HISTORY_DOUBLE] == 1 and counts.silences["quiet"] == 1
        )
        server.answers[BARS] = bar_rows("6")
        await run.until(lambda: counts.silences["quiet"] == 2)
        bars = [(bar.volume, bar.source) for bar in run.published() if isinstance(bar, Bar)]
        assert bars == [("5", Source.STREAM), ("6", Source.REPAIR)]


@against_a_server
async def test_a_contract_that_has_expired_is_neither_asked_for_nor_lost(server: VenueServer) -> None:
    server.answers[PAST], both = rows(), Subscription(("BTCUSDT", "ETHUSDT"), ("trade",))
    async with running(server, Dated, both, live=True) as run:
        last = trade(1)
        await asyncio.to_thread(server.send, last, last.replace("btc", "eth").replace("BTC", "ETH"))
        await run.until(lambda: run.feed.counts.silences["quiet"] == 2)
        assert {path.partition("&")[0] for path in server.requests} == {f"{PAST}?symbol=ETHUSDT"}
        run.feed.lost(GapKind.DISCONNECT, "closed", both.symbols)
        assert gaps(run) == [("ETHUSDT", "trade", GapKind.DISCONNECT, GapState.OPEN, False)]


@against_a_server
async def test_an_instrument_that_never_gave_anything_is_asked_for_by_time(server: VenueServer) -> None:
    server.answers[AGGREGATES] = 200, "[]"
    async with running(server, Impatient, BOTH) as run:
        await flow(server, quote, while_=run.until(lambda: run.feed.counts.silences["quiet"] == 1))
        assert (server.opened, run.ends, gaps(run)) == (1, [], [])


@against_a_server
async def test_a_muted_channel_gets_a_gap_and_a_successor_and_what_others_get_has_none(
    server: VenueServer,
) -> None:
    server.answers[PAST] = rows(2)
    async with running(server, Impatient, BOTH) as run:
        await asyncio.to_thread(server.send, trade(1))
        await flow(server, quote, while_=run.until(lambda: run.overlaps == [True, False]))
        assert (server.opened, run.ends, server.connections) == (2, [], 1)
        assert run.feed.counts.silences == {"lost": 1}
        await asyncio.to_thread(server.send, trade(3))
        await run.until(lambda: "3" in [r.trade_id for r in run.published() if isinstance(r, Trade)])
        run.feed.publish_gaps(run.feed.continuity.decide())
        stale = ("BTCUSDT", "trade", GapKind.STALE, GapState.OPEN)
        assert gaps(run) == [(*stale, False), (*stale, True)]
        found = [gap for gap in run.published() if isinstance(gap, Gap) and gap.gap_kind is GapKind.STALE]
        assert (found[1].from_sequence, found[1].to_sequence) == (2, 2)
        assert found[0].reason.startswith("stale: trade of BTCUSDT: silent for ")
        assert found[0].reason.endswith(", and the venue's history has more")
        repaired = [r for r in run.published() if isinstance(r, Trade) and r.source is Source.REPAIR]
        assert [record.trade_id for record in repaired] == ["2"]


@against_a_server
async def test_one_symbol_that_falls_silent_among_others_of_its_channel_is_found(server: VenueServer) -> None:
    server.answers[PAST] = rows(2)
    async with running(server, Impatient, Subscription(("BTCUSDT", "ETHUSDT"), ("trade",))) as run:
        await asyncio.to_thread(server.send, trade(1, "ETHUSDT"))
        await flow(server, trade, while_=run.until(lambda: run.overlaps == [True, False]))
        assert [found[:3] for found in gaps(run)] == [("ETHUSDT", "trade", GapKind.STALE)]
        assert run.ends == []


@against_a_server
async def test_a_channel_without_history_that_stops_speaking_is_a_suspicion_and_subscribed_anew(
    server: VenueServer,
) -> None:
    async with running(server, Impatient, BOTH) as run:
        await asyncio.to_thread(server.send, quote(1))
        await flow(server, trade, while_=run.until(lambda: run.overlaps == [True, False]))
        assert gaps(run) == [("BTCUSDT", "bookTicker", GapKind.STALE, GapState.UNREPAIRABLE, False)]
        assert (run.ends, run.feed.counts.silences) == ([], {"unknown": 1})


@against_a_server
async def test_a_channel_without_history_that_never_spoke_costs_nothing(server: VenueServer) -> None:
    async with running(server, Impatient, BOTH) as run:
        await flow(server, trade, while_=run.until(lambda: run.feed.counts.silences["unknown"] == 1))
        assert (server.opened, run.ends, gaps(run)) == (1, [], [])


@against_a_server
async def test_a_socket_on_which_nothing_is_heard_is_closed_when_the_history_has_more(
    server: VenueServer,
) -> None:
    server.answers[PAST] = rows(2)
    async with running(server, Impatient, Subscription(("BTCUSDT",), ("trade",))) as run:
        await asyncio.to_thread(server.send, trade(1))
        await run.until(lambda: server.opened >= 2)
        assert (run.ends[0].reason, run.ends[0].is_own) == ("stale", False)
        assert run.ends[0].detail.endswith("the venue's history has more; nothing else is heard")


@against_a_server
async def test_a_socket_of_quiet_instruments_alone_is_left_alone(server: VenueServer) -> None:
    server.answers[PAST] = rows()
    async with running(server, Impatient, Subscription(("BTCUSDT", "ETHUSDT"), ("trade",))) as run:
        await asyncio.to_thread(server.send, trade(1), trade(1, "ETHUSDT"))
        await run.until(lambda: run.feed.counts.silences["quiet"] >= 3)
        assert (server.opened, run.ends, gaps(run)) == (1, [], [])


@against_a_server
async def test_a_history_that_cannot_be_asked_leaves_a_suspicion(server: VenueServer) -> None:
    server.answers[PAST] = 400, "no"
    async with running(server, Impatient, BOTH) as run:
        await asyncio.to_thread(server.send, trade(1))
        await flow(server, quote, while_=run.until(lambda: run.overlaps == [True, False]))
        assert gaps(run) == [("BTCUSDT", "trade", GapKind.STALE, GapState.OPEN, False)]


@against_a_server
async def test_a_doubted_connection_goes_on_when_its_successor_does_not_get_ready(
    server: VenueServer,
) -> None:
    timeout_s, stream.OVERLAP_TIMEOUT_S = stream.OVERLAP_TIMEOUT_S, 0.3
    try:
        server.answers[PAST] = rows(2)
        async with running(server, Deaf, BOTH) as run:
            await asyncio.to_thread(server.send, trade(1))
            await flow(server, quote, while_=run.until(lambda: run.overlaps == [True, False]))
            await run.until(lambda: server.connections == 1)
            await asyncio.to_thread(server.send, trade(3))
            await run.until(lambda: "3" in [r.trade_id for r in run.published() if isinstance(r, Trade)])
            assert (server.opened, run.ends) == (2, [])
            assert run.connections[0].intake.connection_id == run.published()[-1].connection_id
    finally:
        stream.OVERLAP_TIMEOUT_S = timeout_s


@against_a_server
async def test_where_the_venue_can_the_channel_is_begun_anew_on_its_connection_first(
    server: VenueServer,
) -> None:
    server.answers[PAST] = rows(2)
    async with running(server, OneSocket, BOTH) as run:
        await asyncio.to_thread(server.send, trade(1))
        await flow(server, quote, while_=run.until(lambda: len(server.received) == 2))
        assert server.received == ["- BTCUSDT trade", "+ BTCUSDT trade"]
        assert (server.opened, run.ends) == (1, [])
        await flow(server, quote, while_=run.until(lambda: server.opened == 2))
        assert [(end.reason, end.is_own) for end in run.ends] == [("planned", True)]
        assert run.ends[0].detail.startswith("trade of BTCUSDT: silent for ")


@against_a_server
async def test_all_symbols_are_heard_as_one_and_a_channel_that_all_are_silent_on_is_stale(
    server: VenueServer,
) -> None:
    server.answers[PAST] = rows()
    async with running(server, Impatient, Subscription(("*",), ("trade", "bookTicker"))) as run:
        for number in range(1, 31):
            both = trade(number, ("BTCUSDT", "ETHUSDT")[number % 2]), quote(number)
            await asyncio.to_thread(server.send, *both)
            await asyncio.sleep(0.05)
        assert (server.opened, server.requests, run.feed.counts.silences.total()) == (1, [], 0)
        await flow(server, quote, while_=run.until(lambda: server.opened == 2))
        assert server.requests == []
        assert [(end.reason, end.is_own) for end in run.ends] == [("stale", False)]
        assert "trade of *: silent" in run.ends[0].detail
