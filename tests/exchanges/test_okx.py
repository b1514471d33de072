"""OKX: what the fact sheet's frames mean, beyond the fixtures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import (
    BookBroken,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    Outcome,
    Request,
    SequenceRule,
    Subscription,
)
from etl.adapter.keepalive import parse_of
from etl.adapter.paging import refusal_of
from etl.errors import VenueError
from etl.exchanges import load
from etl.exchanges.okx import ARGS_MAX, Okx, OkxFutures, OkxOption, OkxSwap
from etl.model.records import AggTrade, Book, Frame, Gap, GapKind, Kind, Record, Source, Trade
from etl.model.times import NS_PER_MS, NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.book import JoinedBook
from etl.sequencing.continuity import Continuity
from tests.support import fixtures

NOW_NS = 1_787_000_000 * NS_PER_S
IN_2022_NS = 1_652_459_225 * NS_PER_S
Levels = Sequence[tuple[str, str, str, str]]
BID = [("100", "1", "0", "1")]


def given(parser: Exchange, message: Any, time_ns: int = NOW_NS, endpoint: str = "") -> Sequence[Outcome]:
    return parser.parse(Frame("okx", "c", 1, endpoint, time_ns, msgspec.json.encode(message)))


def pushed(channel: str, *rows: Any, action: str = "", symbol: str = "BTC-USDT") -> dict[str, Any]:
    head = {"arg": {"channel": channel, "instId": symbol}}
    return head | ({"action": action} if action else {}) | {"data": rows}


def book(action: str, previous: int, sequence: int, bids: Levels = (), **more: Any) -> dict[str, Any]:
    ids = {"seqId": sequence, "prevSeqId": previous, "checksum": 0, "ts": str(1_787_000_000_000 + sequence)}
    return pushed("books", {"asks": [], "bids": bids} | ids | more, action=action)


def aggregate(last: int, count: int) -> dict[str, Any]:
    row = {
        "instId": "BTC-USDT",
        "tradeId": str(last),
        "px": "1",
        "sz": "2",
        "side": "buy",
        "count": str(count),
    }
    return pushed("trades", row | {"source": "0", "ts": str(1_787_000_000_000 + last % 1_000)})


def gaps(records: Sequence[Outcome]) -> list[Gap]:
    continuity = Continuity(Okx, declares_start=False, window=Window(least_ns=0))
    found = [gap for one in records if isinstance(one, Record) for gap in continuity.observe(one)]
    return [gap for gap in [*found, *continuity.decide()] if isinstance(gap, Gap)]


def test_pong_is_left_aside_by_name_and_never_decoded() -> None:
    parser = Okx()
    assert parse_of(parser)(Frame("okx", "c", 1, "", NOW_NS, b"pong")) == (Ignored("pong"),)
    assert parser.keepalive is not None
    assert (parser.keepalive.text, parser.keepalive.every_s) == ("ping", 25.0)


def test_every_checksum_of_the_recorded_book_holds_and_one_that_does_not_is_told_once() -> None:
    path = fixtures.FOLDER / "okx.recorded.jsonl"
    lines = [line for line in fixtures.read(path) if '"books"' in line.frame and '"data"' in line.frame]
    parser = Okx()
    checksums = [msgspec.json.decode(line.frame)["data"][0]["checksum"] for line in lines]
    assert len(checksums) == 6
    assert 0 not in checksums
    for line in lines:
        (record,) = parser.parse(fixtures.frame_of(line, "okx", 1))
        assert isinstance(record, Book)
    for line, is_told in ((lines[2], True), (lines[3], False), (lines[0], False), (lines[1], False)):
        outcomes = parser.parse(fixtures.frame_of(line, "okx", 1))
        assert [type(one) for one in outcomes] == ([Book, BookBroken] if is_told else [Book])


def test_a_checksum_of_0_and_any_after_june_2026_is_held_against_nothing() -> None:
    parser = Okx()
    assert len(given(parser, book("snapshot", -1, 10, BID, checksum=0), IN_2022_NS)) == 1
    assert len(given(parser, book("update", 10, 11, BID, checksum=5), IN_2022_NS)) == 2
    assert len(given(parser, book("snapshot", -1, 10, BID, checksum=5))) == 1


def test_the_four_cases_of_a_change() -> None:
    """Goes on, says that nothing changed, begins anew after a maintenance, does not go on."""
    parser, joined = Okx(), JoinedBook()
    frames = [
        given(parser, book("snapshot", -1, 10, BID)),
        given(parser, book("update", 10, 15, BID)),
        given(parser, book("update", 15, 15)),
        given(parser, book("update", 15, 3, BID, ts="1787000001000")),
        given(parser, book("update", 3, 5, BID, ts="1787000001100")),
    ]
    assert frames[2] == [Ignored("keep_alive")]
    records = [one for frame in frames for one in frame if isinstance(one, Book)]
    (reset,) = gaps(records)
    assert (reset.gap_kind, reset.from_sequence, reset.to_sequence) == (GapKind.RESET, 16, None)
    assert [one.sequence for record in records for one in joined.take(record)] == [10, 15, 3, 5]
    (lost,) = given(parser, book("update", 6, 9, BID, ts="1787000001200"))
    assert [(gap.gap_kind, gap.from_sequence, gap.to_sequence) for gap in gaps([*records, lost])] == [
        (GapKind.RESET, 16, None),
        (GapKind.SEQUENCE, 6, 6),
    ]
    assert isinstance(lost, Book)
    assert list(joined.take(lost)) == []


def test_a_snapshot_needs_no_back_pointer() -> None:
    message = book("snapshot", -1, 10, BID)
    del message["data"][0]["prevSeqId"]
    (record,) = given(Okx(), message)
    assert isinstance(record, Book)
    assert (record.record_key, record.previous_sequence) == ("books/s/10", None)


def test_a_book_that_begins_with_a_change_is_asked_for_by_request_and_any_other_by_subscription() -> None:
    parser = Okx()
    wanted = Subscription(("BTC-USDT",), ("books",), "public")
    assert parser.snapshot_requests(wanted) == []
    outcomes = given(parser, book("update", 10, 11, BID))
    assert [type(one) for one in outcomes] == [Book, BookBroken]
    assert [type(one) for one in given(parser, book("update", 11, 12, BID))] == [Book]
    (request,) = parser.snapshot_requests(wanted)
    assert request.path == "/api/v5/market/books?instId=BTC-USDT&sz=400"
    assert parser.resubscribe(wanted) == ()
    given(parser, book("snapshot", -1, 20, BID))
    assert parser.snapshot_requests(wanted) == []
    arg = '[{"channel":"books","instId":"BTC-USDT"}]'
    assert parser.resubscribe(wanted) == [
        f'{{"op":"unsubscribe","args":{arg}}}',
        f'{{"op":"subscribe","args":{arg}}}',
    ]


def test_an_aggregate_covers_its_count_of_ids() -> None:
    parser = Okx()
    (before,) = given(parser, aggregate(2_832_749_635, 1))
    (whole,) = given(parser, aggregate(2_832_749_645, 10))
    assert isinstance(whole, AggTrade)
    assert (whole.first_trade_id, whole.last_trade_id) == ("2832749636", "2832749645")
    assert gaps([before, whole]) == []
    (short,) = given(parser, aggregate(2_832_749_645, 9))
    (gap,) = gaps([before, short])
    assert (gap.from_sequence, gap.to_sequence) == (2_832_749_636, 2_832_749_636)


def test_what_one_socket_refuses_costs_neither_the_streams_beside_it_nor_the_watch_on_them() -> None:
    parser = Okx()
    parser.open(Subscription(("BTC-USDT", "FOO-BAR"), ("books",)), NOW_NS)
    assert parser.unanswered() == ["books of BTC-USDT", "books of FOO-BAR"]
    said = {
        "event": "error",
        "code": "60018",
        "msg": "Wrong URL or channel:books,instId:FOO-BAR doesn't exist.",
    }
    refused = Fault(FaultKind.REQUEST, "60018", said["msg"], channels=("books",), symbols=("FOO-BAR",))
    assert given(parser, said) == [Ignored("error"), refused]
    assert parser.unanswered() == ["books of BTC-USDT"]
    granted = {"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}}
    ready = Fault(FaultKind.READY, "subscribed", "")
    assert given(parser, granted) == [Ignored("subscription"), ready]
    assert given(parser, granted) == [Ignored("subscription")]


def test_where_all_is_refused_the_connection_ends() -> None:
    parser = Okx()
    parser.open(Subscription(("FOO-BAR",), ("books",)), NOW_NS)
    said = {
        "event": "error",
        "code": "60018",
        "msg": "Wrong URL or channel:books,instId:FOO-BAR doesn't exist.",
    }
    assert given(parser, said) == [Ignored("error"), Fault(FaultKind.REQUEST, "60018", said["msg"])]


def test_a_subscription_of_many_streams_is_several_requests() -> None:
    symbols = tuple(f"A{number}-USDT" for number in range(ARGS_MAX + 1))
    texts = Okx().open(Subscription(symbols, ("books",)), NOW_NS)
    assert [len(msgspec.json.decode(text)["args"]) for text in texts] == [ARGS_MAX, 1]
    assert all(len(text) < 65_536 for text in texts)


def test_liquidations_are_subscribed_to_once_by_type() -> None:
    (text,) = OkxSwap().open(
        Subscription(("BTC-USDT-SWAP", "ETH-USDT-SWAP"), ("liquidation-orders",)), NOW_NS
    )
    assert msgspec.json.decode(text)["args"] == [{"channel": "liquidation-orders", "instType": "SWAP"}]


def test_each_socket_has_its_address() -> None:
    wanted = Subscription(("BTC-USDT",), ("books", "trades-all", "bbo-tbt", "candle5m"))
    found = {one.socket: (one.channels, Okx().connect_url("wss://h", one)) for one in Okx.sockets(wanted)}
    assert found == {
        "public": (("books", "bbo-tbt"), "wss://h/ws/v5/public"),
        "business": (("trades-all", "candle5m"), "wss://h/ws/v5/business"),
    }


@pytest.mark.parametrize(
    ("channel", "interval", "rule"),
    [
        ("candle1s", "1s", SequenceRule.INTERVAL),
        ("candle1H", "1h", SequenceRule.INTERVAL),
        ("candle1Dutc", "1d", SequenceRule.INTERVAL),
        ("candle1Wutc", "1w", SequenceRule.INTERVAL),
        ("candle1D", "1D", SequenceRule.NONE),
        ("candle6H", "6H", SequenceRule.NONE),
        ("candle1M", "1M", SequenceRule.NONE),
        ("candle1Mutc", "1Mutc", SequenceRule.NONE),
    ],
)
def test_bars_of_a_day_that_begins_in_hong_kong_are_no_bars_of_ours(
    channel: str, interval: str, rule: SequenceRule
) -> None:
    row = ["1787000000000", "1", "2", "1", "2", "3", "4", "5", "1"]
    (bar,) = given(Okx(), pushed(channel, row))
    declared = Okx.channel(channel)
    assert declared is not None
    assert (getattr(bar, "interval", None), declared.rule) == (interval, rule)


def test_a_dollar_margined_perpetual_is_another_than_the_coin_margined_one() -> None:
    names = OkxSwap().instruments
    assert names.symbol("BTC-USD_UM-SWAP") == "BTC-USD_UM-PERP"
    assert names.symbol("BTC-USD-SWAP") == "BTC-USD-PERP"
    assert OkxFutures().instruments.symbol("BTC-USD-261225") == "BTC-USD-20261225"
    assert OkxOption().instruments.symbol("BTC-USD-261225-100000-C") == "BTC-USD-20261225-100000-C"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("50011", FaultKind.RATE_LIMIT),
        ("50013", FaultKind.TRANSIENT),
        ("50111", FaultKind.AUTHENTICATION),
        ("50030", FaultKind.ENTITLEMENT),
        ("51001", FaultKind.REQUEST),
    ],
)
def test_a_refusal_with_status_200_is_no_page_and_no_end(code: str, kind: FaultKind) -> None:
    parser = Okx()
    (request,) = parser.history_requests(Kind.TRADE, "BTC-USDT", 0, NOW_NS)
    payload = msgspec.json.encode({"code": code, "msg": "no", "data": []})
    frame = Frame("okx", "c", 1, request.path, NOW_NS, payload, Source.BACKFILL)
    assert refusal_of(parser, request, frame) == Fault(
        kind, code, "no", 2.0 if kind is FaultKind.RATE_LIMIT else 0.0
    )
    with pytest.raises(VenueError, match="no page"):
        parser.next_request(request, frame)


def test_trades_are_paged_back_by_time_and_then_by_id() -> None:
    parser = Okx()
    (first,) = parser.history_requests(Kind.TRADE, "BTC-USDT", NOW_NS, NOW_NS + 60 * NS_PER_S)
    assert first.path == (
        "/api/v5/market/history-trades?instId=BTC-USDT&type=2&after=1787000060000&limit=100"
    )

    def after(request: Request, last_ms: int) -> Request | None:
        rows = [{"tradeId": str(900 - n), "ts": str(last_ms)} for n in range(100)]
        payload = msgspec.json.encode({"code": "0", "msg": "", "data": rows})
        return parser.next_request(request, Frame("okx", "c", 1, request.path, NOW_NS, payload))

    second = after(first, 1_787_000_030_000)
    assert second is not None
    assert second.path.endswith("?instId=BTC-USDT&type=1&after=801&limit=100")
    assert after(second, NOW_NS // NS_PER_MS - 1) is None


def test_ids_are_asked_for_between_bounds_that_lie_outside_and_with_the_one_behind_them() -> None:
    paths = [one.path for one in Okx().id_requests(Kind.TRADE, "BTC-USDT", 100, 250)]
    head = "/api/v5/market/history-trades?instId=BTC-USDT&type=1"
    assert paths == [f"{head}&after=200&before=99&limit=100", f"{head}&after=252&before=198&limit=100"]


def test_ids_are_asked_for_until_the_lowest_came_however_short_a_page_is() -> None:
    parser = Okx()
    (request,) = parser.id_requests(Kind.TRADE, "BTC-USDT", 100, 110)

    def after(*ids: int) -> Request | None:
        rows = [{"tradeId": str(number), "ts": "1787000000000"} for number in ids]
        payload = msgspec.json.encode({"code": "0", "msg": "", "data": rows})
        return parser.next_request(request, Frame("okx", "c", 1, request.path, NOW_NS, payload))

    cut = after(111, 110, 109)
    assert cut is not None
    assert cut.path.endswith("&type=1&after=109&before=99&limit=100")
    assert after(101, 100) is None
    assert after() is None


def test_bars_are_asked_for_by_the_channels_own_bar() -> None:
    (request,) = Okx().history_requests(
        Kind.BAR, "BTC-USDT", NOW_NS, NOW_NS + NS_PER_S, channel="candle1Dutc"
    )
    assert request.path == (
        "/api/v5/market/history-candles?instId=BTC-USDT&bar=1Dutc&after=1787000001000&before=1786999999999&limit=100"
    )


def test_options_are_listed_by_family() -> None:
    head = "/api/v5/public/instruments?instType=OPTION&instFamily="
    assert [one.path for one in OkxOption.listing_requests()] == [f"{head}BTC-USD", f"{head}ETH-USD"]
    with pytest.raises(ValueError, match="code 50011"):
        Okx.read_instruments(b'{"code":"50011","msg":"Too Many Requests","data":[]}')


@pytest.mark.parametrize("name", ["okx", "okx_swap", "okx_futures", "okx_option"])
def test_stream_and_history_name_a_trade_alike(name: str) -> None:
    parser, symbol = load(name)(), load(name).default_symbols[0]
    row = {
        "instId": symbol,
        "tradeId": "7",
        "px": "1",
        "sz": "2",
        "side": "sell",
        "source": "1",
        "ts": "1787000000000",
    }
    path = f"/api/v5/market/history-trades?instId={symbol}&type=1"
    (live,) = given(parser, pushed("trades-all", row, symbol=symbol))
    (past,) = given(parser, {"code": "0", "msg": "", "data": [row]}, endpoint=path)
    assert isinstance(live, Trade)
    assert live == past
    assert live.conditions == ("rpi",)
