"""Repairs of every channel of every venue whose bars must not skip one, against a history with holes of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.adapter.contract import Credentials, Exchange, Outcome, Request
from etl.exchanges import load
from etl.ingest.feed import Feed
from etl.ingest.repair import Repairer
from etl.ingest.repair_proof import Verdict
from etl.model.records import Frame, Gap, GapState, Kind
from etl.sequencing.continuity import Continuity
from etl.settings import make
from etl.sources.history import History
from etl.transports.memory import MemoryPublisher
from tests.support.bars import DAY_NS, bar, channel_of, stepping_channels

CHANNELS = stepping_channels()
PAGE = "/bars"


def with_plain_history(venue: type[Exchange], name: str) -> type[Exchange]:
    """``venue`` with its own facts, and a history that answers with the numbers of bars; below 0: a bad bar of that
    number."""
    channel = channel_of(venue, name)

    class Plain(venue):  # type: ignore[valid-type, misc]
        def history_requests(
            self,
            kind: Kind,
            venue_symbol: str,
            start_ns: int,
            end_ns: int,
            first_id: int | None = None,
            channel: str = "",
        ) -> Iterator[Request]:
            yield Request(f"{PAGE}?from={start_ns}&to={end_ns}", kind, venue_symbol, end_ns=end_ns)

        def next_request(self, request: Request, frame: Frame) -> Request | None:
            return None

        def parse(self, frame: Frame) -> Sequence[Outcome]:
            bars = []
            for number in msgspec.json.decode(frame.payload):
                one = bar(channel, abs(number), self.name, frame.source)
                bars.append(one if number > 0 else msgspec.structs.replace(one, high="0"))
            return bars

    return Plain


def attempt(exchange: str, name: str, state: Path, count: int, absent: set[int], bad: set[int]) -> Verdict:
    """On a gap of ``count`` bars, of which the history leaves ``absent`` out and gives ``bad`` ones as bad ones."""
    venue = with_plain_history(load(exchange), name)
    channel = channel_of(venue, name)
    first = DAY_NS // channel.interval_ns
    numbers = [-(first + n) if n in bad else first + n for n in range(-2, count + 3) if n not in absent - bad]

    async def answer(request: web.Request) -> web.Response:
        start_ns, end_ns = (int(request.query[name]) for name in ("from", "to"))
        rows = [n for n in numbers if start_ns <= abs(n) * channel.interval_ns < end_ns]
        return web.Response(body=msgspec.json.encode(rows))

    async def scene() -> Verdict:
        app = web.Application()
        app.router.add_get(PAGE, answer)
        async with TestServer(app) as server:
            own = make(state_dir=str(state))
            feed = Feed(own, venue, MemoryPublisher())
            async with History(f"http://127.0.0.1:{server.port}", venue(Credentials())) as history:
                return await Repairer(own.ingest, feed, history, Credentials()).attempt(gap)

    continuity = Continuity(venue, declares_start=False)
    gaps = [
        gap
        for number in (first - 1, first + count)
        for gap in continuity.observe(bar(channel, number, exchange))
    ]
    (gap,) = [*gaps, *continuity.decide()]
    assert isinstance(gap, Gap)
    assert gap.gap_state is GapState.OPEN
    return asyncio.run(scene())


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 12), absent=st.sets(st.integers(0, 11)), bad=st.sets(st.integers(0, 11), max_size=2)
)
def test_a_gap_is_repaired_when_every_bar_of_it_has_come_and_not_before(
    tmp_path: Path, exchange: str, name: str, count: int, absent: set[int], bad: set[int]
) -> None:
    within = set(range(count))
    absent, bad = absent & within - bad, bad & within
    verdict = attempt(exchange, name, tmp_path, count, absent, bad)
    if absent:
        expected = GapState.SOURCE_HOLE, f"the history leaves out {len(absent)} bars"
    elif bad:
        expected = GapState.UNREPAIRABLE, f"{len(bad)} bars are in quarantine"
    else:
        expected = GapState.REPAIRED, "both ends are in the history"
    assert (verdict.state, verdict.reason) == expected


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
def test_nine_of_eleven_bars_absent_are_the_source_s_hole(tmp_path: Path, exchange: str, name: str) -> None:
    verdict = attempt(exchange, name, tmp_path, 11, set(range(1, 10)), set())
    assert (verdict.state, verdict.reason) == (GapState.SOURCE_HOLE, "the history leaves out 9 bars")


@pytest.mark.parametrize(("exchange", "name"), CHANNELS)
def test_a_history_that_does_not_reach_the_end_of_the_gap_leaves_it_open(
    tmp_path: Path, exchange: str, name: str
) -> None:
    verdict = attempt(exchange, name, tmp_path, 3, {2, 3}, set())
    assert (verdict.state, verdict.reason) == (GapState.OPEN, "the first good event is not in the history")
