"""What cannot be read is the end of nothing: of no repair and of no list."""

from __future__ import annotations

import asyncio

import pytest

from etl.adapter.contract import Credentials
from etl.errors import VenueError
from etl.exchanges import load
from etl.ingest.feed import Feed
from etl.ingest.repair import Repairer
from etl.ingest.repair_proof import Verdict
from etl.model.records import Gap, GapKind, GapState, Source
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.reference.instruments import known, refresh
from etl.settings import Settings
from etl.sources import history
from etl.sources.history import History
from etl.transports.memory import MemoryPublisher
from tests.support.access import access_at
from tests.support.venue_server import venue_server

START_NS = 1_768_435_200 * NS_PER_S
HTML = "<!DOCTYPE html><html><body>Checking your browser</body></html>"
LONG = '{"error":{"detail":"' + "x" * 80_000 + '"}}'
"""JSON, and no page."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BACK_OFF_FIRST_S", 0.001)


def verdict_on(settings: Settings, gap: Gap, path: str, bodies: list[str]) -> Verdict:
    exchange = load(gap.exchange)

    async def attempt(port: int) -> Verdict:
        async with History(f"http://127.0.0.1:{port}", exchange()) as asked:
            feed = Feed(settings, exchange, MemoryPublisher())
            return await Repairer(settings.ingest, feed, asked, Credentials()).attempt(gap)

    with venue_server() as server:
        server.answers[path] = (200, bodies)
        return asyncio.run(asyncio.wait_for(attempt(server.port), 30.0))


def gap_of(channel: str, first: int | None, last: int | None) -> Gap:
    return Gap(
        exchange="binance", symbol="BTC-USDT", venue_symbol="BTCUSDT", channel=channel, event_time_ns=START_NS,
        receive_time_ns=START_NS, source=Source.STREAM, connection_id="c", frame_sequence=1, frame_index=0,
        key_time_ns=START_NS, parser_version=1, record_key=f"{channel}/1-2",
        gap_kind=GapKind.SEQUENCE, gap_state=GapState.OPEN, from_sequence=first, to_sequence=last,
        from_time_ns=START_NS, to_time_ns=START_NS + 3 * NS_PER_MINUTE, detected_time_ns=START_NS,
    )  # fmt: skip


@pytest.mark.parametrize(
    "body", ["", HTML, '[{"id":7,', "{}", LONG, '{"code":-1001,"msg":"Please try again."}']
)
def test_a_repair_whose_history_cannot_be_read_stays_open_and_the_next_page_repairs_it(
    settings: Settings, body: str
) -> None:
    gap, path = gap_of("trade", 7, 8), "/api/v3/historicalTrades"
    rows = ",".join(
        f'{{"id":{n},"price":"1.5","qty":"2","time":{START_NS // 10**6 + n},"isBuyerMaker":true}}'
        for n in (7, 8)
    )
    found = verdict_on(settings, gap, path, [body] * history.ATTEMPTS_MAX)
    assert (found.state, found.rows) == (GapState.OPEN, 0)
    assert "status 200: transient" in found.reason
    assert verdict_on(settings, gap, path, [body, f"[{rows}]"]).state is GapState.REPAIRED
    bars = verdict_on(
        settings, gap_of("kline_1m", None, None), "/api/v3/klines", [body] * history.ATTEMPTS_MAX
    )
    assert (bars.state, bars.rows) == (GapState.OPEN, 0)


@pytest.mark.parametrize("body", ["", HTML, '{"symbols":[{', '{"code":-1001,"msg":"Please try again."}'])
def test_a_list_that_cannot_be_read_is_asked_for_again_and_replaces_no_list(
    settings: Settings, body: str
) -> None:
    binance = load("binance")
    item = '{"symbol":"NEWUSDT","status":"TRADING","baseAsset":"NEW","quoteAsset":"USDT"}'
    listed = f'{{"timezone":"UTC","symbols":[{item}]}}'

    def refreshed(bodies: list[str]) -> int:
        with venue_server() as server:
            server.answers[binance.instruments_path] = (200, bodies)
            access = access_at(f"http://127.0.0.1:{server.port}", binance, settings.state_path)
            return refresh(settings, access)

    before = len(known(settings, binance))
    with pytest.raises(VenueError, match="status 200: transient"):
        refreshed([body] * history.ATTEMPTS_MAX)
    assert len(known(settings, binance)) == before
    assert refreshed([body, listed]) == 1
