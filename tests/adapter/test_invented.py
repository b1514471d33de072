"""What the contract knows beyond one socket, one protocol and one budget, by a venue that needs all of it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import (
    BookBroken,
    Channel,
    ConnectionSequence,
    Credentials,
    Fault,
    FaultKind,
    Outcome,
    Request,
    Subscription,
)
from etl.adapter.versions import parser_at
from etl.model.codes import REPLAYED
from etl.model.records import Book, BookAction, Frame, Kind, Record, Trade
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from tests.support.invented import (
    CHECKSUM_UNTIL_NS,
    OLD_UNTIL_NS,
    SYMBOL,
    Invented,
    InventedOld,
    checksum,
)

NOW_NS = 1_700_000_000 * NS_PER_S
TRADE = {
    "op": "trade",
    "sym": SYMBOL,
    "id": 5,
    "px": "1.5",
    "qty": "2",
    "ts": 1_700_000_000_000,
    "side": "buy",
}


def parsed(parser: Invented, message: Any, receive_time_ns: int = NOW_NS) -> list[Outcome]:
    return list(parser.parse(Frame("invented", "c", 1, "", receive_time_ns, json.dumps(message).encode())))


def test_a_subscription_is_cut_by_the_sockets_of_its_channels() -> None:
    wanted = Subscription((SYMBOL,), ("trades", "bars_5m", "book", "bars_1m"))
    assert Invented.sockets(wanted) == (
        Subscription((SYMBOL,), ("trades", "book")),
        Subscription((SYMBOL,), ("bars_5m", "bars_1m"), "business"),
    )
    one = Subscription((SYMBOL,), ("trades",))
    assert Invented.sockets(one) == (one,)


def test_a_parametric_channel_is_matched_with_its_own_facts() -> None:
    five = Invented.channel("bars_5m")
    assert five == msgspec.structs.replace(
        Invented.channels[2], name="bars_5m", interval_ns=5 * NS_PER_MINUTE
    )
    assert Invented.channel("bars_7x") is None
    assert Channel("x", Kind.BAR, Invented.channels[2].rule).family == "x"


def test_the_number_on_the_connection_comes_before_the_records_of_the_frame() -> None:
    number, record = parsed(Invented(), TRADE | {"n": 3, "sid": "a"})
    assert number == ConnectionSequence(3, "a")
    assert isinstance(record, Trade)
    assert [type(one) for one in parsed(Invented(), TRADE)] == [Trade]


def test_a_book_that_misses_its_checksum_is_told_beside_its_record_and_by_the_date() -> None:
    bids = [["1", "2"], ["1.5", "3"]]
    change = {"op": "book", "sym": SYMBOL, "id": 7, "ts": 1, "reset": True, "bids": bids, "asks": []}
    right = checksum([("1.5", "3"), ("1", "2")], [])
    parser = Invented()
    (record,) = parsed(parser, change | {"sum": right})
    assert isinstance(record, Book)
    assert (record.book_action, record.bid_prices) == (BookAction.SNAPSHOT, ("1", "1.5"))
    wrong = change | {"sum": right + 1}
    _, broken = parsed(parser, wrong)
    assert broken == BookBroken(SYMBOL, "book", f"checksum {right + 1}, ours is {right}")
    assert [type(one) for one in parsed(parser, wrong, CHECKSUM_UNTIL_NS)] == [Book]


def test_the_first_frame_of_a_connection_chooses_the_parser() -> None:
    assert parser_at(Invented, OLD_UNTIL_NS - 1) is InventedOld
    assert parser_at(Invented, OLD_UNTIL_NS) is Invented
    assert parser_at(InventedOld, 0) is InventedOld
    frame = Frame("invented", "c", 1, "", 1, b'["trade","AAABBB",5,"1.5","2",1590000000,"buy"]')
    (record,) = parser_at(Invented, 1_590_000_000 * NS_PER_S)().parse(frame)
    assert isinstance(record, Record)
    assert (record.event_time_ns, record.parser_version) == (1_590_000_000 * NS_PER_S, 1)


def test_the_clock_and_the_body_are_in_what_is_signed() -> None:
    parser = Invented(Credentials("k", "s"))
    assert parser.handshake_headers(NOW_NS)["X-Time"] == "1700000000000"
    (bars,) = parser.history_requests(Kind.BAR, SYMBOL, 0, NS_PER_S)
    (trades,) = parser.id_requests(Kind.TRADE, SYMBOL, 1, 2)
    other = msgspec.structs.replace(trades, body=trades.body + b" ")
    signatures = [
        parser.headers(request, now_ns)["X-Signature"]
        for request in (bars, trades, other)
        for now_ns in (NOW_NS, NOW_NS + NS_PER_MS)
    ]
    assert len(set(signatures)) == 6
    assert json.loads(parser.open(Subscription((SYMBOL,), ("book",)), NOW_NS)[0])["ts"] == 1_700_000_000_000


def test_a_page_by_post_goes_on_after_the_last_id() -> None:
    parser = Invented()
    (first,) = parser.history_requests(Kind.TRADE, SYMBOL, 0, 0, first_id=5)
    rows = [TRADE | {"id": number} for number in (5, 6)]
    frame = Frame("invented", "c", 1, "/trades", NOW_NS, json.dumps({"rows": rows}).encode())
    second = parser.next_request(first, frame)
    assert second == Request("/trades", Kind.TRADE, SYMBOL, 2, 0, b'{"sym":"AAABBB","from":7,"limit":2}')
    last = msgspec.structs.replace(frame, payload=json.dumps({"rows": rows[:1]}).encode())
    assert parser.next_request(second, last) is None
    assert not list(parser.history_requests(Kind.TRADE, SYMBOL, 0, 1)), "no id, no way in"


def test_a_repeated_trade_is_a_record_with_a_flag() -> None:
    now, before = parsed(Invented(), TRADE), parsed(Invented(), TRADE | {"replay": True})
    assert before == [msgspec.structs.replace(now[0], flags=(REPLAYED,))]


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"op": "subscribed", "ch": "trades"}, FaultKind.READY),
        ({"op": "refused", "ch": "trades", "why": "no"}, FaultKind.REQUEST),
    ],
)
def test_an_answer_to_a_subscription_is_told(message: Any, kind: FaultKind) -> None:
    faults = [one for one in parsed(Invented(), message) if isinstance(one, Fault)]
    assert [fault.kind for fault in faults] == [kind]
