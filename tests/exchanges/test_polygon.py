from __future__ import annotations

import json
import random
from typing import Any

import pytest

from etl.adapter.contract import (
    Credentials,
    Fault,
    FaultKind,
    Ignored,
    Rejected,
    Reply,
    Request,
    Subscription,
)
from etl.errors import VenueError
from etl.exchanges import load
from etl.exchanges.polygon import Polygon, PolygonCrypto, PolygonOptions
from etl.model.codes import Code
from etl.model.records import Frame, Kind, Quote, Record, SizeUnit, Trade
from tests.support.mutations import wrong_value
from tests.support.outcomes import records_of

KEY = "a-secret-key"
NOW_NS = 1_700_000_000_000_000_000
REQUEST = Request("/v3/trades/AAPL", Kind.TRADE, "AAPL")
SUBSCRIPTION = Subscription(("AAPL", "MSFT"), ("T", "AM"))
TRADE = {"ev": "T", "sym": "AAPL", "x": 4, "i": "1", "p": 1.5, "s": 100, "t": 1762200000123, "q": 1, "z": 3}
HISTORY_TRADE = {
    "exchange": 4, "id": "1", "participant_timestamp": 1762200000122000001, "price": 1.5, "sequence_number": 1,
    "sip_timestamp": 1762200000123000001, "size": 100, "tape": 3,
}  # fmt: skip
QUOTE = {
    "ev": "Q",
    "sym": "AAPL",
    "bx": 4,
    "bp": 1.5,
    "bs": 1,
    "ax": 7,
    "ap": 1.6,
    "as": 2,
    "t": 1762200000123,
    "q": 5,
}
HISTORY_QUOTE = {
    "ask_exchange": 7, "ask_price": 1.6, "ask_size": 2, "bid_exchange": 4, "bid_price": 1.5, "bid_size": 1,
    "sequence_number": 5, "sip_timestamp": 1762200000123999999,
}  # fmt: skip


def frame(message: Any, endpoint: str = "", receive_time_ns: int = 0) -> Frame:
    return Frame("polygon", "c", 1, endpoint, receive_time_ns, json.dumps(message).encode())


def parse_one(message: Any, endpoint: str = "") -> Any:
    (outcome,) = Polygon().parse(frame(message, endpoint))
    return outcome


def identity(record: Record) -> tuple[str, Kind, str, int]:
    return record.symbol, record.kind, record.record_key, record.key_time_ns


def connected(feed: type[Polygon] = Polygon, subscription: Subscription = SUBSCRIPTION) -> Polygon:
    parser = feed(Credentials(KEY))
    assert not parser.open(subscription, NOW_NS)
    return parser


def test_the_key_is_sent_when_the_server_says_connected_and_the_streams_when_it_is_accepted() -> None:
    parser = connected()
    greeting = [{"ev": "status", "status": "connected", "message": "Connected Successfully"}]
    assert parser.parse(frame(greeting)) == [
        Ignored("status"),
        Reply(f'{{"action":"auth","params":"{KEY}"}}'),
    ]
    accepted = [{"ev": "status", "status": "auth_success", "message": "authenticated"}]
    assert parser.parse(frame(accepted)) == [
        Ignored("status"),
        Reply('{"action":"subscribe","params":"T.AAPL,T.MSFT,AM.AAPL,AM.MSFT"}'),
    ]


def test_the_first_confirmed_stream_makes_the_connection_ready_once() -> None:
    parser = connected()
    confirmed = frame([{"ev": "status", "status": "success", "message": "subscribed to: T.AAPL"}])
    assert parser.parse(confirmed) == [
        Ignored("status"),
        Fault(FaultKind.READY, "success", "subscribed to: T.AAPL"),
    ]
    assert parser.parse(confirmed) == [Ignored("status")]


def test_a_symbol_that_reads_like_a_fault_is_none() -> None:
    confirmed = [{"ev": "status", "status": "success", "message": "subscribed to: T.SLOW"}]
    assert [type(outcome) for outcome in connected().parse(frame(confirmed))] == [Ignored, Fault]
    assert connected().parse(frame(confirmed))[1] == Fault(
        FaultKind.READY, "success", "subscribed to: T.SLOW"
    )


def test_a_recorded_handshake_is_not_answered() -> None:
    greeting = frame([{"ev": "status", "status": "connected", "message": "Connected Successfully"}])
    assert Polygon().parse(greeting) == [Ignored("status")]


def test_a_data_event_behind_a_control_message_comes_out() -> None:
    control = {"ev": "status", "status": "success", "message": "unsubscribed to: T.AAPL"}
    outcomes = Polygon().parse(frame([control, TRADE]))
    assert outcomes[0] == Ignored("status")
    assert isinstance(outcomes[1], Trade)
    assert outcomes[1].frame_index == 1


@pytest.mark.parametrize(
    ("venue_symbol", "stream"),
    [
        ("BTC-USD", "XT.BTC-USD"),
        ("X:BTC-USD", "XT.BTC-USD"),
        ("X:BTCUSD", "XT.BTC-USD"),
        ("BTCUSD", "XT.BTC-USD"),
    ],
)
def test_crypto_is_subscribed_by_its_pair_however_it_is_named(venue_symbol: str, stream: str) -> None:
    parser = connected(PolygonCrypto, Subscription((venue_symbol,), ("XT",)))
    outcomes = parser.parse(frame([{"ev": "status", "status": "auth_success", "message": "authenticated"}]))
    assert outcomes[1] == Reply(f'{{"action":"subscribe","params":"{stream}"}}')


def test_options_are_subscribed_with_their_prefix() -> None:
    parser = connected(PolygonOptions, Subscription(("AAPL240126P00050000",), ("T", "Q")))
    outcomes = parser.parse(frame([{"ev": "status", "status": "auth_success", "message": "authenticated"}]))
    assert outcomes[1] == Reply(
        '{"action":"subscribe","params":"T.O:AAPL240126P00050000,Q.O:AAPL240126P00050000"}'
    )


def test_either_key_name_is_taken() -> None:
    assert Polygon.key_variables == (("POLYGON_API_KEY", "MASSIVE_API_KEY"),)


@pytest.mark.parametrize("name", ["polygon", "polygon_options", "polygon_crypto"])
def test_both_hosts_are_known_and_one_connection_is_all(name: str) -> None:
    feed = load(name)
    hosts = [url.split("/")[2] for url in (feed.websocket_url, *feed.websocket_url_others)]
    assert hosts == ["socket.massive.com", "socket.polygon.io"]
    assert feed.connections_max == 1


@pytest.mark.parametrize(
    ("event", "row", "page"),
    [
        (TRADE, HISTORY_TRADE, "/v3/trades/AAPL"),
        (TRADE | {"trfi": 202}, HISTORY_TRADE | {"trf_id": 202}, "/v3/trades/AAPL"),
        ({k: v for k, v in TRADE.items() if k != "i"}, HISTORY_TRADE | {"id": ""}, "/v3/trades/AAPL"),
        (QUOTE, HISTORY_QUOTE, "/v3/quotes/AAPL"),
        (
            {"ev": "T", "sym": "O:AMC210827C00037000", "x": 65, "p": 1.5, "s": 1, "c": [233], "t": 1629820676333},
            {"exchange": 65, "sip_timestamp": 1629820676333001002, "price": 1.5, "size": 1, "conditions": [233]},
            "/v3/trades/O:AMC210827C00037000",
        ),
        (
            {"ev": "XT", "pair": "BTC-USD", "p": 35060, "t": 1625097600103, "s": 1.0434526, "i": 191450340, "x": 1},
            {"exchange": 1, "id": "191450340", "participant_timestamp": 1625097600103000000, "price": 35060, "size": 1},
            "/v3/trades/X:BTC-USD",
        ),
        (
            {"ev": "AM", "sym": "GTE", "v": 1, "o": 1, "h": 1, "l": 1, "c": 1, "s": 1610144640000, "e": 1610144700000},
            {"v": 2, "o": 1, "h": 1, "l": 1, "c": 1, "t": 1610144640000, "n": 2},
            "/v2/aggs/ticker/GTE/range/1/minute/1610144640000/1610144699999",
        ),
    ],
)  # fmt: skip
def test_stream_and_history_give_one_event_one_identity(event: Any, row: Any, page: str) -> None:
    live = parse_one([event])
    past = parse_one({"results": [row], "status": "OK"}, f"https://api.massive.com{page}?limit=1")
    assert identity(live) == identity(past)


def test_trades_of_one_id_differ_by_venue_reporting_facility_and_new_york_day() -> None:
    midnight_ms = 1762146000000  # 2025-11-03 00:00 in New York, the day after summer time ended
    variants: list[dict[str, object]] = [
        {},
        {"x": 5},
        {"trfi": 201},
        {"t": midnight_ms - 1},
        {"t": midnight_ms},
        {"t": midnight_ms - 3_600_000},
        {"i": "2"},
    ]
    keys = [parse_one([TRADE | variant]).record_key for variant in variants]
    assert keys == [
        "2025-11-03/4//1",
        "2025-11-03/5//1",
        "2025-11-03/4/201/1",
        "2025-11-02/4//1",
        "2025-11-03/4//1",
        "2025-11-02/4//1",
        "2025-11-03/4//2",
    ]


def test_equal_option_prints_are_told_apart_by_their_order() -> None:
    print_ = {
        "ev": "T",
        "sym": "O:AMC210827C00037000",
        "x": 65,
        "p": 1.54,
        "s": 1,
        "c": [233],
        "t": 1629820676333,
    }
    parser = Polygon()
    keys = [record.record_key for record in records_of(parser.parse(frame([print_, print_])))]
    keys += [record.record_key for record in records_of(parser.parse(frame([print_, print_ | {"s": 2}])))]
    assert keys == [f"1629820676333/1.54/1/65/233/{n}" for n in range(3)] + ["1629820676333/1.54/2/65/233/0"]


@pytest.mark.parametrize(
    ("name", "symbol", "flags", "unit"),
    [
        ("BRK.B", "BRK.B", (), SizeUnit.SHARE),
        ("O:AAPL240126P00050000", "AAPL240126P00050000", (), SizeUnit.CONTRACT),
        ("O:not-an-option", "not-an-option", ("unknown_symbol",), SizeUnit.CONTRACT),
        ("X:BTC-USD", "BTC-USD", (), SizeUnit.BASE),
        ("X:BTCUSD", "BTC-USD", (), SizeUnit.BASE),
        ("X:NOSUCHPAIR", "X:NOSUCHPAIR", ("unknown_symbol",), SizeUnit.BASE),
        ("C:EUR-USD", "EUR-USD", (), SizeUnit.BASE),
        ("I:SPX", "I:SPX", (), SizeUnit.NONE),
    ],
)
def test_a_symbol_tells_its_asset(name: str, symbol: str, flags: tuple[str, ...], unit: SizeUnit) -> None:
    trade = parse_one([TRADE | {"sym": name}])
    assert (trade.symbol, trade.venue_symbol, trade.flags, trade.size_unit) == (symbol, name, flags, unit)


@pytest.mark.parametrize("address", ["", "/v3/trades/{stockTicker}"])
def test_a_row_of_a_page_that_names_no_symbol_is_rejected(address: str) -> None:
    assert parse_one({"results": [HISTORY_TRADE], "status": "OK"}, address).code is Code.SYMBOL_MISSING


def test_a_page_without_its_address_takes_the_symbol_from_its_successors() -> None:
    page = {
        "results": [HISTORY_TRADE],
        "status": "OK",
        "next_url": "https://api.massive.com/v3/trades/BRK.B?cursor=x",
    }
    assert parse_one(page, "/v3/trades/{stockTicker}").symbol == "BRK.B"


def test_an_event_outside_an_array_is_read() -> None:
    assert isinstance(parse_one(TRADE), Trade)
    assert parse_one({"ev": "ZZ"}).code == "unknown_message"


def test_an_absent_side_is_absent_and_not_zero() -> None:
    quote = parse_one([QUOTE | {"bp": 0, "bs": 0, "bx": 0}])
    assert (quote.bid, quote.bid_size, quote.bid_exchange, quote.ask) == (None, None, "", "1.6")


def test_a_price_of_zero_with_a_size_is_kept_for_validation() -> None:
    quote = parse_one([QUOTE | {"bp": 0, "bs": 3}])
    assert isinstance(quote, Quote)
    assert (quote.bid, quote.bid_size) == ("0", "3")


def test_trades_and_quotes_are_asked_for_by_whole_milliseconds() -> None:
    (request,) = Polygon().history_requests(
        Kind.TRADE, "AAPL", 1_700_000_000_000_400_000, 1_700_000_001_000_000_001
    )
    assert request.path == (
        "/v3/trades/AAPL?timestamp.gte=1700000000000000000&timestamp.lt=1700000001001000000"
        "&order=asc&sort=timestamp&limit=3000"
    )
    (request,) = Polygon().history_requests(
        Kind.QUOTE, "BRK.B", 1_700_000_000_000_000_000, 1_700_000_001_000_000_000
    )
    assert request.path.startswith(
        "/v3/quotes/BRK.B?timestamp.gte=1700000000000000000&timestamp.lt=1700000001000000000&"
    )


def test_bars_are_asked_for_unadjusted() -> None:
    (request,) = PolygonCrypto().history_requests(
        Kind.BAR, "BTC-USD", 1_700_000_000_000_000_000, 1_700_000_060_000_000_000
    )
    assert request.path == (
        "/v2/aggs/ticker/X:BTCUSD/range/1/minute/1700000000000/1700000059999?adjusted=false&sort=asc&limit=3000"
    )


def test_the_bars_of_a_second_are_asked_for_by_their_channel() -> None:
    (request,) = Polygon().history_requests(
        Kind.BAR, "AAPL", 1_700_000_000_000_000_000, 1_700_000_001_000_000_000, channel="A"
    )
    assert request.path.startswith("/v2/aggs/ticker/AAPL/range/1/second/1700000000000/1700000000999?")


def test_kinds_without_history_are_not_asked_for() -> None:
    assert not list(PolygonCrypto().history_requests(Kind.QUOTE, "BTC-USD", 1, 2))
    assert not list(Polygon().history_requests(Kind.STATUS, "AAPL", 1, 2))


def test_the_next_page_is_asked_for_without_host_and_key() -> None:
    parser = Polygon()
    (request,) = parser.history_requests(Kind.TRADE, "AAPL", 1, 2)
    page = frame(
        {
            "results": [],
            "next_url": "https://api.massive.com/v3/trades/AAPL?cursor=YXA9MQ%3D%3D&apiKey=SECRET",
        }
    )
    following = parser.next_request(request, page)
    assert following is not None
    assert following.path == "/v3/trades/AAPL?cursor=YXA9MQ%3D%3D"
    assert (following.kind, following.symbol, following.end_ns) == (
        request.kind,
        request.symbol,
        request.end_ns,
    )
    with pytest.raises(VenueError, match="names itself as the next"):
        parser.next_request(following, page)


def test_a_page_without_a_successor_is_the_last_and_what_cannot_be_read_is_not() -> None:
    parser = Polygon()
    (request,) = parser.history_requests(Kind.TRADE, "AAPL", 1, 2)
    for page in (b'{"results":[]}', b'{"results":[],"next_url":null}', b'{"results":[],"next_url":""}'):
        assert parser.next_request(request, Frame("polygon", "c", 1, "", 1, page)) is None
    for page in (b"nonsense", b"", b'{"next_url":5}', b'{"next_url":"http://["}'):
        with pytest.raises(VenueError):
            parser.next_request(request, Frame("polygon", "c", 1, "", 1, page))


def test_the_key_travels_in_a_header_only() -> None:
    parser = Polygon(Credentials(KEY))
    assert parser.headers(REQUEST, NOW_NS) == {"Authorization": f"Bearer {KEY}"}
    assert not Polygon().headers(REQUEST, NOW_NS)
    assert KEY not in repr(list(parser.history_requests(Kind.TRADE, "AAPL", 1, 2)))


def test_history_of_a_past_day_beats_the_stream() -> None:
    bar = {"v": 2, "o": 1, "h": 1, "l": 1, "c": 1, "t": 1610144640000, "n": 2}
    answer = {"ticker": "GTE", "results": [bar], "status": "OK"}
    address, start = "/v2/aggs/ticker/GTE/range/1/minute/1/2", 1_610_144_640_000_000_000
    states = [
        Polygon().parse(frame(answer, address, start + hours * 3_600_000_000_000))[0].bar_state.name  # type: ignore[union-attr]
        for hours in (1, 25)
    ]
    assert states == ["CLOSED", "REVISED"]


def test_the_crypto_list_is_read_in_the_venues_own_form() -> None:
    payload = b'{"results":[{"ticker":"X:BTCUSD","base_currency_symbol":"BTC","currency_symbol":"USD","active":true}]}'
    (instrument,) = PolygonCrypto.read_instruments(payload)
    assert (instrument.venue_symbol, instrument.symbol) == ("X:BTCUSD", "BTC-USD")
    with pytest.raises(ValueError, match="results"):
        PolygonCrypto.read_instruments(b"{}")


def test_a_bad_row_of_a_page_costs_only_itself() -> None:
    rows = [HISTORY_TRADE, HISTORY_TRADE | {"price": "?"}, HISTORY_TRADE | {"id": "3"}]
    first, second, third = Polygon().parse(frame({"results": rows, "status": "OK"}, "/v3/trades/AAPL"))
    assert isinstance(first, Trade)
    assert isinstance(second, Rejected)
    assert second.index == 1
    assert isinstance(third, Trade)
    assert third.frame_index == 2


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_wrong_with_a_row_the_others_of_its_page_come_out_exactly(seed: int) -> None:
    rows = [HISTORY_TRADE | {"id": str(number), "sequence_number": number} for number in range(5)]
    unhurt = Polygon().parse(frame({"results": rows, "status": "OK"}, "/v3/trades/AAPL"))
    rows[2] = wrong_value(rows[2], random.Random(seed))
    outcomes = Polygon().parse(frame({"results": rows, "status": "OK"}, "/v3/trades/AAPL"))
    assert [*outcomes[:2], *outcomes[3:]] == [*unhurt[:2], *unhurt[3:]]
