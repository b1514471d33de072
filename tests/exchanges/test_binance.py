"""What Binance is asked for, and what it says of itself. What its frames give is in the fixtures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from etl.adapter.build import utc_day
from etl.adapter.contract import Credentials, Fault, FaultKind, Request, Subscription
from etl.adapter.fields import FieldFault, ms_or_us_ns
from etl.errors import VenueError
from etl.exchanges.binance import Binance
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.model.instruments import UNKNOWN_SYMBOL, Instruments
from etl.model.records import Frame, Kind, Source, Trade
from tests.support.serving import Client, receive_bytes, simulator

MS = 1_000_000
T0 = 1_723_161_600_000 * MS
REQUEST = Request("/api/v3/depth", Kind.BOOK, "BTCUSDT")


def answer(rows: Any, request: Request) -> Frame:
    return Frame("binance", "c", 1, request.path, T0, json.dumps(rows).encode())


def trade_row(number: int, time_ms: int) -> dict[str, Any]:
    return {"id": number, "price": "1.0", "qty": "2.0", "time": time_ms, "isBuyerMaker": True}


def agg_row(number: int, first: int, last: int, time_ms: int) -> dict[str, Any]:
    return {"a": number, "p": "1.0", "q": "2.0", "f": first, "l": last, "T": time_ms, "m": True, "M": True}


def test_one_connection_asks_for_every_symbol_and_channel_in_its_address() -> None:
    subscription = Subscription(("BTCUSDT", "ETHUSDT"), ("trade", "depth@100ms"))
    assert Binance().connect_url("ws://127.0.0.1:1/binance", subscription) == (
        "ws://127.0.0.1:1/binance/stream?streams=btcusdt@trade/btcusdt@depth@100ms/ethusdt@trade/ethusdt@depth@100ms"
    )
    assert Binance().open(subscription, T0) == ()


def test_each_group_of_futures_streams_has_an_address_of_its_own() -> None:
    wanted = Subscription(("BTCUSDT",), ("trade", "kline_5m", "depth20@100ms", "forceOrder"))
    public, market = BinanceUsdm.sockets(wanted)
    assert BinanceUsdm().connect_url("wss://h", public) == (
        "wss://h/public/stream?streams=btcusdt@trade/btcusdt@depth20@100ms"
    )
    assert BinanceUsdm().connect_url("wss://h", market) == (
        "wss://h/market/stream?streams=btcusdt@trade/btcusdt@kline_5m/btcusdt@forceOrder"
    ), "of trades nobody is sure"
    trades = Subscription(("BTCUSDT",), ("trade",))
    assert BinanceUsdm.sockets(trades) == (replace(trades, socket="public"),)
    assert Binance.sockets(wanted) == (wanted,)


def test_books_need_a_snapshot_and_other_channels_none() -> None:
    (request,) = Binance().snapshot_requests(Subscription(("BTCUSDT",), ("trade", "depth@100ms")))
    assert request == Request("/api/v3/depth?symbol=BTCUSDT&limit=1000", Kind.BOOK, "BTCUSDT", 50)
    (request,) = BinanceUsdm().snapshot_requests(Subscription(("BTCUSDT",), ("depth",)))
    assert request == Request("/fapi/v1/depth?symbol=BTCUSDT&limit=1000", Kind.BOOK, "BTCUSDT", 20)
    assert not Binance().snapshot_requests(Subscription(("BTCUSDT",), ("trade", "bookTicker")))


def test_missing_ids_are_asked_for_exactly_and_by_the_page() -> None:
    assert [request.path for request in Binance().id_requests(Kind.TRADE, "BTCUSDT", 7, 9)] == [
        "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=7&limit=3"
    ]
    assert [request.path for request in BinanceUsdm().id_requests(Kind.TRADE, "BTCUSDT", 1, 1_001)] == [
        "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=1&limit=500",
        "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=501&limit=500",
        "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=1001&limit=1",
    ]
    assert [request.path for request in Binance().id_requests(Kind.AGG_TRADE, "BTCUSDT", 5, 5)] == [
        "/api/v3/aggTrades?symbol=BTCUSDT&fromId=5&limit=1"
    ]
    assert not list(Binance().id_requests(Kind.BOOK, "BTCUSDT", 5, 5))


def test_trades_of_a_time_begin_with_the_aggregate_that_knows_their_first_id() -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.TRADE, "BTCUSDT", T0, T0 + 60_000 * MS)
    assert request.path == "/api/v3/aggTrades?symbol=BTCUSDT&startTime=1723161600000&limit=1"
    by_id = parser.next_request(request, answer([agg_row(9, 500, 510, 1723161600005)], request))
    assert by_id is not None
    assert by_id.path == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=500&limit=1000"
    assert by_id.end_ns == T0 + 60_000 * MS
    assert parser.next_request(request, answer([], request)) is None
    assert parser.next_request(request, answer([agg_row(9, 500, 510, 1723161660000)], request)) is None


def test_pages_go_on_by_id_until_one_is_short_or_passes_the_end() -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.TRADE, "BTCUSDT", T0, T0 + 60_000 * MS, first_id=500)
    full = [trade_row(500 + index, 1723161600000 + index) for index in range(1_000)]
    following = parser.next_request(request, answer(full, request))
    assert following is not None
    assert following.path == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1500&limit=1000"
    assert parser.next_request(following, answer(full[:999], following)) is None
    late = [trade_row(500 + index, 1723161660000 + index) for index in range(1_000)]
    assert parser.next_request(request, answer(late, request)) is None


def test_aggregates_begin_with_a_time_and_go_on_by_id() -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.AGG_TRADE, "BTCUSDT", T0, 0)
    rows = [agg_row(index, index, index, 1723161600000) for index in range(1_000)]
    following = parser.next_request(request, answer(rows, request))
    assert following is not None
    assert following.path == "/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&fromId=1000"


def test_bars_go_on_by_time() -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.BAR, "BTCUSDT", T0, T0 + 86_400_000 * MS)
    assert request.path == (
        "/api/v3/klines?symbol=BTCUSDT&interval=1m&startTime=1723161600000&endTime=1723247999999&limit=1000"
    )
    rows = [
        [
            1723161600000 + index * 60_000,
            "1",
            "1",
            "1",
            "1",
            "1",
            1723161659999 + index * 60_000,
            "1",
            1,
            "1",
            "1",
        ]
        for index in range(1_000)
    ]
    following = parser.next_request(request, answer(rows, request))
    assert following is not None
    assert "startTime=1723221600000" in following.path
    (request,) = parser.history_requests(Kind.BAR, "BTCUSDT", T0, T0 + MS, channel="kline_1s")
    assert "interval=1s" in request.path


@pytest.mark.parametrize("payload", [b"[]", b"[5]", b'[{"id":"x"}]'])
def test_a_page_that_is_short_ends_the_paging(payload: bytes) -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.TRADE, "BTCUSDT", T0, 0, first_id=1)
    assert parser.next_request(request, Frame("binance", "c", 1, request.path, T0, payload)) is None


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"code":-1121,"msg":"Invalid symbol."}'])
def test_what_is_no_page_ends_no_paging(payload: bytes) -> None:
    parser = Binance()
    (request,) = parser.history_requests(Kind.TRADE, "BTCUSDT", T0, 0, first_id=1)
    with pytest.raises(VenueError, match="an answer without rows"):
        parser.next_request(request, Frame("binance", "c", 1, request.path, T0, payload))


def listed(**members: Any) -> list[tuple[str, str]]:
    entry = {"symbol": "NEWUSDT", "baseAsset": "NEW", "quoteAsset": "USDT", "filters": []} | members
    payload = json.dumps({"symbols": [entry]}).encode()
    return [(one.venue_symbol, one.symbol) for one in BinanceUsdm.read_instruments(payload)]


@pytest.mark.parametrize(
    ("contract_type", "delivery_ms", "name"),
    [
        ("", 4_133_404_800_000, None),
        ("", 0, None),
        ("SOMETHING_NEW", 1_798_156_800_000, None),
        ("CURRENT_QUARTER", 0, None),
        ("CURRENT_QUARTER", 4_133_404_800_000, None),
        ("PERPETUAL", 4_133_404_800_000, "NEW-USDT-PERP"),
        ("PERPETUAL DELIVERING", 1_798_156_800_000, "NEW-USDT-PERP"),
        ("TRADIFI_PERPETUAL", 4_133_404_800_000, "NEW-USDT-PERP"),
        ("NEXT_QUARTER", 1_798_156_800_000, "NEW-USDT-20261225"),
        ("CURRENT_QUARTER DELIVERING", 1_798_156_800_000, "NEW-USDT-20261225"),
    ],
)
def test_a_contract_is_named_by_its_type_and_never_guessed(
    contract_type: str, delivery_ms: int, name: str | None
) -> None:
    """While it is being listed its type is empty: its records keep the venue's name, with a flag."""
    for status in ("PENDING_TRADING", "TRADING", "CANCEL_ONLY"):
        found = listed(contractType=contract_type, deliveryDate=delivery_ms, status=status)
        assert found == ([("NEWUSDT", name)] if name else [])


def test_a_contract_without_a_name_yet_keeps_the_venues_with_a_flag() -> None:
    parser = BinanceUsdm(instruments=Instruments())
    text = '{"stream":"newusdt@trade","data":{"e":"trade","E":1,"T":1,"s":"NEWUSDT","t":1,"p":"1","q":"1","m":true}}'
    (trade,) = parser.parse(Frame("binance_usdm", "c", 1, "", T0, text.encode()))
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.flags) == ("NEWUSDT", (UNKNOWN_SYMBOL,))


def test_a_key_travels_in_a_header_only() -> None:
    parser = Binance(Credentials("secret-key"))
    assert parser.headers(REQUEST, T0) == {"X-MBX-APIKEY": "secret-key"}
    assert "secret-key" not in repr(parser.credentials)
    assert Binance().headers(REQUEST, T0) == {}


@pytest.mark.parametrize(
    ("code", "message", "kind", "wait_s"),
    [
        (
            -1003,
            f"IP banned until {T0 // MS + 10_000}. Please use WebSocket Streams.",
            FaultKind.BANNED,
            10.0,
        ),
        (-1003, "Too many requests.", FaultKind.RATE_LIMIT, 0.0),
        (-1001, "Internal error.", FaultKind.TRANSIENT, 0.0),
        (-2015, "Invalid API-key, IP, or permissions for action.", FaultKind.AUTHENTICATION, 0.0),
        (-1121, "Invalid symbol.", FaultKind.ENTITLEMENT, 0.0),
    ],
)
def test_an_error_of_the_venue_is_a_fault(code: int, message: str, kind: FaultKind, wait_s: float) -> None:
    payload = json.dumps({"code": code, "msg": message}).encode()
    _, fault = Binance().parse(Frame("binance", "c", 1, "/api/v3/depth", T0, payload))
    assert fault == Fault(kind, str(code), message, wait_s)


@pytest.mark.parametrize(
    ("time", "ns"),
    [(1723161255342, 1723161255342 * MS), (1723161255342123, 1723161255342123_000), (1, MS)],
)
def test_a_time_says_its_unit_by_its_length(time: int, ns: int) -> None:
    assert ms_or_us_ns(time) == ns


@pytest.mark.parametrize("time", [0, -1, 10**13, 10_382_000_000_000, 10**15 - 1, 2**63 // 1_000 + 1, 10**18])
def test_a_time_of_no_unit_is_refused(time: int) -> None:
    with pytest.raises(FieldFault):
        ms_or_us_ns(time)


def test_key_times_are_whole_milliseconds_or_the_day_of_receipt() -> None:
    assert utc_day(T0 + 5) == T0 - T0 % (86_400 * 10**9)


def test_the_same_trade_from_stream_history_and_archive_has_one_identity() -> None:
    parser = Binance()
    stream = (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1735689600001,"s":"BTCUSDT","t":7,"p":"1.0","q":"2.0",'
        b'"T":1735689600000,"m":true,"M":true}}'
    )
    row = json.dumps([trade_row(7, 1735689600000)]).encode()
    line = b"7,1.0,2.0,2.0,1735689600000123,True,True\n"
    file = "archive:spot/daily/trades/BTCUSDT-trades-2025-01-01.csv#lines=1-1;sha256=0"
    frames = [
        Frame("binance", "a", 1, "wss://stream.binance.com:9443/stream?streams=btcusdt@trade", T0, stream),
        Frame("binance", "b", 1, "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=7", T0, row),
        Frame("binance", "c", 1, file, T0, line),
    ]
    records = [parser.parse(frame)[0] for frame in frames]
    assert all(isinstance(record, Trade) for record in records)
    identities = {(r.exchange, r.symbol, r.kind, r.record_key, r.key_time_ns) for r in records}  # type: ignore[union-attr]
    assert identities == {("binance", "BTC-USDT", Kind.TRADE, "7", 1735689600000 * MS)}
    assert {(r.last_price, r.volume, r.side, r.channel) for r in records} == {("1.0", "2.0", 2, "trade")}  # type: ignore[union-attr]


def test_history_by_time_and_by_id_gives_each_trade_of_the_stream_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {
        name: msgspec.structs.replace(endpoint, rows_max=10) for name, endpoint in Binance.endpoints.items()
    }
    monkeypatch.setattr(Binance, "endpoints", short)
    live, by_time, by_id = asyncio.run(_stream_and_history(tmp_path))
    ids = [trade.sequence or 0 for trade in live]
    assert len(ids) > 30
    assert [trade.sequence for trade in by_time][: len(ids)] == ids
    assert [trade.sequence for trade in by_id] == ids[3:-3]
    facts = {_fact(trade) for trade in live}
    assert {_fact(trade) for trade in by_id} < facts <= {_fact(trade) for trade in by_time}


def _fact(trade: Trade) -> tuple[Any, ...]:
    return (trade.symbol, trade.record_key, trade.key_time_ns, trade.last_price, trade.volume, trade.side)


async def _stream_and_history(state_path: Path) -> tuple[list[Trade], list[Trade], list[Trade]]:
    async with simulator(state_path, "binance") as client:
        socket = await client.log_in("binance")
        live = _trades((frame, "") for frame in await receive_bytes(socket, 200))
        start_ns, end_ns = live[0].event_time_ns, live[-1].event_time_ns + 1
        ids = [trade.sequence or 0 for trade in live]
        parser, pages = Binance(), []
        request: Request | None = next(parser.history_requests(Kind.TRADE, "BTCUSDT", start_ns, end_ns))
        while request is not None:
            pages.append(await _page(client, request))
            frame = Frame("binance", "h", len(pages), request.path, T0, pages[-1][0])
            request = parser.next_request(request, frame)
        exact = [
            await _page(client, request)
            for request in parser.id_requests(Kind.TRADE, "BTCUSDT", ids[3], ids[-4])
        ]
        return live, _trades(pages), _trades(exact)


async def _page(client: Client, request: Request) -> tuple[bytes, str]:
    async with client.http.get(f"http://{client.address}/binance{request.path}") as got:
        return await got.read(), request.path


def _trades(frames: Iterable[tuple[bytes, str]]) -> list[Trade]:
    parser = Binance()
    outcomes = [
        outcome
        for number, (payload, endpoint) in enumerate(frames, 1)
        for outcome in parser.parse(Frame("binance", "c", number, endpoint, T0, payload, Source.STREAM))
    ]
    return [outcome for outcome in outcomes if isinstance(outcome, Trade)]
