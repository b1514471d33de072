"""Coinbase Advanced Trade: numbers over the connection, aliases, a first snapshot of megabytes. What single frames give
is in the fixtures."""

from __future__ import annotations

import json
from typing import Any

from etl.adapter.contract import ConnectionSequence, Rejected, Subscription, shipped_instruments
from etl.exchanges.coinbase_advanced import CoinbaseAdvanced
from etl.model.records import Book, BookAction, Frame, Record, Side, Source, Trade
from etl.sequencing.book import JoinedBook
from etl.sequencing.connection import ConnectionFollower
from etl.transports.frames import FrameJoiner, Piece, raw_messages

T0 = 1_790_000_000_000_000_000
LEVELS = 44_067
"""Of BTC-USD's book, as it was measured."""


def frame(channel: str, number: int, *events: Any) -> Frame:
    message = {
        "channel": channel, "client_id": "", "timestamp": "2026-04-07T14:30:01.456789Z", "sequence_num": number,
        "events": events,
    }  # fmt: skip
    payload = json.dumps(message, separators=(",", ":")).encode()
    return Frame("coinbase_advanced", "c", number, "", T0, payload, Source.STREAM)


def book(kind: str, *levels: tuple[str, str, str], product: str = "BTC-USD") -> dict[str, Any]:
    updates = [
        {
            "side": side,
            "event_time": "2026-04-07T14:30:01.123456Z",
            "price_level": price,
            "new_quantity": size,
        }
        for side, price, size in levels
    ]
    return {"type": kind, "product_id": product, "updates": updates}


def acknowledged(number: int) -> Frame:
    return frame("subscriptions", number, {"subscriptions": {"level2": ["BTC-USD"]}})


def beat(number: int) -> Frame:
    said = {"current_time": "2026-04-07 14:30:10.0 +0000 UTC m=+12.3", "heartbeat_counter": number}
    return frame("heartbeats", number, said)


def breaks(*frames: Frame) -> list[str]:
    parser, follower = CoinbaseAdvanced(), ConnectionFollower()
    found = [one for each in frames for one in parser.parse(each) if isinstance(one, ConnectionSequence)]
    assert len(found) == len(frames)
    return [reason for one in found if (reason := follower.follow(one))]


def test_acknowledgements_and_heartbeats_are_counted_too_and_a_number_that_is_missing_is_a_break() -> None:
    change, whole = book("update", ("bid", "1", "2")), book("snapshot", ("bid", "1", "2"))
    assert breaks(frame("l2_data", 5, change), acknowledged(6), beat(7), frame("l2_data", 8, change)) == []
    assert breaks(beat(8), frame("l2_data", 10, change)) == ["message 10 follows 8: 9-9 missing"]
    assert breaks(beat(10), frame("l2_data", 12, whole)) == ["message 12 follows 10: 11-11 missing"]
    assert breaks(beat(0), beat(1)) == []


def test_what_no_parser_knows_is_counted_all_the_same_and_an_error_is_not() -> None:
    number, rejected = CoinbaseAdvanced().parse(frame("mystery", 7))
    assert number == ConnectionSequence(7)
    assert isinstance(rejected, Rejected)
    refused = Frame(
        "coinbase_advanced", "c", 1, "", T0, b'{"type":"error","message":"authentication failure"}'
    )
    assert not any(isinstance(one, ConnectionSequence) for one in CoinbaseAdvanced().parse(refused))


def test_a_batch_of_trades_is_all_of_them_each_from_the_takers_side() -> None:
    def row(trade_id: str, side: str, product: str = "BTC-USD") -> dict[str, str]:
        time = "2026-04-07T14:30:02.789012Z"
        return {
            "trade_id": trade_id,
            "product_id": product,
            "price": "1",
            "size": "2",
            "side": side,
            "time": time,
        }

    rows = [row("8", "BUY"), row("7", "SELL"), row("3", "BUY", "ETH-USD")]
    _, *trades = CoinbaseAdvanced().parse(frame("market_trades", 1, {"type": "update", "trades": rows}))
    assert [
        (one.symbol, one.trade_id, one.side, one.frame_index) for one in trades if isinstance(one, Trade)
    ] == [
        ("BTC-USD", "8", Side.SELL, 0),
        ("BTC-USD", "7", Side.BUY, 1),
        ("ETH-USD", "3", Side.SELL, 2),
    ]


def test_a_snapshot_in_any_order_gives_the_best_first_and_a_delete_of_an_unknown_price_changes_nothing() -> (
    None
):
    parser, joined = CoinbaseAdvanced(), JoinedBook()
    whole = book(
        "snapshot", ("offer", "101", "1"), ("bid", "9", "5"), ("offer", "99.5", "2"), ("bid", "98", "3")
    )
    (_, snapshot), (_, change) = (
        parser.parse(frame("l2_data", 1, whole)),
        parser.parse(frame("l2_data", 2, book("update", ("bid", "50", "0"), ("offer", "101", "0.00")))),
    )
    assert isinstance(snapshot, Book)
    assert isinstance(change, Book)
    assert (snapshot.bid_prices, snapshot.ask_prices) == (("98", "9"), ("99.5", "101"))
    assert [record for one in (snapshot, change) for record in joined.take(one)] == [snapshot, change]
    assert joined.levels.bids() == [("98", "3"), ("9", "5")]
    assert joined.levels.asks() == [("99.5", "2")]


def test_a_product_that_is_an_alias_is_listed_as_the_one_whose_data_come() -> None:
    listed = shipped_instruments(CoinbaseAdvanced)
    assert listed.direct("BTC-USDC") == "BTC-USD"
    assert listed.direct("USDT-USDC") == "USDT-USDC"
    assert listed.symbol("BTC-USDC") == listed.symbol("BTC-USD") == "BTC-USD"
    assert "BTC-USDC" not in listed.by_symbol()
    (_, record) = CoinbaseAdvanced().parse(frame("l2_data", 1, book("update", ("bid", "1", "2"))))
    assert isinstance(record, Record)
    assert (record.symbol, record.flags) == ("BTC-USD", ())


def test_a_first_snapshot_of_megabytes_is_whole_and_lies_on_the_raw_topic_in_one_message() -> None:
    side = LEVELS // 2
    offers = [("offer", f"{68_901 + n}.00", "0.12345678") for n in range(side)]
    bids = [("bid", f"{68_900 - n}.00", "0.12345678") for n in range(side)]
    large = frame("l2_data", 1, book("snapshot", *offers, *bids))
    assert len(large.payload) > 4_800_000
    (_, record) = CoinbaseAdvanced().parse(large)
    assert isinstance(record, Book)
    assert record.book_action is BookAction.SNAPSHOT
    assert (len(record.bid_prices), len(record.ask_prices)) == (side, side)
    ((value, headers),) = raw_messages(large, 1 << 20)
    encoding = dict(headers)["encoding"]
    piece = Piece(Frame("coinbase_advanced", "c", 1, "", T0, value), encoding.decode())
    joined = FrameJoiner().add(piece)
    assert joined is not None
    assert joined.payload == large.payload


def test_heartbeats_are_subscribed_to_first_and_a_book_begins_anew_by_its_own_product() -> None:
    parser, wanted = CoinbaseAdvanced(), Subscription(("BTC-USD",), ("level2",))
    assert [json.loads(text) for text in parser.open(wanted, T0)] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "level2"},
    ]
    assert parser.unanswered() == ["level2.BTC-USD"]
    assert [json.loads(text) for text in parser.resubscribe(wanted)] == [
        {"type": action, "product_ids": ["BTC-USD"], "channel": "level2"}
        for action in ("unsubscribe", "subscribe")
    ]
