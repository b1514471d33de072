"""Kalshi: what its numbers, its two legs and its signature mean, from frames to gaps."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from etl.adapter.contract import ConnectionSequence, Credentials, Fault, FaultKind, Request, Subscription
from etl.adapter.series import Contract
from etl.errors import UsageError, VenueError
from etl.exchanges.kalshi import YES_PRICED, Kalshi
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.model.records import Book, Frame, Gap, GapKind, Kind, Record, Trade
from etl.model.times import NS_PER_S
from etl.sequencing.book import rebuild
from etl.settings import make
from etl.transports.memory import MemoryPublisher
from etl.wire import codec

NOW_NS = 1_789_581_934 * NS_PER_S
MARKETS = tuple(f"KXBTCD-26SEP1519-T{strike}.99" for strike in (113999, 114249, 114499, 114749))
URL = "wss://venue/trade-api/ws/v2"
SETTINGS = make()


class Worker:
    """A feed into memory, and one connection of it."""

    def __init__(self) -> None:
        self.publisher = MemoryPublisher()
        self.feed = Feed(SETTINGS, Kalshi, self.publisher)
        self.intake = self.connect("c1")
        self.faults: list[Any] = []

    def connect(self, name: str) -> Intake:
        subscription = Subscription(MARKETS, ("trade", "orderbook_delta"))
        self.intake = open_intake(self.feed, Kalshi(), name, URL + YES_PRICED, subscription=subscription)
        return self.intake

    def give(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.faults += self.intake.take_read([json.dumps(message).encode()], NOW_NS)

    def records(self) -> list[Record]:
        self.publisher.poll()
        return [codec.decode(one.value) for one in self.publisher.delivered[SETTINGS.topics.normalized]]

    def gaps(self, kind: GapKind) -> list[Gap]:
        return [one for one in self.records() if isinstance(one, Gap) and one.gap_kind is kind]


def snapshot(market: str, seq: int, **sides: Any) -> dict[str, Any]:
    msg = {"market_ticker": market, "yes_dollars_fp": [["0.3500", "10.00"]], **sides}
    return {"type": "orderbook_snapshot", "sid": 1, "seq": seq, "msg": msg}


def delta(market: str, seq: int, change: str = "1.00", side: str = "yes", **more: Any) -> dict[str, Any]:
    price = "0.3500" if side == "yes" else "0.5200"
    msg = {"market_ticker": market, "price_dollars": price, "delta_fp": change, "side": side}
    return {"type": "orderbook_delta", "sid": 1, "seq": seq, "msg": msg | more}


def trade(market: str, seq: int, **more: Any) -> dict[str, Any]:
    msg: dict[str, Any] = {
        "trade_id": f"t{seq}",
        "market_ticker": market,
        "yes_price_dollars": "0.9900",
        "count_fp": "1.00",
    }
    msg |= {"taker_book_side": "ask", "ts_ms": NOW_NS // 10**6}
    return {"type": "trade", "sid": 2, "seq": seq, "msg": msg | more}


def parsed(parser: Kalshi, *messages: Any, endpoint: str = URL) -> list[Any]:
    texts = [one if isinstance(one, str) else json.dumps(one) for one in messages]
    frames = [Frame("kalshi", "c", n, endpoint, NOW_NS, text.encode()) for n, text in enumerate(texts, 1)]
    return [outcome for frame in frames for outcome in parser.parse(frame)]


# numbers


def test_snapshots_and_changes_of_all_markets_of_a_subscription_share_its_numbers() -> None:
    worker = Worker()
    worker.give(*[snapshot(market, seq) for seq, market in enumerate(MARKETS, 1)], delta(MARKETS[2], 5))
    assert worker.gaps(GapKind.SEQUENCE) == []
    worker.give(delta(MARKETS[0], 7))
    gaps = worker.gaps(GapKind.SEQUENCE)
    declared = {(gap.symbol, gap.channel, gap.reason) for gap in gaps if not gap.to_time_ns}
    reason = "message 7 of sid 1 follows 5: 6-6 missing"
    assert declared == {(market, "orderbook_delta", reason) for market in MARKETS}
    assert worker.faults == [Fault(FaultKind.TRANSIENT, "connection_sequence", reason)]


@pytest.mark.parametrize(
    "control",
    [
        {"id": 124, "sid": 1, "seq": 2, "type": "ok", "msg": {"market_tickers": list(MARKETS)}},
        {"id": 124, "sid": 1, "seq": 2, "type": "unsubscribed"},
        {"id": 124, "sid": 1, "seq": 2, "type": "error", "msg": {"code": 6, "msg": "Already subscribed"}},
    ],
)
def test_what_answers_a_command_takes_a_number_too(control: dict[str, Any]) -> None:
    worker = Worker()
    worker.give(snapshot(MARKETS[0], 1), control, delta(MARKETS[0], 3))
    assert (worker.gaps(GapKind.SEQUENCE), worker.faults) == ([], [])


def test_a_break_of_trades_costs_no_book_and_no_connection() -> None:
    worker = Worker()
    worker.give(snapshot(MARKETS[0], 1), trade(MARKETS[0], 10), trade(MARKETS[1], 48))
    gaps = worker.gaps(GapKind.SEQUENCE)
    assert [(gap.symbol, gap.channel, gap.reason) for gap in gaps] == [
        (MARKETS[0], "trade", "message 48 of sid 2 follows 10: 11-47 missing")
    ]
    assert worker.faults == []


def test_another_connection_counts_from_one_without_an_alarm() -> None:
    worker = Worker()
    worker.give(trade(MARKETS[0], 900), trade(MARKETS[0], 901))
    worker.connect("c2")
    worker.give(trade(MARKETS[0], 1, trade_id="new"))
    assert [gap.gap_kind for gap in worker.records() if isinstance(gap, Gap)] == [GapKind.START]
    trades = [record.record_key for record in worker.records() if isinstance(record, Trade)]
    assert trades == ["t900", "t901", "new"]


def test_silence_is_never_stale_for_a_market_may_be_over() -> None:
    assert {channel.stale_after_s for channel in Kalshi.channels} == {0.0}


# books


def test_a_change_to_nothing_removes_the_level() -> None:
    worker = Worker()
    messages = snapshot(MARKETS[0], 1), delta(MARKETS[0], 2, "-4.00"), delta(MARKETS[0], 3, "-6.00")
    sizes = []
    worker.give(*messages)
    for step in rebuild(worker.records()):
        sizes.append(step.levels.bids())
    assert sizes == [[("0.3500", "10.00")], [("0.3500", "6.00")], []]


def test_a_change_below_nothing_is_a_gap_until_the_snapshot_that_is_asked_for() -> None:
    worker = Worker()
    worker.give(*[snapshot(market, seq) for seq, market in enumerate(MARKETS, 1)])
    worker.give(delta(MARKETS[1], 5, "-12.00"), delta(MARKETS[0], 6))
    (gap,) = worker.gaps(GapKind.JOIN)
    reason = "-12.00 of yes at 0.3500 would leave -2.00"
    assert (gap.symbol, gap.to_time_ns, gap.reason) == (MARKETS[1], 0, reason)
    assert worker.intake.snapshots_due_ns == {MARKETS[1]: NOW_NS}
    worker.give(snapshot(MARKETS[1], 7))
    assert [bool(gap.to_time_ns) for gap in worker.gaps(GapKind.JOIN)] == [False, True]
    steps = [step.levels.bids() for step in rebuild(worker.records()) if step.symbol == MARKETS[1]]
    assert steps[-1] == [("0.3500", "10.00")]
    assert worker.faults == []


def test_new_snapshots_are_asked_for_within_the_subscription() -> None:
    parser = Kalshi()
    wanted = Subscription((MARKETS[1],), ("orderbook_delta",))
    parser.open(Subscription(MARKETS, ("trade", "orderbook_delta")), NOW_NS)
    assert parser.resubscribe(wanted) == []
    parsed(parser, {"type": "subscribed", "id": 2, "msg": {"channel": "orderbook_delta", "sid": 7}})
    (asked,) = map(json.loads, parser.resubscribe(wanted))
    parameters = {"sids": [7], "market_tickers": [MARKETS[1]], "action": "get_snapshot"}
    assert asked == {"id": 3, "cmd": "update_subscription", "params": parameters}


def asks(outcomes: list[Any]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(one.ask_prices, one.ask_sizes) for one in outcomes if isinstance(one, Book)]


def test_a_bid_for_no_is_an_ask_in_either_leg_s_price() -> None:
    no_leg, yes_leg = (
        snapshot(MARKETS[0], 1, no_dollars_fp=[[price, "7.00"]]) for price in ("0.4800", "0.5200")
    )
    expected = [(("0.5200",), ("7.00",))]
    assert asks(parsed(Kalshi(), no_leg)) == expected
    assert asks(parsed(Kalshi(), yes_leg, endpoint=URL + YES_PRICED)) == expected
    command = {
        "id": 1,
        "cmd": "subscribe",
        "params": {"channels": ["orderbook_delta"], "use_yes_price": True},
    }
    assert asks(parsed(Kalshi(), command, yes_leg)) == expected  # a recording that holds what was sent
    live = Kalshi()
    (sent,) = live.open(Subscription(MARKETS, ("orderbook_delta",)), NOW_NS)
    assert json.loads(sent)["params"]["use_yes_price"] is True
    assert asks(parsed(live, yes_leg)) == expected
    assert live.connect_url("wss://venue", Subscription((), ())) == URL + YES_PRICED


def test_a_book_without_sides_is_empty_and_a_change_without_a_time_is_timed_by_its_receipt() -> None:
    empty = {"type": "orderbook_snapshot", "sid": 1, "msg": {"market_ticker": MARKETS[0]}}
    found = [one for one in parsed(Kalshi(), empty, delta(MARKETS[0], 1)) if isinstance(one, Book)]
    assert [(one.bid_prices, one.ask_prices, one.event_time_ns) for one in found] == [
        ((), (), 0),
        (("0.3500",), (), 0),
    ]


# the connection


def test_it_is_ready_with_the_last_channel_though_one_command_named_several() -> None:
    parser = Kalshi()
    parser.open(Subscription(MARKETS[:2], ("trade", "orderbook_delta")), NOW_NS)
    book, trades = (
        {"type": "subscribed", "id": 1, "msg": {"channel": name, "sid": sid}}
        for sid, name in enumerate(("orderbook_delta", "trade"), 1)
    )
    assert not any(isinstance(one, Fault) for one in parsed(parser, book))
    waiting = [f"orderbook_delta.{market}" for market in MARKETS[:2]]
    assert parser.unanswered() == ["trade", *waiting]
    faults = [one.kind for one in parsed(parser, trades, snapshot(MARKETS[0], 1)) if isinstance(one, Fault)]
    assert faults == [FaultKind.READY]
    assert parser.unanswered() == waiting[1:]  # subscribed, and as silent as a market that is over


def test_all_markets_are_asked_for_by_a_star() -> None:
    (sent,) = Kalshi().open(Subscription(("*",), ("trade",)), NOW_NS)
    assert json.loads(sent)["params"] == {"channels": ["trade"]}


def test_what_is_signed_is_time_method_and_path_without_the_query() -> None:
    key = rsa.generate_private_key(65_537, 1_024)
    parser = Kalshi(Credentials("id", _pem(key)))
    request = Request("/trade-api/v2/markets/trades?ticker=KXA", Kind.TRADE, "KXA")
    for headers, path in (
        (parser.handshake_headers(NOW_NS + 999_999), "/trade-api/ws/v2"),
        (parser.headers(request, NOW_NS), "/trade-api/v2/markets/trades"),
    ):
        assert (headers["KALSHI-ACCESS-KEY"], headers["KALSHI-ACCESS-TIMESTAMP"]) == ("id", "1789581934000")
        signed = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"])
        pss = padding.PSS(padding.MGF1(SHA256()), 32)
        key.public_key().verify(signed, f"1789581934000GET{path}".encode(), pss, SHA256())


def test_a_key_that_signs_nothing_is_one_line() -> None:
    other = _pem(ec.generate_private_key(ec.SECP256R1()))
    for secret, told in ((other, "none of RSA"), ("-----BEGIN PRIVATE KEY-----\nAA==", "no private key")):
        with pytest.raises(UsageError, match=f"^KALSHI_PRIVATE_KEY_PATH: .*{told}"):
            Kalshi(Credentials("id", secret)).handshake_headers(NOW_NS)


def _pem(key: Any) -> str:
    form, cipher = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, cipher).decode())


# history


def page(cursor: str, *rows: str, name: str = "trades") -> Frame:
    text = json.dumps({"cursor": cursor, name: [{"trade_id": row, "ticker": row} for row in rows]})
    return Frame("kalshi", "", 1, "", 0, text.encode())


def test_pages_go_on_by_cursor_until_it_is_empty() -> None:
    parser = Kalshi()
    recent, older = parser.history_requests(Kind.TRADE, "KXA-1", 5 * NS_PER_S + 1, 9 * NS_PER_S + 1)
    assert recent.path == "/trade-api/v2/markets/trades?ticker=KXA-1&min_ts=4&max_ts=11&limit=1000"
    assert older.path == "/trade-api/v2/historical/trades?ticker=KXA-1&min_ts=4&max_ts=11&limit=1000"
    second = parser.next_request(recent, page("abc", "t3", "t2"))
    assert second is not None
    assert second.path == f"{recent.path}&cursor=abc"
    assert parser.next_request(second, page("", "t1")) is None


@pytest.mark.parametrize("name", ["trades", "markets"])
def test_a_cursor_that_leads_back_to_the_first_page_ends_the_walk(name: str) -> None:
    parser = Kalshi()
    first = Request("/trade-api/v2/markets?limit=2", Kind.STATUS, "")
    second = parser.next_request(first, page("abc", "KXA", "KXB", name=name))
    assert second is not None
    with pytest.raises(VenueError, match="the cursor leads back to the first page"):
        parser.next_request(second, page("def", "KXA", "KXB", name=name))
    with pytest.raises(VenueError, match="no page"):
        parser.next_request(first, Frame("kalshi", "", 1, "", 0, b"<html>"))


def test_bars_are_asked_for_in_spans_of_as_many_as_an_answer_holds() -> None:
    day_ns = 86_400 * NS_PER_S
    paths = [one.path for one in Kalshi().history_requests(Kind.BAR, "KXA-1", day_ns, 9 * day_ns)]
    assert [path.partition("&start_ts=")[2] for path in paths] == [
        "86399&end_ts=686398",
        "686399&end_ts=777601",
    ]


# series


def changed(*known: str) -> list[dict[str, Any]]:
    parser, channels = Kalshi(), ("trade", "orderbook_delta")
    parser.open(Subscription(MARKETS[:1], channels), NOW_NS)
    acks = [
        {"type": "subscribed", "id": n, "msg": {"channel": name, "sid": n}} for n, name in enumerate(known, 1)
    ]
    parsed_by(parser, *acks)
    messages = parser.change(Subscription(MARKETS[1:2], channels), Subscription(MARKETS[:1], channels))
    return [json.loads(message) for message in messages]


def parsed_by(parser: Kalshi, *messages: Any) -> list[Any]:
    frames = [
        Frame("kalshi", "c", n, URL, NOW_NS, json.dumps(each).encode()) for n, each in enumerate(messages, 1)
    ]
    return [outcome for frame in frames for outcome in parser.parse(frame)]


def test_contracts_join_and_leave_the_subscriptions_that_are() -> None:
    add = {"market_tickers": [MARKETS[1]], "action": "add_markets"}
    drop = {"market_tickers": [MARKETS[0]], "action": "delete_markets"}
    yes = {"use_yes_price": True}
    assert [each["params"] for each in changed("trade", "orderbook_delta")] == [
        {"sids": [1]} | add,
        {"sids": [2]} | add | yes,
        {"sids": [1]} | drop,
        {"sids": [2]} | drop | yes,
    ]


def test_a_contract_that_joins_before_the_venue_has_answered_is_subscribed_to_and_none_is_asked_to_leave() -> (
    None
):
    assert [(each["cmd"], each["params"]) for each in changed()] == [
        ("subscribe", {"channels": ["trade"], "market_tickers": [MARKETS[1]]}),
        (
            "subscribe",
            {"channels": ["orderbook_delta"], "market_tickers": [MARKETS[1]], "use_yes_price": True},
        ),
    ]


def lifecycle(market: str, event: str, **more: Any) -> dict[str, Any]:
    msg = {"event_type": event, "market_ticker": market, **more}
    return {"type": "market_lifecycle_v2", "sid": 4, "seq": 1, "msg": msg}


def test_what_happens_to_markets_that_were_not_asked_for_is_left_aside() -> None:
    parser = Kalshi()
    parser.open(Subscription(("KXBTCD-*%0/1",), ("market_lifecycle_v2",)), NOW_NS)
    said = parsed_by(
        parser, lifecycle(MARKETS[0], "created", open_ts=1_700_000_000), lifecycle("KXSNOW-1", "created")
    )
    assert [type(each).__name__ for each in said if not isinstance(each, ConnectionSequence)] == [
        "Status", "Contract", "Ignored",
    ]  # fmt: skip
    assert said[2] == Contract(MARKETS[0], 1_700_000_000 * NS_PER_S)


def test_a_market_is_over_once_its_result_is_determined() -> None:
    events = ("created", "activated", "deactivated", "metadata_updated", "determined", "settled")
    said = parsed(Kalshi(), *[lifecycle(MARKETS[0], event) for event in events])
    told = [each.is_over for each in said if isinstance(each, Contract)]
    assert told == [False, False, True, True]


def test_the_list_of_a_series_is_asked_by_its_name_and_its_status() -> None:
    series = Kalshi.series
    assert series is not None
    paths = [request.path for request in series.requests("KXBTC15M-")]
    assert paths == [
        "/trade-api/v2/markets?series_ticker=KXBTC15M&limit=1000&status=open",
        "/trade-api/v2/markets?series_ticker=KXBTC15M&limit=1000&status=unopened",
    ]
    page = b'{"markets":[{"ticker":"KXBTC15M-1","open_time":"2026-09-15T23:00:00Z","status":"active"}],"cursor":""}'
    assert list(series.read(page)) == [Contract("KXBTC15M-1", 1_789_513_200 * NS_PER_S)]
    with pytest.raises(ValueError, match="markets"):
        list(series.read(b'{"error":"too many requests"}'))
    with pytest.raises(UsageError, match=r"KXBTC\*: a series is asked for as KXBTC-\*"):
        series.requests("KXBTC")
