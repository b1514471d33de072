"""What Kraken is asked for, how its pages go on, and when a book holds. What its frames give is in the fixtures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from etl.adapter.contract import BookBroken, Exchange, Outcome, Rejected, Request, Subscription
from etl.adapter.levels import LevelBook
from etl.errors import VenueError
from etl.exchanges._kraken_channels import checksum_of
from etl.exchanges.kraken import Kraken
from etl.exchanges.kraken_v1 import KrakenV1
from etl.model.codes import UNCHECKED
from etl.model.records import Book, Frame, Kind, Source, Trade
from etl.simulator.recording import frames
from tests.support import fixtures

T0 = 1_790_000_000_000_000_000
RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "kraken_v1.jsonl.gz"
BOOK = Subscription(("BTC/USD",), ("book-25",))


def taken(parser: Exchange, payloads: Iterable[bytes]) -> list[Outcome]:
    return [
        outcome
        for number, payload in enumerate(payloads, 1)
        for outcome in parser.parse(Frame(parser.name, "c", number, "", T0, payload))
    ]


def of_fixture(name: str) -> list[str]:
    return [line.frame for line in fixtures.read(fixtures.FOLDER / name)]


def unchecked(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if isinstance(one, Book) and UNCHECKED in one.flags]


def test_a_channel_carries_its_parameter_in_its_name() -> None:
    kinds = [Kraken.channel(name) for name in ("book-100", "ohlc-60", "ohlc-21600")]
    assert [(one.depth, one.interval_ns // 10**9) for one in kinds if one] == [
        (100, 0),
        (0, 3_600),
        (0, 15 * 86_400),
    ]
    assert [Kraken.channel(name) for name in ("book-11", "ohlc-7", "ohlc-x", "trade-1", "level3")] == [
        None
    ] * 5
    assert [KrakenV1.channel(name) is None for name in ("book-10", "ohlc-5", "book-0")] == [
        False,
        False,
        True,
    ]


def test_a_book_begins_anew_by_itself() -> None:
    parser = Kraken()
    parser.open(BOOK, T0)
    params = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
    assert [json.loads(text) for text in parser.resubscribe(BOOK)] == [
        {"method": method, "params": params, "req_id": 1} for method in ("unsubscribe", "subscribe")
    ]


def test_the_last_fifty_trades_of_a_new_connection_mend_what_was_missed_and_are_no_new_ones() -> None:
    def trades(type_: str, ids: Iterable[int]) -> bytes:
        event = {
            "symbol": "BTC/USD",
            "side": "buy",
            "price": 1,
            "qty": 2,
            "timestamp": "2026-10-06T17:35:55Z",
        }
        data = [event | {"trade_id": number} for number in ids]
        return json.dumps({"channel": "trade", "type": type_, "data": data}).encode()

    before = taken(Kraken(), [trades("update", range(1, 31))])
    after = taken(Kraken(), [trades("snapshot", range(1, 51))])
    keys = [{one.record_key for one in found if isinstance(one, Trade)} for found in (before, after)]
    assert len(keys[1] - keys[0]) == 20


def test_a_book_without_truncation_does_not_hold_its_checksum() -> None:
    payloads = of_fixture("kraken.synthetic.jsonl")[1:4]
    books = [one for one in taken(Kraken(), map(str.encode, payloads)) if isinstance(one, Book)]
    sent = [json.loads(payload)["data"][0]["checksum"] for payload in payloads]
    for depth, holds in ((10, [True, True, True]), (0, [True, True, False])):
        book, held = LevelBook(depth), []
        for record, checksum in zip(books, sent, strict=True):
            book.apply(record)
            held.append(checksum_of(book.asks(10), book.bids(10), (1, 8)) == checksum)
        assert held == holds


def test_the_depth_is_the_subscription_s_not_the_first_snapshot_s() -> None:
    """A thin book of three levels that was subscribed to with 25 keeps an eleventh."""
    answer = (
        b'{"method":"subscribe","result":{"channel":"book","depth":25,"symbol":"BTC/USD"},"success":true}'
    )
    outcomes = taken(Kraken(), [answer, of_fixture("kraken.synthetic.jsonl")[7].encode()])
    assert [(one.channel, one.depth) for one in outcomes if isinstance(one, Book)] == [("book-25", 25)]


def test_an_answer_that_comes_after_the_snapshot_costs_no_check_unless_it_tells_another_depth() -> None:
    snapshot, change = (text.encode() for text in of_fixture("kraken.synthetic.jsonl")[1:3])
    answer = (
        b'{"method":"subscribe","result":{"channel":"book","depth":%d,"symbol":"BTC/USD"},"success":true}'
    )
    assert unchecked(taken(Kraken(), [snapshot, answer % 10, change])) == []
    assert len(unchecked(taken(Kraken(), [snapshot, answer % 25, change, snapshot, change]))) == 1


@pytest.mark.skipif(not RECORDING.exists(), reason="no recordings beside the repository")
def test_every_checksum_of_the_recording_holds_and_a_wrong_digit_breaks_one_book_once() -> None:
    payloads = list(frames(RECORDING))
    outcomes = taken(KrakenV1(), payloads)
    changes = [one for one in outcomes if isinstance(one, Book) and one.book_action.name == "ABSOLUTE"]
    assert len(changes) == 2_098
    assert [one for one in outcomes if isinstance(one, BookBroken | Rejected)] == unchecked(outcomes) == []
    place = next(n for n, payload in enumerate(payloads) if b'"b":[["354.15' in payload)
    payloads[place] = payloads[place].replace(b'"b":[["354.15', b'"b":[["354.16')
    outcomes = taken(KrakenV1(), payloads)
    broken = [one for one in outcomes if isinstance(one, BookBroken)]
    assert [(one.venue_symbol, one.channel) for one in broken] == [("XMR/USD", "book-1000")]
    assert {one.venue_symbol for one in unchecked(outcomes) if isinstance(one, Book)} == {"XMR/USD"}


# requests


def test_history_is_asked_for_from_before_its_first_moment() -> None:
    parser = Kraken()
    (trades,) = parser.history_requests(Kind.TRADE, "BTC/USD", T0, T0 + 5)
    assert trades == Request(
        f"/0/public/Trades?pair=XBTUSD&since={T0 - 1}&count=1000", Kind.TRADE, "BTC/USD", 1, T0 + 5
    )
    (bars,) = parser.history_requests(Kind.BAR, "DOGE/EUR", T0, T0 + 5, None, "ohlc-60")
    assert bars.path == f"/0/public/OHLC?pair=XDGEUR&interval=60&since={T0 // 10**9 - 1}"
    assert list(parser.history_requests(Kind.BOOK, "BTC/USD", T0, T0 + 5)) == []


def following(rows: int, last: int | str, since: int = T0, end_ns: int = T0 + 100) -> str:
    """The ``since`` of the next page, "" after the last."""
    request = Request(f"/0/public/Trades?pair=XBTUSD&since={since}&count=2", Kind.TRADE, "BTC/USD", 1, end_ns)
    row = ["1", "2", 1790000000.5, "b", "m", "", 1]
    payload = json.dumps({"error": [], "result": {"XXBTZUSD": [row] * rows, "last": last}}).encode()
    found = Kraken().next_request(request, Frame("kraken", "c", 1, "", T0, payload, Source.BACKFILL))
    return found.path.partition("since=")[2].partition("&")[0] if found else ""


def test_pages_of_trades_go_on_since_the_last_one_until_they_are_short_or_past_the_end() -> None:
    assert following(2, str(T0 + 7)) == str(T0 + 7)
    assert following(1, str(T0 + 7)) == following(0, str(T0)) == ""
    assert following(2, str(T0 + 100)) == ""
    assert following(2, str(T0 + 100), end_ns=0) == str(T0 + 100)


@pytest.mark.parametrize("last", [str(T0), "soon", 7])
def test_a_full_page_that_does_not_tell_where_the_next_begins_is_no_end(last: int | str) -> None:
    with pytest.raises(VenueError):
        following(2, last)


def test_bars_have_one_page_and_what_is_no_page_of_trades_is_no_end() -> None:
    bars = Request("/0/public/OHLC?pair=XBTUSD&interval=1&since=1", Kind.BAR, "BTC/USD", 1, T0)
    assert Kraken().next_request(bars, Frame("kraken", "c", 1, "", T0, b"{}", Source.BACKFILL)) is None
    trades = Request("/0/public/Trades?pair=XBTUSD&since=1&count=2", Kind.TRADE, "BTC/USD", 1, T0)
    for payload in (
        b"{",
        b"{}",
        b'{"result":{"last":"1"}}',
        b'{"result":{"X":[]}}',
        b'{"result":{"X":7,"last":"1"}}',
    ):
        with pytest.raises(VenueError):
            Kraken().next_request(trades, Frame("kraken", "c", 1, "", T0, payload, Source.BACKFILL))


# instruments


def listed(exchange: type[Exchange], **pair: object) -> list[tuple[str, str, str, str]]:
    payload = json.dumps({"error": [], "result": {"X": {"wsname": "XBT/USD", **pair}}}).encode()
    found = exchange.read_instruments(payload)
    return [(one.venue_symbol, one.symbol, one.price_step, one.size_step) for one in found]


def test_both_feeds_name_a_pair_alike_and_prices_have_all_their_decimals() -> None:
    steps = {"pair_decimals": 5, "lot_decimals": 8, "tick_size": "0.1"}
    assert listed(Kraken, **steps) == [("BTC/USD", "BTC-USD", "0.10000", "0.00000001")]
    assert listed(KrakenV1, **steps) == [("XBT/USD", "BTC-USD", "0.10000", "0.00000001")]
    assert listed(Kraken, wsname="ETH/XBT", pair_decimals=2) == [("ETH/BTC", "ETH-BTC", "0.01", "1")]
    assert listed(Kraken, wsname="XDG/USD:BTNL") == [("DOGE/USD:BTNL", "DOGE-USD:BTNL", "1", "1")]
    assert listed(Kraken, wsname="") == [], "a dark pool"
    for wrong in ({"tick_size": "x"}, {"pair_decimals": -1}, {"pair_decimals": 10**18}):
        with pytest.raises(ValueError, match="not an instrument list"):
            listed(Kraken, **wrong)
