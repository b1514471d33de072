from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from msgspec.structs import replace

from etl.adapter.contract import Credentials, Request
from etl.errors import VenueError
from etl.exchanges.binance import Binance
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.exchanges.bybit import Bybit
from etl.model.records import Kind
from etl.model.times import NS_PER_MS
from etl.sources import history
from etl.sources.history import Answer, History
from etl.sources.limiter import LIMIT_WAIT_S, NO_ANSWER, Limiter
from tests.support.invented import SYMBOL, Invented
from tests.support.venue_server import SNAPSHOT, VenueServer, venue_server

REQUEST = Request("/api/v3/depth?symbol=BTCUSDT", Kind.BOOK, "BTCUSDT")


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with venue_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BACK_OFF_FIRST_S", 0.001)


def fetch(port: int, limiter: Limiter | None = None) -> Answer:
    async def run() -> Answer:
        async with History(f"http://127.0.0.1:{port}", Binance(), limiter) as venue:
            return await asyncio.wait_for(venue.fetch(REQUEST), 30.0)

    return asyncio.run(run())


def test_an_answer_is_the_exact_body_with_the_address_that_was_asked(server: VenueServer) -> None:
    answer = fetch(server.port)
    assert answer.payload == SNAPSHOT.encode()
    assert answer.endpoint == f"http://127.0.0.1:{server.port}/api/v3/depth?symbol=BTCUSDT"
    assert answer.receive_time_ns > 0


def test_a_request_goes_to_the_host_that_it_names_and_where_there_is_no_such_to_the_main_one(
    server: VenueServer,
) -> None:
    async def ask(others: dict[str, str]) -> list[str]:
        async with History(f"http://127.0.0.1:{server.port}", Binance(), others=others) as venue:
            old = replace(REQUEST, host="old")
            return [(await venue.fetch(request)).endpoint for request in (REQUEST, old)]

    here, there = (f"http://{host}:{server.port}{REQUEST.path}" for host in ("127.0.0.1", "localhost"))
    assert asyncio.run(ask({"old": f"http://localhost:{server.port}"})) == [here, there]
    assert asyncio.run(ask({})) == [here, here], "a simulated venue has one host"


def test_history_that_takes_a_key_is_not_asked_for_without_one(server: VenueServer) -> None:
    """The verdict names the variable; what needs no key is asked for as ever."""
    trades = Request("/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=1", Kind.TRADE, "BTCUSDT")

    async def ask(request: Request, credentials: Credentials) -> Answer:
        async with History(f"http://127.0.0.1:{server.port}", BinanceUsdm(credentials)) as venue:
            return await asyncio.wait_for(venue.fetch(request), 30.0)

    with pytest.raises(
        VenueError, match="binance_usdm gives its history of trade only to a key: set BINANCE_API_KEY"
    ):
        asyncio.run(ask(trades, Credentials()))
    assert not server.requests
    assert asyncio.run(ask(REQUEST, Credentials())).payload == SNAPSHOT.encode()
    server.answers["/fapi/v1/historicalTrades"] = (200, "[]")
    assert asyncio.run(ask(trades, Credentials("k"))).payload == b"[]"


def test_what_may_pass_is_asked_again_and_not_for_ever(server: VenueServer) -> None:
    server.answers["/api/v3/depth"] = (503, "busy")
    with pytest.raises(VenueError, match=r"depth\?symbol=BTCUSDT: status 503: busy"):
        fetch(server.port)
    assert len(server.requests) == history.ATTEMPTS_MAX


def test_what_will_not_pass_is_asked_once(server: VenueServer) -> None:
    server.answers["/api/v3/depth"] = (400, '{"code":-1121,"msg":"Invalid symbol."}')
    with pytest.raises(VenueError, match="Invalid symbol"):
        fetch(server.port)
    assert len(server.requests) == 1


def test_a_venue_that_is_not_there_is_an_error_of_the_venue(server: VenueServer) -> None:
    with pytest.raises(VenueError, match="ClientConnectorError"):
        fetch(1)


def test_every_request_is_counted_by_its_status(server: VenueServer, tmp_path: Path) -> None:
    limiter = Limiter(tmp_path / "limit", ())
    fetch(server.port, limiter)
    server.answers["/api/v3/depth"] = (503, "busy")
    for port in (server.port, 1):
        with pytest.raises(VenueError):
            fetch(port, limiter)
    asked = history.ATTEMPTS_MAX
    assert limiter.account().statuses == {NO_ANSWER: asked, 200: 1, 503: asked}
    assert sum(limiter.account().classes) == 2 * asked + 1


PAGE = Request(
    "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=7&limit=2", Kind.TRADE, "BTCUSDT", end_ns=1 << 62
)
ROWS = '[{"id":7,"time":1790000000000},{"id":8,"time":1790000000001}]'


def pages(port: int, pages_max: int) -> list[Answer]:
    async def run() -> list[Answer]:
        async with History(f"http://127.0.0.1:{port}", Binance()) as venue:
            return [answer async for answer in venue.pages(PAGE, pages_max)]

    return asyncio.run(run())


def test_pages_go_on_until_one_is_short(server: VenueServer) -> None:
    server.answers["/api/v3/historicalTrades"] = (200, ROWS[:30] + "]")
    assert [answer.payload for answer in pages(server.port, 1)] == [ROWS[:30].encode() + b"]"]


def test_pages_without_end_are_an_error_after_the_last_that_is_allowed(server: VenueServer) -> None:
    server.answers["/api/v3/historicalTrades"] = (200, ROWS)
    with pytest.raises(VenueError, match="more than 3 pages"):
        pages(server.port, 3)
    assert [path.partition("fromId=")[2] for path in server.requests] == [
        "7&limit=2",
        "9&limit=2",
        "9&limit=2",
    ]


NO_PAGES = [
    "",
    "<!DOCTYPE html><html><body>Checking your browser</body></html>",
    '[{"id":7,"time":17900',
    "null",
    '"please retry"',
    "{}",
    '{"code":-1001,"msg":"Internal error; unable to process your request. Please try again."}',
    '{"status":"ERROR","error":"please retry"}',
]


@pytest.mark.parametrize("body", NO_PAGES)
def test_a_body_that_is_no_page_is_asked_for_again_and_no_end_of_the_history(
    server: VenueServer, body: str
) -> None:
    last = ROWS[:30] + "]"
    server.answers["/api/v3/historicalTrades"] = (200, [ROWS, body, body, last])
    assert [answer.payload.decode() for answer in pages(server.port, 3)] == [ROWS, last]
    server.answers["/api/v3/historicalTrades"] = (200, [ROWS, *[body] * history.ATTEMPTS_MAX, last])
    with pytest.raises(VenueError, match=r"historicalTrades.*: status 200: transient "):
        pages(server.port, 3)


def test_a_body_that_says_what_will_not_pass_is_asked_for_once(server: VenueServer) -> None:
    server.answers["/api/v3/historicalTrades"] = (
        200,
        '{"code":-2015,"msg":"Invalid API-key, IP, or permissions."}',
    )
    with pytest.raises(VenueError, match="Invalid API-key"):
        pages(server.port, 3)
    assert len(server.requests) == 1


def test_a_body_that_says_too_many_requests_stops_everybody(server: VenueServer, tmp_path: Path) -> None:
    limiter = Limiter(tmp_path / "limit", ())
    server.answers["/api/v3/depth"] = (200, ['{"code":-1003,"msg":"Too many requests."}', SNAPSHOT])
    began = time.monotonic()
    assert fetch(server.port, limiter).payload == SNAPSHOT.encode()
    assert time.monotonic() - began >= LIMIT_WAIT_S


def test_an_answer_without_end_is_refused(server: VenueServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "ANSWER_BYTES_MAX", 1_000)
    server.answers["/api/v3/depth"] = (200, "x" * 100_000)
    with pytest.raises(VenueError, match="larger than 1000 bytes"):
        fetch(server.port)


def rows_of(*ids: int) -> str:
    rows = [
        {"op": "trade", "sym": SYMBOL, "id": n, "px": "1", "qty": "2", "ts": 1_700_000_000_000, "side": "buy"}
        for n in ids
    ]
    return json.dumps({"rows": rows})


def test_a_request_with_a_body_is_a_post_signed_at_its_time_and_the_frame_tells_it(
    server: VenueServer,
) -> None:
    parser = Invented(Credentials("key", "secret"))
    (first,) = parser.history_requests(Kind.TRADE, SYMBOL, 0, 0, first_id=5)
    server.answers["/trades"] = (200, [rows_of(5, 6), rows_of(7)])
    before_ms = time.time_ns() // NS_PER_MS

    async def run() -> list[Answer]:
        async with History(f"http://127.0.0.1:{server.port}", parser) as venue:
            return [answer async for answer in venue.pages(first, 9)]

    answers = asyncio.run(run())
    assert [answer.payload.decode() for answer in answers] == [rows_of(5, 6), rows_of(7)]
    assert server.bodies == [b'{"sym":"AAABBB","from":5,"limit":2}', b'{"sym":"AAABBB","from":7,"limit":2}']
    for headers, body in zip(server.headers, server.bodies, strict=True):
        assert headers["Content-Type"] == "application/json"
        at_ms = int(headers["X-Time"])
        assert before_ms <= at_ms <= time.time_ns() // NS_PER_MS
        told = f"POST/trades{at_ms}secret".encode() + body
        assert headers["X-Signature"] == sha256(told).hexdigest()
    bodies = [unquote_to_bytes(answer.endpoint.partition("#body=")[2]) for answer in answers]
    assert bodies == server.bodies
    assert {answer.endpoint.partition("#")[0] for answer in answers} == {
        f"http://127.0.0.1:{server.port}/trades"
    }


def test_a_ban_that_the_venue_tells_by_a_status_of_its_own_stops_everybody(
    server: VenueServer, tmp_path: Path
) -> None:
    server.answers["/api/v3/depth"] = (403, "Access too frequent")
    limiter = Limiter(tmp_path / "limit", (), lambda: 0)

    async def ask() -> Answer:
        async with History(f"http://127.0.0.1:{server.port}", Bybit(), limiter) as venue:
            return await venue.fetch(REQUEST)

    with pytest.raises(VenueError, match="the venue takes no request for 600 s"):
        asyncio.run(ask())
    assert len(server.requests) == 1


def test_a_redirect_is_a_refusal_and_is_not_followed(server: VenueServer) -> None:
    """The keys in the headers are for the venue's host alone."""
    server.answers["/api/v3/depth"] = (302, "")
    server.extra_headers["Location"] = f"http://localhost:{server.port}/elsewhere"
    with pytest.raises(VenueError, match="status 302"):
        fetch(server.port)
    assert len(server.requests) == 1


@pytest.mark.parametrize("path", [".evil.example/v3", "@evil.example/v3", ":1/v3", ""])
def test_a_path_cannot_make_another_host(server: VenueServer, path: str) -> None:
    async def ask() -> Answer:
        async with History(f"http://127.0.0.1:{server.port}", Binance()) as venue:
            return await venue.fetch(Request(path, Kind.BOOK, "BTCUSDT"))

    with pytest.raises(VenueError, match="no path on the venue's host"):
        asyncio.run(ask())
    assert not server.requests
