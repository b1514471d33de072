"""The facts of the venue that no fixture line can show: what a sequence of messages does, and what is asked for."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from etl.adapter.contract import (
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    KeepAlive,
    Outcome,
    Reply,
    Request,
    SequenceRule,
    Subscription,
)
from etl.exchanges import load
from etl.model.records import BookAction, Frame, GapKind, Kind, Quote, Record, Trade
from etl.model.times import NS_PER_MS
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity

T = 1_789_999_999_000
OPTION = "BTC-25DEC26-100000-C-USDT"
FEEDS = ("bybit", "bybit_linear", "bybit_inverse", "bybit_option")


def parse(parser: Exchange, message: Any, endpoint: str = "") -> list[Outcome]:
    payload = message if isinstance(message, bytes) else msgspec.json.encode(message)
    return list(parser.parse(Frame(parser.name, "c", 1, endpoint, (T + 1_000) * NS_PER_MS, payload)))


def records(parser: Exchange, *messages: Any) -> list[Record]:
    return [one for message in messages for one in parse(parser, message) if isinstance(one, Record)]


def book(topic: str, update: int, type_: str, bids: Any = (), asks: Any = (), ms: int = 0) -> dict[str, Any]:
    symbol, time_ms = topic.rpartition(".")[2], T + (ms or update)
    data = {"s": symbol, "b": bids, "a": asks, "u": update, "seq": update * 157}
    return {"topic": topic, "type": type_, "ts": time_ms + 2, "data": data, "cts": time_ms}


def gaps(feed: str, *messages: Any) -> list[tuple[GapKind, int | None, int | None]]:
    continuity, parser = Continuity(load(feed), declares_start=False, window=Window(least_ns=0)), load(feed)()
    found = [gap for record in records(parser, *messages) for gap in continuity.observe(record)]
    return [(gap.gap_kind, gap.from_sequence, gap.to_sequence) for gap in [*found, *continuity.decide()]]


# subscribing


def ack(success: bool, number: str = "", reason: str = "") -> dict[str, Any]:
    return {"success": success, "ret_msg": reason, "conn_id": "c", "req_id": number, "op": "subscribe"}


def resp(failed: list[str], granted: list[str]) -> dict[str, Any]:
    topics = {"failTopics": failed, "successTopics": granted}
    return {"success": True, "conn_id": "c", "data": topics, "type": "COMMAND_RESP"}


@pytest.mark.parametrize(
    ("feed", "answer", "kind"),
    [
        ("bybit_linear", ack(True), FaultKind.READY),
        ("bybit", ack(True, reason="subscribe"), FaultKind.READY),
        ("bybit_option", resp([], ["orderbook.100.BTC-6JAN23-18000-C"]), FaultKind.READY),
        ("bybit_option", resp(["x"], []), FaultKind.REQUEST),
        ("bybit", ack(False, reason="Invalid topic: [x]"), FaultKind.REQUEST),
        ("bybit", ack(False, reason="10429: too many"), FaultKind.RATE_LIMIT),
    ],
)
def test_each_market_acknowledges_in_a_form_of_its_own(
    feed: str, answer: dict[str, Any], kind: FaultKind
) -> None:
    ignored, fault = parse(load(feed)(), answer)
    assert ignored == Ignored("subscription_reply")
    assert isinstance(fault, Fault)
    assert fault.kind is kind


def test_topics_go_in_requests_of_ten_and_all_must_be_acknowledged() -> None:
    parser = load("bybit_linear")()
    books = tuple(f"orderbook.{depth}" for depth in (1, 25, 50, 200, 500, 1000))
    sent = parser.open(Subscription(("BTCUSDT", "ETHUSDT"), books), 1)
    assert [len(msgspec.json.decode(text)["args"]) for text in sent] == [10, 2]
    assert parse(parser, ack(True, "2")) == [Ignored("subscription_reply")]
    assert len(parser.unanswered()) == 10
    assert parse(parser, ack(True, "1"))[1] == Fault(FaultKind.READY, "subscribe", "")
    assert parser.unanswered() == []
    assert len(parser.resubscribe(Subscription(("BTCUSDT",), ("orderbook.50",)))) == 2
    assert parse(parser, ack(True, "4")) == [Ignored("subscription_reply")], "ready is told once"


def test_what_is_refused_with_others_is_asked_for_by_itself() -> None:
    parser = load("bybit")()
    parser.open(Subscription(("BTCUSDT", "NOSUCH"), ("publicTrade",)), 1)
    _, *again = parse(parser, ack(False, "1", "error:handler not found,topic:publicTrade.NOSUCH"))
    assert [isinstance(one, Reply) for one in again] == [True, True]
    parse(parser, ack(True, "2"))
    _, refused, ready = parse(parser, ack(False, "3", "error:handler not found,topic:publicTrade.NOSUCH"))
    assert isinstance(refused, Fault)
    assert (refused.kind, refused.channels, refused.symbols) == (
        FaultKind.REQUEST, ("publicTrade",), ("NOSUCH",),
    )  # fmt: skip
    assert ready == Fault(FaultKind.READY, "subscribe", "")


def test_options_trade_by_coin_and_a_partial_refusal_names_its_contract() -> None:
    parser = load("bybit_option")()
    gone = "BTC-1JAN20-1-C"
    (text,) = parser.open(Subscription((OPTION, gone), ("publicTrade", "orderbook.100")), 1)
    topics = ["publicTrade.BTC", f"orderbook.100.{OPTION}", f"orderbook.100.{gone}"]
    assert msgspec.json.decode(text)["args"] == topics
    _, refused, ready = parse(parser, resp(topics[2:], topics[:2]))
    assert isinstance(refused, Fault)
    assert (refused.channels, refused.symbols) == (("orderbook.100",), (gone,))
    assert isinstance(ready, Fault)
    assert ready.kind is FaultKind.READY


def test_the_first_snapshot_may_come_before_the_acknowledgement() -> None:
    parser = load("bybit")()
    parser.open(Subscription(("BTCUSDT",), ("orderbook.50",)), 1)
    (snapshot,) = records(parser, book("orderbook.50.BTCUSDT", 7, "snapshot"))
    assert (snapshot.sequence, snapshot.record_key) == (7, "orderbook.50/s/7")


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize(
    "answer", [{"success": True, "ret_msg": "pong", "op": "ping"}, {"args": ["1672916271846"], "op": "pong"}]
)
def test_both_answers_to_a_ping_are_one(feed: str, answer: dict[str, Any]) -> None:
    assert parse(load(feed)(), answer) == [Ignored("pong")]
    assert load(feed).keepalive == KeepAlive('{"op":"ping"}', 20.0)


# books


def test_a_missing_update_is_a_gap_and_a_snapshot_goes_on() -> None:
    topic = "orderbook.50.BTCUSDT"
    sent = [book(topic, 9, "snapshot"), *(book(topic, update, "delta") for update in (10, 11, 13))]
    later = [book(topic, 20, "snapshot"), book(topic, 21, "delta")]
    found = gaps("bybit_linear", *sent, *later)
    assert found == [(GapKind.SEQUENCE, 12, 12), (GapKind.SEQUENCE, 14, 20)]


@pytest.mark.parametrize("type_", ["snapshot", "delta"])
def test_update_1_is_the_whole_book_of_a_service_that_was_restarted(type_: str) -> None:
    topic = "orderbook.50.BTCUSDT"
    before = [book(topic, 177_400_506, "snapshot", ms=1), book(topic, 177_400_507, "delta", ms=2)]
    after = [book(topic, 1, type_, ms=3), book(topic, 2, "delta", ms=4), book(topic, 3, "delta", ms=5)]
    assert gaps("bybit", *before, *after) == [(GapKind.RESET, 177_400_508, None)]
    (whole,) = records(load("bybit")(), after[0])
    assert getattr(whole, "book_action", None) is BookAction.SNAPSHOT


def test_a_quote_that_is_told_again_has_its_identity_and_its_time() -> None:
    topic, sides = "orderbook.1.BTCUSDT", ([["1", "2"]], [["3", "4"]])
    again = book(topic, 5, "snapshot", *sides, ms=3_005)
    del again["cts"]
    first, second = records(load("bybit")(), book(topic, 5, "snapshot", *sides), again)
    assert (first.record_key, first.key_time_ns) == (second.record_key, second.key_time_ns)
    assert gaps("bybit", book(topic, 5, "snapshot"), again, book(topic, 9, "snapshot")) == []


def test_quotes_of_changes_keep_the_side_that_is_not_told() -> None:
    """As until 2025-03-20."""
    topic = "orderbook.1.BTCUSDT"
    first = book(topic, 100, "snapshot", [["27994.60", "0.5"]], [["27995.00", "2"]])
    moved = book(topic, 101, "delta", [["27994.60", "0"], ["27991.70", "0.777"]])
    gone = book(topic, 102, "delta", [], [["27995.00", "0"]])
    found = [one for one in records(load("bybit")(), first, moved, gone) if isinstance(one, Quote)]
    assert [(one.bid, one.bid_size, one.ask, one.ask_size) for one in found] == [
        ("27994.60", "0.5", "27995.00", "2"),
        ("27991.70", "0.777", "27995.00", "2"),
        ("27991.70", "0.777", None, None),
    ]


def test_each_depth_is_a_book_of_its_own() -> None:
    linear = load("bybit_linear")
    facts = [linear.channel(f"orderbook.{depth}") for depth in (50, 200, 1000)]
    assert [(one.family, one.depth, one.rule) for one in facts if one] == [
        ("orderbook.50", 50, SequenceRule.CONTIGUOUS),
        ("orderbook.200", 200, SequenceRule.CONTIGUOUS),
        ("orderbook.1000", 1000, SequenceRule.CONTIGUOUS),
    ]
    unknown = ("orderbook.51", "orderbook.full", "kline.7", "kline", "mystery")
    assert not any(linear.channel(name) for name in unknown)
    assert load("bybit").channel("liquidation") is None
    assert load("bybit_option").channel("kline.1") is None


@pytest.mark.parametrize(
    ("name", "interval_s", "rule"),
    [("kline.240", 14_400, "interval"), ("kline.W", 604_800, "interval"), ("kline.M", 0, "none")],
)
def test_bars_of_every_length(name: str, interval_s: int, rule: str) -> None:
    channel = load("bybit_inverse").channel(name)
    assert channel is not None
    assert (channel.interval_ns, channel.rule.value) == (interval_s * 1_000_000_000, rule)


# trades and requests


def test_of_one_symbol_in_two_markets_the_feed_tells_which() -> None:
    row = {"T": T, "s": "BTCUSDT", "S": "Buy", "v": "1", "p": "2", "i": "7", "BT": False}
    message = {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": T, "data": [row]}
    assert [records(load(feed)(), message)[0].symbol for feed in FEEDS[:2]] == ["BTC-USDT", "BTC-USDT-PERP"]


def test_the_answer_and_the_stream_tell_one_identity() -> None:
    uuid = "4c7b6bdc-b4a3-5716-9c7b-bbe01dc7072f"
    row = {
        "T": T,
        "s": "BTCUSDT",
        "S": "Sell",
        "v": "1",
        "p": "2",
        "i": uuid,
        "BT": True,
        "RPI": True,
        "seq": 9,
    }
    told = {"execId": uuid, "symbol": "BTCUSDT", "price": "2", "size": "1", "side": "Sell", "time": str(T),
            "isBlockTrade": True, "isRPITrade": True, "seq": "9"}  # fmt: skip
    endpoint = "https://api.bybit.com/v5/market/recent-trade?category=linear&symbol=BTCUSDT&limit=1000"
    answer = {"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [told]}}
    (live,) = records(
        load("bybit_linear")(), {"topic": "publicTrade.BTCUSDT", "type": "snapshot", "ts": T, "data": [row]}
    )
    (past,) = parse(load("bybit_linear")(), answer, endpoint)
    assert isinstance(live, Trade)
    assert isinstance(past, Trade)
    assert past == msgspec.structs.replace(live, publish_time_ns=0)
    assert (live.trade_id, live.sequence, live.conditions) == (uuid, 9, ("block", "rpi"))


def test_bars_are_asked_for_from_the_newest_to_the_oldest() -> None:
    parser = load("bybit_linear")()
    begin, end = 1_670_608_740_000 * NS_PER_MS, 1_670_608_860_000 * NS_PER_MS
    (first,) = parser.history_requests(Kind.BAR, "BTCUSDT", begin, end, channel="kline.5")
    assert first == Request(
        "/v5/market/kline?category=linear&symbol=BTCUSDT&interval=5&start=1670608740000&end=1670608859999&limit=1000",
        Kind.BAR, "BTCUSDT", 1, end, start_ns=begin,
    )  # fmt: skip
    rows = [[str(1_670_608_800_000 - 60_000 * n), *"123456"] for n in range(1_000)]
    page = msgspec.json.encode({"retCode": 0, "result": {"list": rows}})
    request = msgspec.structs.replace(first, start_ns=0)
    following = parser.next_request(request, Frame("bybit_linear", "c", 1, "", 1, page))
    assert following is not None
    assert f"end={1_670_608_800_000 - 60_000 * 999 - 1}&" in following.path
    assert parser.next_request(first, Frame("bybit_linear", "c", 1, "", 1, page)) is None


def test_the_list_of_instruments_has_pages_and_options_are_listed_by_coin() -> None:
    (first,) = load("bybit_linear").listing_requests()
    listed = {"retCode": 0, "result": {"category": "linear", "list": [], "nextPageCursor": "page%3D2"}}
    frame = Frame("bybit_linear", "c", 1, "", 1, msgspec.json.encode(listed))
    following = load("bybit_linear")().next_request(first, frame)
    assert following is not None
    assert following.path.endswith("category=linear&limit=1000&cursor=page%253D2")
    assert [request.path.rpartition("=")[2] for request in load("bybit_option").listing_requests()] == [
        "BTC", "ETH", "SOL",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind", "wait_s"),
    [
        (10006, FaultKind.RATE_LIMIT, 0.0), (10000, FaultKind.TRANSIENT, 0.0), (10008, FaultKind.BANNED, 600.0),
        (10009, FaultKind.ENTITLEMENT, 0.0), (10003, FaultKind.AUTHENTICATION, 0.0),
        (10001, FaultKind.REQUEST, 0.0), (-2015, FaultKind.AUTHENTICATION, 0.0),
    ],
)  # fmt: skip
def test_a_refusal_comes_with_status_200(code: int, kind: FaultKind, wait_s: float) -> None:
    answer = {"retCode": code, "retMsg": "no", "result": {}}
    assert parse(load("bybit")(), answer) == [
        Ignored("error_reply"), Fault(kind, str(code), "no", wait_s),
    ]  # fmt: skip
