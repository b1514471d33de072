"""Bitfinex: numbers and times by flags, channels by their number, checksums of books, and what is asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import (
    Behind,
    BookBroken,
    ConnectionSequence,
    Context,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    Outcome,
    Rejected,
    Reply,
    Request,
    Subscription,
    shipped_instruments,
)
from etl.adapter.faults import fault_of_status
from etl.adapter.paging import query_of, refusal_of
from etl.errors import VenueError
from etl.exchanges._bitfinex_channels import TRADES_KNOWN_MAX
from etl.exchanges.bitfinex import Bitfinex, BitfinexDerivatives
from etl.ingest.subscriptions import subscriptions
from etl.model.codes import UNCHECKED, Code
from etl.model.records import Book, Frame, Kind, Record, Trade
from etl.model.times import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from etl.sequencing.connection import ConnectionFollower
from etl.simulator.connection import Connection
from etl.simulator.recording import frames
from etl.simulator.session import SyntheticSession
from etl.simulator.venues import make_venue
from tests.support import fixtures

RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "bitfinex.jsonl.gz"
CHECKSUMS = fixtures.FOLDER / "bitfinex.checksums.jsonl"
NOW_MS = 1_796_040_000_000
NOW_NS = NOW_MS * NS_PER_MS
NUMBERED = '{"event":"conf","status":"OK","flags":65536}'
WITH_NOTHING = '{"event":"conf","status":"OK","flags":0}'


def given(parser: Exchange, *messages: Any, endpoint: str = "") -> list[Outcome]:
    outcomes: list[Outcome] = []
    for message in messages:
        payload = message.encode() if isinstance(message, str) else msgspec.json.encode(message)
        outcomes += parser.parse(Frame(parser.name, "c", 1, endpoint, NOW_NS, payload))
    return outcomes


def subscribed(channel: str, number: int, symbol: str = "tBTCUSD", **more: str) -> dict[str, Any]:
    members = {"prec": "P0", "freq": "F0", "len": "100"} if channel == "book" else {}
    return {"event": "subscribed", "channel": channel, "chanId": number, "symbol": symbol, **members, **more}


def faults(outcomes: Sequence[Outcome]) -> list[tuple[FaultKind, tuple[str, ...], tuple[str, ...]]]:
    return [(one.kind, one.channels, one.symbols) for one in outcomes if isinstance(one, Fault)]


def sent(messages: Sequence[Any]) -> list[dict[str, Any]]:
    return [json.loads(one.payload if isinstance(one, Reply) else one) for one in messages]


def page(rows: Any, path: str) -> Frame:
    address = f"https://api-pub.bitfinex.com{path}"
    return Frame("bitfinex", "c", 1, address, NOW_NS, msgspec.json.encode(rows))


# the recording


@pytest.mark.skipif(not RECORDING.exists(), reason="the recording is not part of the repository")
def test_the_recording_is_read_to_its_last_number() -> None:
    parser, follower, counts = Bitfinex(), ConnectionFollower(), Counter[str]()
    numbers: list[int] = []
    levels: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    for number, payload in enumerate(frames(RECORDING), 1):
        for one in parser.parse(Frame("bitfinex", "c", number, "", NOW_NS, payload)):
            if isinstance(one, ConnectionSequence):
                numbers.append(one.number)
                assert follower.follow(one) == ""
            elif isinstance(one, Record | Ignored):
                counts[one.kind.name if isinstance(one, Record) else one.name] += 1
            assert not isinstance(one, Rejected), one
            if isinstance(one, Book):
                _apply(levels.setdefault(one.symbol, ({}, {})), one)
    assert numbers == list(range(1, 824))
    assert counts == {
        "BOOK": 779, "TRADE": 210, "QUOTE": 16, "heartbeat": 21, "subscribed": 21, "info": 1, "conf": 1,
    }  # fmt: skip
    assert len(levels) == 7
    for bids, asks in levels.values():
        assert max(map(float, bids)) < min(map(float, asks))
        assert max(len(bids), len(asks)) <= 100


def _apply(book: tuple[dict[str, str], dict[str, str]], record: Book) -> None:
    for side, prices, sizes in zip(
        book, (record.bid_prices, record.ask_prices), (record.bid_sizes, record.ask_sizes), strict=True
    ):
        for price, size in zip(prices, sizes, strict=True):
            if size == "0":
                del side[price]  # each deletion is of a level that is there
            else:
                side[price] = size


# books


@pytest.mark.parametrize(("number", "checksum"), [(123, 30_026_640), (124, 1_770_440_002)])
def test_a_book_is_wrong_at_the_second_checksum_in_a_row_that_does_not_hold(
    number: int, checksum: int
) -> None:
    """Of the vendor's two books, whose checksums hold."""
    parser = Bitfinex()
    told = given(parser, *(line.frame for line in fixtures.read(CHECKSUMS)))
    assert not any(isinstance(one, BookBroken) for one in told)
    held, wrong = [number, "cs", checksum], [number, "cs", checksum + 1]
    assert given(parser, wrong, held, wrong) == [Ignored("checksum")] * 3, "a single one only marks"
    (symbol,) = {one.venue_symbol for one in given(parser, [number, [0.5, 0, -1]]) if isinstance(one, Book)}
    reason = f"checksum {checksum + 1}, ours is {checksum}"
    assert given(parser, wrong) == [Ignored("checksum"), BookBroken(symbol, "book.P0.F0.25", reason)]
    assert given(parser, wrong) == [Ignored("checksum")], "it was told"


def test_a_change_behind_a_checksum_that_does_not_hold_is_marked_until_one_holds() -> None:
    parser = Bitfinex()
    given(parser, *(line.frame for line in fixtures.read(CHECKSUMS)))

    def flags() -> list[tuple[str, ...]]:
        told = given(parser, "[124,[0.00000121,6,304023.8109708]]")
        return [one.flags for one in told if isinstance(one, Book)]

    before = flags()
    given(parser, [124, "cs", 1])
    marked = flags()
    given(parser, [124, "cs", 1_770_440_002])
    assert [before, marked, flags()] == [[()], [(UNCHECKED,)], [()]]


def test_the_simulated_books_hold_their_checksums() -> None:
    """From the opening on, with sizes that are written with exponents."""
    venue, parser, connection = make_venue("bitfinex"), Bitfinex(), Connection()
    session = SyntheticSession(venue, 50.0, seed=3)
    for text in parser.open(Subscription(("tBTCUSD",), ("book",)), NOW_NS):
        venue.received(connection, text, ())
    (stream,) = connection.streams
    session.subscribe(stream)
    payloads = [venue.stamped(connection, answer, "") for answer in connection.outbox]
    sending = [(frame.payload, stream) for frame in venue.opening(stream, session, NOW_NS)]
    sending += [
        (item.payload, stream) for tick in range(20) for item in session.due(NOW_NS + tick * NS_PER_S)
    ]
    payloads += [venue.stamped(connection, payload, of) for payload, of in sending]
    told = given(parser, *(payload.decode() for payload in payloads))
    counts = Counter(type(one).__name__ for one in told)
    checks = sum(one == Ignored("checksum") for one in told)
    assert checks > 500
    assert counts["Book"] > checks
    assert counts["BookBroken"] == counts["Rejected"] == 0
    assert not any(isinstance(one, Book) and one.flags for one in told)
    assert any(b"e-" in payload for payload in payloads)


# trades


def test_a_trade_is_told_once_and_what_was_told_before_the_subscription_is_no_other() -> None:
    parser = Bitfinex()
    old, new = [5, NOW_MS - 9, 0.5, 7.5], [6, NOW_MS, -0.5, 7.5]
    told = given(
        parser, WITH_NOTHING, subscribed("trades", 1), [1, [old]], [1, "tu", old], [1, "te", new], [1, "tu", new],
    )  # fmt: skip
    assert [one.trade_id for one in told if isinstance(one, Trade)] == ["5", "6"]
    assert told.count(Ignored("tu")) == 2


def test_what_is_remembered_of_trades_is_bounded() -> None:
    parser = Bitfinex()
    given(parser, WITH_NOTHING, subscribed("trades", 1))
    for number in range(1, TRADES_KNOWN_MAX + 2):
        given(parser, [1, "te", [number, NOW_MS, 0.5, 7.5]])
    assert [type(one) for one in given(parser, [1, "tu", [1, NOW_MS, 0.5, 7.5]])] == [Trade], (
        "it is forgotten"
    )
    assert given(parser, [1, "tu", [TRADES_KNOWN_MAX + 1, NOW_MS, 0.5, 7.5]]) == [Ignored("tu")]


# the connection


def test_a_number_that_is_missing_is_seen_and_heartbeats_are_counted() -> None:
    follower, parser = ConnectionFollower(), Bitfinex()
    told = given(
        parser, NUMBERED, '[9,"hb",1]', subscribed("trades", 9), '[9,"hb",2]', '[9,"te",[6,5000,0.5,7.5],4]'
    )  # fmt: skip
    numbers = [one for one in told if isinstance(one, ConnectionSequence)]
    assert [follower.follow(one) for one in numbers] == ["", "", "message 4 follows 2: 3-3 missing"]


@pytest.mark.parametrize("more", [{"prec": "P1"}, {"len": "25"}, {"freq": "F1"}])
def test_a_book_of_other_parameters_than_asked_for_is_refused(more: dict[str, str]) -> None:
    parser = Bitfinex()
    parser.open(Subscription(("tBTCUSD", "tETHUSD"), ("book",)), NOW_NS)
    told = given(parser, subscribed("book", 1, **more), subscribed("book", 2, "tETHUSD"))
    assert faults(told) == [(FaultKind.REQUEST, ("book",), ("tBTCUSD",)), (FaultKind.READY, (), ())]


def test_what_the_venue_limits_is_told_of_one_stream_and_what_was_asked_twice_of_none() -> None:
    parser = Bitfinex()
    parser.open(Subscription(("tBTCUSD", "tETHUSD"), ("candles.1m",)), NOW_NS)
    limit, twice = (
        {
            "event": "error",
            "msg": "subscribe",
            "code": code,
            "channel": "candles",
            "key": f"trade:1m:{symbol}",
        }
        for code, symbol in ((10_305, "tBTCUSD"), (10_301, "tETHUSD"))
    )
    assert faults(given(parser, limit, twice)) == [
        (FaultKind.SUBSCRIPTION_LIMIT, ("candles.1m",), ("tBTCUSD",)), (FaultKind.READY, (), ()),
    ]  # fmt: skip
    assert parser.unanswered() == []


def test_after_a_maintenance_each_channel_is_left_and_asked_for_anew_and_its_gap_is_told() -> None:
    parser = BitfinexDerivatives()
    parser.open(Subscription(("tBTCF0:USTF0", "tETHF0:USTF0"), ("trades", "status.liq")), NOW_NS)
    liquidations = {"event": "subscribed", "channel": "status", "chanId": 8, "key": "liq:global"}
    given(parser, subscribed("trades", 7, "tBTCF0:USTF0"), liquidations)
    assert given(parser, '{"event":"info","code":20060,"msg":"Maintenance"}') == [Ignored("info")]
    told = given(parser, '{"event":"info","code":20061,"msg":"Maintenance is over"}')
    assert [(one.venue_symbol, one.channel) for one in told if isinstance(one, Behind)] == [
        ("tBTCF0:USTF0", "trades"), ("tBTCF0:USTF0", "status.liq"), ("tETHF0:USTF0", "status.liq"),
    ]  # fmt: skip
    assert sent([one for one in told if isinstance(one, Reply)]) == [
        {"event": "unsubscribe", "chanId": 7},
        {"event": "unsubscribe", "chanId": 8},
        {"event": "subscribe", "channel": "trades", "symbol": "tBTCF0:USTF0"},
        {"event": "subscribe", "channel": "status", "key": "liq:global"},
    ]


def test_a_frame_alone_is_read_by_what_lies_beside_it() -> None:
    """As crash recovery, replay and the quarantine's replay have it: the answers came hours before."""
    parser, others = BitfinexDerivatives(), list[Outcome]()
    lines = fixtures.read(fixtures.FOLDER / "bitfinex_derivatives.documented.jsonl")
    endpoint = "wss://api-pub.bitfinex.com/ws/2"
    for number, line in enumerate(lines, 1):
        frame = Frame(parser.name, "c", number, endpoint, line.receive_time_ns, line.payload)
        outcomes = [*parser.parse(frame)]
        if line.frame[0] == "[":
            assert [*BitfinexDerivatives().parse(frame)] == outcomes, line.frame
            others += BitfinexDerivatives().parse(msgspec.structs.replace(frame, endpoint=""))
        for one in outcomes:
            endpoint = f"wss://api-pub.bitfinex.com/ws/2#{one.text}" if isinstance(one, Context) else endpoint
    assert {one.code for one in others if isinstance(one, Rejected)} == {Code.SYMBOL_MISSING}
    assert not any(isinstance(one, Record) for one in others)


def test_one_book_is_renewed_by_its_number() -> None:
    parser = Bitfinex()
    given(parser, subscribed("book", 7), subscribed("trades", 8))
    asked = {
        "event": "subscribe",
        "channel": "book",
        "symbol": "tBTCUSD",
        "prec": "P0",
        "freq": "F0",
        "len": "100",
    }
    wanted = Subscription(("tBTCUSD",), ("book",))
    assert sent(parser.resubscribe(wanted)) == [{"event": "unsubscribe", "chanId": 7}, asked]
    given(parser, '{"event":"unsubscribed","status":"OK","chanId":7}')
    assert sent(parser.resubscribe(wanted)) == [asked]
    (rejected,) = given(parser, [7, [1.5, 1, 2]])
    assert isinstance(rejected, Rejected)


def test_a_connection_carries_25_channels() -> None:
    symbols = [f"tAA{chr(65 + n)}USD" for n in range(20)]
    cut = subscriptions(Bitfinex, symbols, ("trades", "book", "candles.1m"), "0/1")
    assert [len(one.symbols) for one in cut] == [8, 8, 4]


# requests


def test_pages_go_on_in_the_last_millisecond_and_beyond_one_that_fills_a_page() -> None:
    parser = Bitfinex()
    (first,) = parser.history_requests(Kind.TRADE, "tBTCUSD", NOW_NS + 1, NOW_NS + NS_PER_S)
    path, query = query_of(first.path)
    assert (path, first.weight) == ("/v2/trades/tBTCUSD/hist", 6)
    assert query == {"start": f"{NOW_MS}", "end": f"{NOW_MS + 999}", "limit": "10000", "sort": "1"}
    small = msgspec.structs.replace(first, path=first.path.replace("10000", "2"))
    rows = [[1, NOW_MS, 0.5, 7.5], [2, NOW_MS + 3, 0.5, 7.5]]
    assert parser.parse(page(rows, small.path))[1] == Ignored("page_end", 1)
    second = parser.next_request(small, page(rows, small.path))
    assert second is not None
    assert query_of(second.path)[1]["start"] == f"{NOW_MS + 3}"
    rows = [[2, NOW_MS + 3, 0.5, 7.5], [3, NOW_MS + 3, 0.5, 7.5]]
    assert [type(one) for one in parser.parse(page(rows, second.path))] == [Trade, Trade]
    third = parser.next_request(second, page(rows, second.path))
    assert third is not None
    assert query_of(third.path)[1]["start"] == f"{NOW_MS + 4}"
    assert parser.next_request(third, page([], third.path)) is None


def test_candles_of_a_page_are_followed_by_the_next_minute() -> None:
    parser = Bitfinex()
    (first,) = parser.history_requests(
        Kind.BAR, "tDUSK:USD", NOW_NS, NOW_NS + NS_PER_MINUTE, channel="candles.1m"
    )
    small = msgspec.structs.replace(first, path=first.path.replace("10000", "1"), end_ns=0)
    following = parser.next_request(small, page([[NOW_MS, 1, 2, 3, 0.5, 9]], small.path))
    assert following is not None
    assert query_of(following.path)[0] == "/v2/candles/trade:1m:tDUSK:USD/hist"
    assert query_of(following.path)[1]["start"] == f"{NOW_MS + 1}"


@pytest.mark.parametrize(
    ("code", "kind", "wait_s"),
    [
        (11_010, FaultKind.RATE_LIMIT, 60.0), (10_020, FaultKind.REQUEST, 0.0), (20_060, FaultKind.TRANSIENT, 0.0),
        (10_100, FaultKind.AUTHENTICATION, 0.0), (99_999, FaultKind.REQUEST, 0.0),
    ],
)  # fmt: skip
def test_a_refusal_is_no_page_whatever_its_status(code: int, kind: FaultKind, wait_s: float) -> None:
    parser, request = Bitfinex(), Request("/v2/trades/tBTCUSD/hist?limit=3&sort=1", Kind.TRADE, "tBTCUSD")
    frame = page(["error", code, "no"], request.path)
    assert refusal_of(parser, request, frame) == Fault(kind, f"{code}", "no", wait_s)
    with pytest.raises(VenueError):
        parser.next_request(request, frame)
    if code != 99_999:
        fault = fault_of_status(500, frame.payload.decode(), declared=Bitfinex.fault_codes)
        assert (fault.kind, fault.retry_after_s) == (kind, wait_s)


def test_a_list_is_no_page_of_trades() -> None:
    request = Request("/v2/trades/tBTCUSD/hist?limit=3&sort=1", Kind.TRADE, "tBTCUSD")
    answer = page([["BTCUSD"], [["UST", "USDt"]]], "/v2/conf/pub:list:pair:exchange,pub:map:currency:sym")
    fault = refusal_of(Bitfinex(), request, answer)
    assert fault is not None
    assert fault.kind is FaultKind.TRANSIENT


def test_a_handshake_too_many_is_a_limit_of_connections() -> None:
    for said, kind in (("", FaultKind.CONNECTION_LIMIT), ("ratelimit: error", FaultKind.RATE_LIMIT)):
        assert fault_of_status(429, said, declared=Bitfinex.fault_codes).kind is kind


# symbols


def test_currencies_are_named_as_elsewhere_and_never_within_a_longer_name() -> None:
    spot, contracts = shipped_instruments(Bitfinex), shipped_instruments(BitfinexDerivatives)
    assert [spot.symbol(name) for name in ("tBTCUSD", "tDUSK:USD", "tUDCUST", "tTERRAUST:USD", "tUST:CNHT")] == [
        "BTC-USD", "DUSK-USD", "USDC-USDT", "TERRAUST-USD", "USDT-CNHT",
    ]  # fmt: skip
    assert [contracts.symbol(name) for name in ("tBTCF0:USTF0", "tETHF0:BTCF0", "tALGF0:USTF0")] == [
        "BTC-USDT-PERP", "ETH-BTC-PERP", "ALGO-USDT-PERP",
    ]  # fmt: skip


def test_a_name_that_another_currency_bears_is_not_taken() -> None:
    payload = b'[["LNXUSD","BTCUSD","LESUSD"],[["LNX","BTC"],["LES","LEO-EOS"]]]'
    assert [one.symbol for one in Bitfinex.read_instruments(payload)] == ["LNX-USD", "BTC-USD", "LES-USD"]


@pytest.mark.parametrize(
    "payload", [b"[]", b'["error",10020,"no"]', b'{"pairs":[]}', b'[["BTCUSD"]]', b"cut"]
)
def test_what_is_no_list_is_told(payload: bytes) -> None:
    with pytest.raises(ValueError, match="not an instrument list"):
        list(Bitfinex.read_instruments(payload))
