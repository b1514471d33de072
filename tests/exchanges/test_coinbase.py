"""Coinbase Exchange: what is asked for, what is missing, and the recording as a whole. What single frames give is in
the fixtures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.contract import Behind, Fault, FaultKind, Ignored, Subscription
from etl.exchanges.coinbase import Coinbase
from etl.model.records import Book, Frame, Gap, GapKind, GapState, Kind, Quote, Record, Side, Source, Trade
from etl.model.times import NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.book import JoinedBook
from etl.sequencing.continuity import Continuity
from etl.simulator.recording import frames

T0 = 1_790_000_000_000_000_000
RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "coinbase_exchange.jsonl.gz"


def match(trade_id: int, tag: str = "match", **members: Any) -> dict[str, Any]:
    return {
        "type": tag, "trade_id": trade_id, "side": "sell", "size": "0.5", "price": "61837.63", "product_id": "BTC-USD",
        "sequence": 7 * trade_id, "time": f"2026-11-21T06:24:35.{trade_id:06d}Z",
    } | members  # fmt: skip


def read(
    parser: Coinbase, message: Any, number: int = 1, endpoint: str = "", source: Source = Source.STREAM
) -> Any:
    frame = Frame("coinbase", "c", number, endpoint, T0, json.dumps(message).encode(), source)
    return parser.parse(frame)


def test_a_seller_who_waited_was_taken_by_a_buyer_and_the_ticker_says_so_from_the_other_side() -> None:
    parser = Coinbase()
    (trade,) = read(parser, match(1, side="sell"))
    assert trade.side is Side.BUY
    (other,) = read(parser, match(2, side="buy"))
    assert other.side is Side.SELL
    (row,) = read(parser, [match(1, side="sell")], 3, "https://x/products/BTC-USD/trades?limit=1")
    assert (row.side, row.record_key, row.key_time_ns) == (Side.BUY, trade.record_key, trade.key_time_ns)


def test_a_trade_that_is_missing_is_a_gap_of_its_id_which_a_page_from_the_newest_back_closes() -> None:
    parser, continuity = Coinbase(), Continuity(Coinbase, declares_start=False, window=Window(least_ns=0))
    stream = [match(10, "last_match"), match(11), match(12), match(15), match(16)]
    gaps = [
        gap for number, one in enumerate(stream) for gap in continuity.observe(read(parser, one, number)[0])
    ]
    (gap,) = [*gaps, *continuity.decide()]
    assert (gap.gap_kind, gap.gap_state) == (GapKind.SEQUENCE, GapState.OPEN)
    assert (gap.from_sequence, gap.to_sequence) == (13, 14)
    (request,) = parser.id_requests(Kind.TRADE, "BTC-USD", 13, 14)
    assert request.path == "/products/BTC-USD/trades?limit=2&after=15"
    page = read(parser, [match(14), match(13)], 1, f"https://x{request.path}", Source.REPAIR)
    closed = [state for trade in page for state in continuity.observe(trade)]
    assert [(one.record_key, one.gap_state) for one in closed] == [(gap.record_key, GapState.REPAIRED)]


def test_a_heartbeat_that_is_ahead_for_longer_than_two_seconds_tells_a_trade_that_never_came_and_once() -> (
    None
):
    parser = Coinbase()

    def beat(last_trade_id: int, after_s: float, product: str = "BTC-USD") -> list[Behind]:
        message = {"type": "heartbeat", "sequence": 90, "last_trade_id": last_trade_id, "product_id": product}
        payload, at_ns = json.dumps(message).encode(), T0 + int(after_s * NS_PER_S)
        outcomes = parser.parse(Frame("coinbase", "c", 1, "", at_ns, payload))
        assert outcomes[0] == Ignored("heartbeat")
        return [one for one in outcomes if isinstance(one, Behind)]

    assert beat(20, 0) == []  # no trade has come yet to measure it by
    read(parser, match(18))
    assert [beat(20, 1), beat(20, 2), beat(20, 3)] == [[], [], []]
    reason = "trade 20 has gone out, and 18 is the last that came"
    assert beat(20, 4) == [Behind("BTC-USD", "matches", reason)]
    assert [beat(20, 5), beat(0, 6), beat(20, 30, "ETH-USD")] == [[], [], []]
    read(parser, match(21))
    assert [beat(21, 40), beat(22, 41), beat(21, 42), beat(22, 43), beat(22, 44)] == [[], [], [], [], []]


def test_a_span_is_asked_for_from_the_newest_trade_back_until_a_page_lies_before_it() -> None:
    parser = Coinbase()
    start_ns = read(parser, match(500_000))[0].event_time_ns
    (first,) = parser.history_requests(Kind.TRADE, "BTC-USD", start_ns, start_ns + 1_000)
    assert first.path == "/products/BTC-USD/trades?limit=1000"

    def page(newest: int) -> Frame:
        rows = [match(trade_id) for trade_id in range(newest, newest - 1_000, -1)]
        return Frame("coinbase", "c", 1, "", T0, json.dumps(rows).encode())

    following = parser.next_request(first, page(501_500))
    assert following is not None
    assert following.path == "/products/BTC-USD/trades?limit=1000&after=500501"
    assert parser.next_request(following, page(500_500)) is None


def test_it_is_ready_once_an_acknowledgement_lists_all_and_until_then_tells_what_is_missing() -> None:
    parser = Coinbase()
    parser.open(Subscription(("BTC-USD", "ETH-USD"), ("level2_batch",)), T0)
    assert parser.unanswered() == ["level2_batch.BTC-USD", "level2_batch.ETH-USD"]
    acknowledged: dict[str, Any] = {
        "type": "subscriptions",
        "channels": [{"name": "level2_batch", "product_ids": ["BTC-USD"]}],
    }
    assert not any(isinstance(one, Fault) for one in read(parser, acknowledged))
    assert parser.unanswered() == ["level2_batch.ETH-USD"]
    acknowledged["channels"][0]["product_ids"].append("ETH-USD")
    assert [one.kind for one in read(parser, acknowledged) if isinstance(one, Fault)] == [FaultKind.READY]
    assert not any(isinstance(one, Fault) for one in read(parser, acknowledged))


def test_a_book_begins_anew_by_leaving_its_channel_and_coming_back() -> None:
    said = Coinbase().resubscribe(Subscription(("BTC-USD",), ("level2_batch",)))
    assert [json.loads(one) for one in map(str, said)] == [
        {"type": action, "product_ids": ["BTC-USD"], "channels": ["level2_batch"]}
        for action in ("unsubscribe", "subscribe")
    ]


@pytest.mark.skipif(not RECORDING.exists(), reason="no recordings beside the repository")
def test_the_recording_has_no_gap_no_crossed_book_and_each_ticker_is_the_other_side_of_its_match() -> None:
    parser, continuity = Coinbase(), Continuity(Coinbase, declares_start=False, window=Window(least_ns=0))
    books: dict[str, JoinedBook] = {}
    makers, takers = dict[tuple[str, str], Side](), dict[tuple[str, str], str]()
    counts, gaps = Counter[str](), list[Gap]()
    for number, payload in enumerate(frames(RECORDING), 1):
        for outcome in parser.parse(Frame("coinbase", "c", number, "", 1_618_677_900_000_000_000, payload)):
            counts[type(outcome).__name__] += 1
            if not isinstance(outcome, Record):
                continue
            gaps += continuity.observe(outcome)
            if isinstance(outcome, Trade):
                makers[outcome.symbol, outcome.record_key] = outcome.side
            elif isinstance(outcome, Quote):
                message = json.loads(payload)
                takers[outcome.symbol, str(message["trade_id"])] = message["side"]
            elif isinstance(outcome, Book):
                book = books.setdefault(outcome.symbol, JoinedBook())
                list(book.take(outcome))
                (bid, _), (ask, _) = book.levels.bids(1)[0], book.levels.asks(1)[0]
                assert float(bid) < float(ask)
    assert counts == {"Book": 4_888, "Quote": 41, "Trade": 41, "Ignored": 3}
    assert [*gaps, *continuity.decide()] == []
    assert len(books) == 10
    assert makers.keys() == takers.keys()
    assert all(side.name.lower() == takers[place] for place, side in makers.items())


def test_bars_are_asked_for_by_spans_of_three_hundred_whether_their_ends_are_included_or_not() -> None:
    start_ns = 1_795_910_400 * 10**9
    day = Coinbase().history_requests(Kind.BAR, "BTC-USD", start_ns, start_ns + 86_400 * 10**9)
    spans = [("00:00:00", "04:59:59"), ("05:00:00", "09:59:59"), ("10:00:00", "14:59:59"), ("15:00:00", "19:59:59"),
             ("20:00:00", "23:59:59")]  # fmt: skip
    assert [one.path for one in day] == [
        f"/products/BTC-USD/candles?granularity=60&start=2026-11-29T{first}Z&end=2026-11-29T{last}Z"
        for first, last in spans
    ]
    (hours,) = Coinbase().history_requests(
        Kind.BAR, "BTC-USD", start_ns, start_ns + 1, channel="candles_3600"
    )
    assert hours.path.partition("?")[2] == (
        "granularity=3600&start=2026-11-29T00:00:00Z&end=2026-11-29T00:00:00Z"
    )
