"""KuCoin: what its frames mean, beyond the fixtures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from etl.adapter.contract import Fault, FaultKind, KeepAlive, Request, Subscription, Ticket
from etl.adapter.paging import refusal_of
from etl.errors import VenueError
from etl.exchanges.kucoin import Kucoin
from etl.model.records import Bar, BarState, Book, Frame, Gap, Kind, Record
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.sequencing.join import Join

NOW_NS = 1_790_000_000 * NS_PER_S
SERVER = {"endpoint": "wss://ws-api-spot.kucoin.com/", "encrypt": True, "protocol": "websocket"}


def parsed(parser: Kucoin, said: Any, endpoint: str = "") -> list[object]:
    return [*parser.parse(Frame("kucoin", "c", 1, endpoint, NOW_NS, json.dumps(said).encode()))]


def bullet(**data: Any) -> bytes:
    return json.dumps({"code": "200000", "data": data}).encode()


def test_a_ticket_tells_the_token_the_server_and_the_pace_of_pings() -> None:
    parser = Kucoin()
    request = parser.ticket_request()
    assert (request.path, request.body, request.weight) == ("/api/v1/bullet-public", b"{}", 10)
    payload = bullet(
        token="2neA+/=", instanceServers=[SERVER | {"pingInterval": 25_000, "pingTimeout": 10_000}]
    )
    ping = '{"id":"0","type":"ping"}'
    assert parser.read_ticket(payload) == Ticket(
        "token=2neA%2B%2F%3D", "wss://ws-api-spot.kucoin.com/", KeepAlive(ping, 25.0)
    )
    frame = Frame(
        "kucoin", "c", 1, "https://api.kucoin.com/api/v1/bullet-public#body=%7B%7D", NOW_NS, payload
    )
    assert refusal_of(parser, request, frame) is None


@pytest.mark.parametrize(
    "payload",
    [bullet(token="t", instanceServers=[]), bullet(token=""), b'{"code":"400100","msg":"m"}', b"<html>"],
)
def test_what_is_no_ticket_is_refused(payload: bytes) -> None:
    with pytest.raises(VenueError, match="no ticket"):
        Kucoin().read_ticket(payload)


def test_each_stream_is_asked_for_in_a_message_of_its_own() -> None:
    asked = Subscription(("BTC-USDT", "ETH-USDT"), ("level2", "candles_5min"))
    said = '{"id":"%d","type":"subscribe","topic":"/market/%s","response":true}'
    assert Kucoin().open(asked, NOW_NS) == [
        said % (1, "level2:BTC-USDT"),
        said % (2, "level2:ETH-USDT"),
        said % (3, "candles:BTC-USDT_5min"),
        said % (4, "candles:ETH-USDT_5min"),
    ]


@pytest.mark.parametrize(
    ("code", "kind", "channels"),
    [
        (404, FaultKind.REQUEST, ("match",)),
        (509, FaultKind.SUBSCRIPTION_LIMIT, ("match",)),
        (401, FaultKind.AUTHENTICATION, ()),
        (500, FaultKind.TRANSIENT, ()),
    ],
)
def test_a_refusal_is_of_one_stream_or_of_the_connection(
    code: int, kind: FaultKind, channels: tuple[str, ...]
) -> None:
    parser = Kucoin()
    parser.open(Subscription(("BTC-USDT", "NOPE-USDT"), ("match",)), NOW_NS)
    outcomes = parsed(parser, {"id": "2", "type": "error", "code": code, "data": "said"})
    (fault,) = [one for one in outcomes if isinstance(one, Fault)]
    assert (fault.kind, fault.code, fault.reason, fault.channels) == (kind, str(code), "said", channels)
    assert "match of BTC-USDT" in parser.unanswered()


def test_the_newest_trades_are_an_answer_where_they_reach_back_and_no_other() -> None:
    parser = Kucoin()
    (request,) = parser.history_requests(Kind.TRADE, "BTC-USDT", 5 * NS_PER_S, 9 * NS_PER_S)
    assert request.path == "/api/v1/market/histories?symbol=BTC-USDT"

    def page(rows: int, first_ns: int) -> Frame:
        data = [{"sequence": str(n), "time": first_ns + n} for n in range(rows)]
        return Frame("kucoin", "c", 1, "", NOW_NS, json.dumps({"code": "200000", "data": data}).encode())

    assert parser.next_request(request, page(100, 5 * NS_PER_S)) is None
    assert parser.next_request(request, page(99, 6 * NS_PER_S)) is None, "all that there ever was"
    with pytest.raises(VenueError, match="newest 100"):
        parser.next_request(request, page(100, 5 * NS_PER_S + 1))


def test_bars_are_asked_for_in_spans_of_as_many_as_an_answer_holds() -> None:
    def spans(end_ns: int, channel: str = "") -> list[str]:
        requests = Kucoin().history_requests(Kind.BAR, "BTC-USDT", NS_PER_S, end_ns, channel=channel)
        return [request.path.partition("?")[2] for request in requests]

    assert spans(1_501 * NS_PER_MINUTE) == [
        "symbol=BTC-USDT&type=1min&startAt=0&endAt=89999",
        "symbol=BTC-USDT&type=1min&startAt=90000&endAt=90059",
    ]
    assert spans(90 * NS_PER_S, "candles_1month") == ["symbol=BTC-USDT&type=1month&startAt=1&endAt=89"]


def test_a_book_joins_its_snapshot_and_a_level_of_price_0_only_counts_on() -> None:
    parser, join = Kucoin(), Join()

    def change(first: int, last: int, *levels: tuple[str, str, str]) -> Book:
        data = {"symbol": "BTC-USDT", "sequenceStart": first, "sequenceEnd": last, "time": 1_790_000_000_000}
        data |= {"changes": {"asks": levels, "bids": []}}
        said = {
            "type": "message",
            "topic": "/market/level2:BTC-USDT",
            "subject": "trade.l2update",
            "data": data,
        }
        (book,) = parsed(parser, said)
        assert isinstance(book, Book)
        return book

    data = {"time": 1_790_000_000_001, "sequence": "16", "bids": [["1", "2"]], "asks": [["3", "4"]]}
    (snapshot,) = parsed(
        parser,
        {"code": "200000", "data": data},
        "https://api.kucoin.com/api/v1/market/orderbook/level2_100?symbol=BTC-USDT",
    )
    assert isinstance(snapshot, Book)
    passed = [
        join.take(one)
        for one in (change(15, 17, ("3", "5", "17")), snapshot, change(18, 18, ("0", "0", "18")))
    ]
    assert join.is_joined
    assert join.sequence == 18
    assert [one.sequence for books in passed for one in books][-3:] == [16, 17, 18]
    assert change(19, 19, ("0", "0", "19")).ask_prices == ()


def test_changes_that_are_missing_are_declared_by_their_range() -> None:
    parser, continuity = Kucoin(), Continuity(Kucoin, declares_start=False, window=Window(least_ns=0))
    gaps: list[Gap] = []
    for first, last in ((1, 4), (5, 5), (9, 10), (11, 11)):
        data = {
            "symbol": "BTC-USDT",
            "sequenceStart": first,
            "sequenceEnd": last,
            "changes": {"asks": [], "bids": []},
        }
        said = {
            "type": "message",
            "topic": "/market/level2:BTC-USDT",
            "subject": "trade.l2update",
            "data": data,
        }
        (record,) = parsed(parser, said)
        assert isinstance(record, Record)
        gaps += continuity.observe(record)
    (gap,) = [*gaps, *continuity.decide()]
    assert (gap.from_sequence, gap.to_sequence) == (6, 8)


def test_a_bar_is_closed_by_the_clock_or_else_by_the_next_one_and_once() -> None:
    parser = Kucoin()

    def candle(start_s: int, now_s: int) -> list[tuple[int, BarState]]:
        row = [str(start_s), "1", "1", "1", "1", "2", "2"]
        data = {"symbol": "BTC-USDT", "candles": row, "time": now_s * NS_PER_S}
        said = {
            "type": "message",
            "topic": "/market/candles:BTC-USDT_1min",
            "subject": "trade.candles.update",
        }
        bars = parsed(parser, said | {"data": data})
        assert [bar.frame_index for bar in bars if isinstance(bar, Bar)] == [*range(len(bars))]
        return [(bar.event_time_ns // NS_PER_S, bar.bar_state) for bar in bars if isinstance(bar, Bar)]

    assert candle(60, 119) == [(60, BarState.OPEN)]
    assert candle(120, 121) == [(120, BarState.OPEN), (60, BarState.CLOSED)]
    assert candle(120, 180) == [(120, BarState.CLOSED)]
    assert candle(180, 181) == [(180, BarState.OPEN)]


def test_a_snapshot_is_asked_for_where_the_book_is_subscribed_to() -> None:
    parser = Kucoin()
    assert parser.snapshot_requests(Subscription(("BTC-USDT",), ("match", "ticker"))) == ()
    assert parser.snapshot_requests(Subscription(("BTC-USDT",), ("level2",))) == [
        Request("/api/v1/market/orderbook/level2_100?symbol=BTC-USDT", Kind.BOOK, "BTC-USDT", 4)
    ]
