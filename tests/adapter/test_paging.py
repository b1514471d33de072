from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import FaultKind, Request
from etl.adapter.fields import ms_or_us_ns
from etl.adapter.paging import After, Before, by_token, id_pages, next_url, refusal_of, rows_of, with_query
from etl.errors import VenueError
from etl.exchanges import load, names
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_DAY, NS_PER_MS

REQUEST = Request("/trades?symbol=AAA&limit=2&start=5", Kind.TRADE, "AAA", end_ns=100 * NS_PER_MS)
AFTER_ID = After("from", "id", "t", ms_or_us_ns, ("start",))


def rows(*pairs: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"id": number, "t": time} for number, time in pairs]


def path_of(request: Request | None) -> str:
    assert request is not None
    return request.path


def test_a_full_page_is_followed_by_what_comes_after_its_last_row() -> None:
    assert path_of(AFTER_ID.following(REQUEST, rows((7, 1), (8, 2)))) == "/trades?symbol=AAA&limit=2&from=9"
    by_time = After("start", 0, 0, ms_or_us_ns, step=0)
    assert path_of(by_time.following(REQUEST, [[1], [7]])) == "/trades?symbol=AAA&limit=2&start=7"


@pytest.mark.parametrize("page", [[], rows((7, 1)), [5], rows((7, 1), (8, 100)), rows((7, 100), ("x", 2))])
def test_a_page_that_is_short_or_reaches_the_end_is_the_last(page: list[Any]) -> None:
    assert AFTER_ID.following(REQUEST, page) is None


@pytest.mark.parametrize("page", [rows((7, 1), ("x", 2)), rows((7, 1), (8, 0)), [{"id": 7, "t": 1}, 5]])
def test_a_garbled_last_row_ends_no_history(page: list[Any]) -> None:
    assert path_of(AFTER_ID.following(REQUEST, page)) == "/trades?symbol=AAA&limit=2&from=8"
    before = Before("before", "id", "t", ms_or_us_ns)
    assert "before=" in path_of(before.following(REQUEST, page))


def test_a_full_page_without_a_row_that_can_be_read_is_no_end() -> None:
    for pages in (AFTER_ID, Before("before", "id", "t", ms_or_us_ns)):
        with pytest.raises(VenueError, match="where the next one begins"):
            pages.following(REQUEST, [5, 5])


def test_an_open_end_is_never_reached() -> None:
    request = msgspec.structs.replace(REQUEST, end_ns=0)
    assert AFTER_ID.following(request, rows((7, 1), (8, 10**12))) is not None


def test_pages_that_go_back_end_where_the_span_begins() -> None:
    before = Before("before", "id", "t", ms_or_us_ns)
    request = msgspec.structs.replace(REQUEST, start_ns=3 * NS_PER_MS)
    page = "/trades?symbol=AAA&limit=2&start=5&before=7"
    assert path_of(before.following(request, rows((8, 9), (7, 3)))) == page
    assert before.following(request, rows((8, 9), (7, 2))) is None
    assert before.following(request, rows((8, 9))) is None
    stepping = Before("end", 0, 0, ms_or_us_ns, step=1)
    assert path_of(stepping.following(REQUEST, [["9"], [7]])) == "/trades?symbol=AAA&limit=2&start=5&end=6"
    with pytest.raises(VenueError):
        stepping.following(REQUEST, [["x"], ["y"]])


def test_the_address_of_the_next_page_loses_the_key_that_it_carries() -> None:
    url = "https://host/v3/trades?cursor=a%3D&apiKey=secret"
    assert path_of(next_url(REQUEST, url, ("apikey",))) == "/v3/trades?cursor=a%3D"
    assert path_of(next_url(REQUEST, "https://host/v3/trades/7?apikey=x", ("apikey",))) == "/v3/trades/7"
    for last in (None, ""):
        assert next_url(REQUEST, last, ("apikey",)) is None
    for no_end in ("https://[", f"https://host{REQUEST.path}"):
        with pytest.raises(VenueError, match="next"):
            next_url(REQUEST, no_end, ("apikey",))


def test_a_token_asks_for_the_next_page_once() -> None:
    second = by_token(REQUEST, "page_token", "a|b==")
    assert path_of(second) == "/trades?symbol=AAA&limit=2&start=5&page_token=a%7Cb%3D%3D"
    assert second is not None
    with pytest.raises(VenueError, match="names itself as the next"):
        by_token(second, "page_token", "a|b==")
    assert by_token(second, "page_token", "") is None


@pytest.mark.parametrize(
    ("payload", "members", "found"),
    [
        (b"[1,2]", (), [1, 2]),
        (b'{"a":{"b":[1]}}', ("a", "b"), [1]),
        (b"[]", (), []),
    ],
)
def test_rows_are_those_of_an_array(payload: bytes, members: tuple[str, ...], found: list[Any]) -> None:
    assert rows_of(payload, *members) == found


@pytest.mark.parametrize("payload", [b'{"a":5}', b'{"b":[]}', b"[1", b"[]", b"", b"5", b"null"])
def test_an_answer_without_an_array_is_no_last_page(payload: bytes) -> None:
    with pytest.raises(VenueError, match="an answer without rows"):
        rows_of(payload, "a")


def test_ids_are_cut_into_pages() -> None:
    assert list(id_pages(1, 5, 2)) == [(1, 2), (3, 2), (5, 1)]
    assert json.dumps(list(id_pages(5, 4, 2))) == "[]"
    assert path_of(with_query(REQUEST, {"limit": 9}, ("start",))) == "/trades?symbol=AAA&limit=9"


POLYGON, ALPACA, BINANCE = (
    "/v3/trades/AAPL?limit=9",
    "/v2/stocks/trades?symbols=AAPL&limit=9",
    "/api/v3/klines?symbol=BTCUSDT&limit=9",
)


@pytest.mark.parametrize(
    ("venue", "path", "payload", "kind"),
    [
        ("polygon", POLYGON, b'{"results":[],"status":"OK"}', None),
        ("polygon", POLYGON, b'{"results":[5],"status":"OK"}', None),
        ("polygon", POLYGON, b'{"results":5,"status":"OK"}', FaultKind.TRANSIENT),
        ("polygon", POLYGON, b'{"status":"ERROR","error":"please retry"}', FaultKind.TRANSIENT),
        ("polygon", POLYGON, b'{"error":"please retry"}', FaultKind.TRANSIENT),
        ("polygon", POLYGON, b'{"status":"NOT_AUTHORIZED","message":"no"}', FaultKind.ENTITLEMENT),
        ("alpaca", ALPACA, b'{"trades":{},"next_page_token":null}', None),
        ("alpaca", ALPACA, b'{"trades":{"AAPL":[5]},"next_page_token":null}', None),
        ("alpaca", ALPACA, b'{"trades":5,"next_page_token":null}', FaultKind.TRANSIENT),
        ("alpaca", ALPACA, b'{"message":"please retry"}', FaultKind.TRANSIENT),
        ("binance", BINANCE, b"[]", None),
        ("binance", BINANCE, b"[5]", None),
        ("binance", BINANCE, b"5", FaultKind.TRANSIENT),
        ("binance", BINANCE, b'{"code":-1003,"msg":"Too many requests."}', FaultKind.RATE_LIMIT),
        ("binance", BINANCE, b'["\xff"]', FaultKind.TRANSIENT),
        ("binance", BINANCE, b"[" + b'["x"],' * 20_000, FaultKind.TRANSIENT),
        ("binance", BINANCE, b"[" + b'["x"],' * 20_000 + b"5]", None),
        ("binance", BINANCE, b"[" + b"5," * 40_000 + b"5]", None),
        ("binance", BINANCE, b'{"symbols":[],"timezone":"UTC"}', FaultKind.TRANSIENT),
        ("polygon", POLYGON, b'{"ticker":{"day":{}},"status":"OK"}', FaultKind.TRANSIENT),
        ("alpaca", ALPACA, b'{"symbol":"AAPL","latestTrade":{}}', FaultKind.TRANSIENT),
        ("alpaca", ALPACA, b'{"trades":{"AAPL":[' + b"5," * 40_000 + b'5]},"next_page_token":null}', None),
        ("polygon", POLYGON, b'{"results":[' + b"5," * 40_000 + b'5],"status":"OK"}', None),
    ],
)
def test_an_answer_is_a_page_or_says_why_it_is_none(
    venue: str, path: str, payload: bytes, kind: FaultKind | None
) -> None:
    exchange = load(venue)
    request = Request(path, Kind.TRADE, "AAPL")
    found = refusal_of(exchange(), request, Frame(venue, "c", 1, f"https://h{path}", 1, payload))
    assert (found and found.kind) is kind


LONG = b"x" * 80_000
NO_PAGES = {
    "a long error": b'{"error":{"detail":"' + LONG + b'"}}',
    "another member": b'{"items":[' + b'{"a":1},' * 20_000 + b'{"a":1}]}',
    "a word": b'"' + LONG + b'"',
    "deep": b'{"a":' * 900 + b"1" * 80_000 + b"}" * 900,
}


@pytest.mark.parametrize("payload", NO_PAGES.values(), ids=NO_PAGES)
@pytest.mark.parametrize("venue", sorted(name for name in names() if load(name).history))
def test_a_long_answer_that_is_no_page_is_asked_for_again(venue: str, payload: bytes) -> None:
    exchange = load(venue)
    parser = exchange()
    for kind in exchange.history:
        (first, *_) = parser.history_requests(kind, exchange.default_symbols[0], NS_PER_DAY, 2 * NS_PER_DAY)
        found = refusal_of(parser, first, Frame(venue, "c", 1, f"https://h{first.path}", 1, payload))
        assert found is not None, kind
        assert found.kind is FaultKind.TRANSIENT


def test_a_first_trade_that_cannot_be_told_is_no_end_of_the_history() -> None:
    parser = load("binance")()
    request = Request("/api/v3/aggTrades?symbol=BTCUSDT&startTime=5&limit=1", Kind.TRADE, "BTCUSDT")
    garbled = Frame("binance", "c", 1, f"https://h{request.path}", 1, b'[{"f":"x","T":5}]')
    with pytest.raises(VenueError, match="no aggregate tells the first trade"):
        parser.next_request(request, garbled)
    assert parser.next_request(request, msgspec.structs.replace(garbled, payload=b"[]")) is None


@pytest.mark.parametrize("url", [".evil.example/v3/trades", "@evil.example/v3", "https://host", "v3/trades"])
def test_a_next_page_is_a_path_and_cannot_become_a_host(url: str) -> None:
    with pytest.raises(VenueError, match="no path"):
        next_url(REQUEST, url)
