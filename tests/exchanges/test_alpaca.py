from __future__ import annotations

import json
import random
import struct
from typing import Any

import msgspec
import pytest
from msgspec.msgpack import Ext

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
from etl.adapter.faults import Tier, policy_of, wait_s
from etl.errors import VenueError
from etl.exchanges import load
from etl.exchanges.alpaca import Alpaca, AlpacaCrypto, AlpacaIex, AlpacaOptions
from etl.model.codes import Code
from etl.model.records import Correction, CorrectionKind, Frame, Kind, Record, SizeUnit, Trade
from tests.support.mutations import wrong_value
from tests.support.outcomes import records_of

NOW_NS = 1_700_000_000_000_000_000
REQUEST = Request("/v2/stocks/trades", Kind.TRADE, "AAPL")
CREDENTIALS = Credentials("a-key", "a-secret")
SUBSCRIPTION = Subscription(("AAPL", "MSFT"), ("trades", "bars", "corrections"))
TRADE = {
    "T": "t", "S": "AAPL", "i": 628, "x": "K", "p": 162.92, "s": 3, "c": ["@"], "z": "C",
    "t": "2023-04-06T11:54:26.838232225Z",
}  # fmt: skip
QUOTE = {
    "T": "q", "S": "AAPL", "bx": "P", "bp": 91.9, "bs": 1, "ax": "Q", "ap": 91.98, "as": 1, "c": ["R"], "z": "C",
    "t": "2023-04-06T11:54:27.924933876Z",
}  # fmt: skip
BAR = {"T": "b", "S": "AAPL", "o": 1, "h": 2, "l": 1, "c": 2, "v": 3, "t": "2021-02-22T19:15:00Z"}
CONNECTED = [{"T": "success", "msg": "connected"}]
AUTHENTICATED = [{"T": "success", "msg": "authenticated"}]


def frame(message: Any, endpoint: str = "", receive_time_ns: int = 0) -> Frame:
    return Frame("alpaca", "c", 1, endpoint, receive_time_ns, json.dumps(message).encode())


def parse_one(message: Any, endpoint: str = "") -> Any:
    (outcome,) = Alpaca().parse(frame(message, endpoint))
    return outcome


def row(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("T", "S")}


def identity(record: Record) -> tuple[str, Kind, str, int]:
    return record.symbol, record.kind, record.record_key, record.key_time_ns


def connected(feed: type[Alpaca] = Alpaca, subscription: Subscription = SUBSCRIPTION) -> Alpaca:
    parser = feed(CREDENTIALS)
    assert not parser.open(subscription, NOW_NS)
    return parser


def test_key_and_secret_are_sent_when_the_server_says_connected_then_the_channels() -> None:
    parser = connected()
    assert parser.parse(frame(CONNECTED)) == [
        Ignored("success"),
        Reply('{"action":"auth","key":"a-key","secret":"a-secret"}'),
    ]
    assert parser.parse(frame(AUTHENTICATED)) == [
        Ignored("success"),
        Reply('{"action":"subscribe","trades":["AAPL","MSFT"],"bars":["AAPL","MSFT"]}'),
    ]


def test_the_list_of_subscriptions_makes_the_connection_ready() -> None:
    outcomes = connected().parse(frame([{"T": "subscription", "trades": ["AAPL"]}]))
    assert outcomes == [Ignored("subscription"), Fault(FaultKind.READY, "subscription", "")]


@pytest.mark.parametrize(
    "lists", [{"trades": 5}, {"trades": "AAPL"}, {"trades": [5, None]}, {"trades": {"a": 1}}]
)
def test_a_list_of_subscriptions_that_is_none_grants_nothing_and_costs_nothing(
    lists: dict[str, object],
) -> None:
    outcomes = connected().parse(frame([{"T": "subscription", **lists}]))
    assert outcomes == [Ignored("subscription"), Fault(FaultKind.READY, "subscription", "")]


def test_a_recorded_handshake_is_not_answered() -> None:
    assert Alpaca().parse(frame(CONNECTED)) == [Ignored("success")]


def test_the_options_handshake_is_binary() -> None:
    parser = connected(AlpacaOptions)
    assert parser.handshake_headers(NOW_NS) == {"Content-Type": "application/msgpack"}
    greeting = Frame("alpaca_options", "c", 1, "", 0, msgspec.msgpack.encode(CONNECTED))
    ignored, reply = parser.parse(greeting)
    assert ignored == Ignored("success")
    assert isinstance(reply, Reply)
    assert isinstance(reply.payload, bytes)
    assert msgspec.msgpack.decode(reply.payload) == {"action": "auth", "key": "a-key", "secret": "a-secret"}


@pytest.mark.parametrize("name", ["alpaca", "alpaca_iex", "alpaca_test", "alpaca_options", "alpaca_crypto"])
def test_each_feed_subscribes_to_channels_that_it_declares(name: str) -> None:
    feed = load(name)
    assert set(feed.default_channels) <= {channel.name for channel in feed.channels}
    assert feed.connections_max == 1


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (TRADE, {"trades": {"AAPL": [row(TRADE)]}}),
        (TRADE, {"trades": {"AAPL": row(TRADE)}}),
        (TRADE, {"symbol": "AAPL", "trade": row(TRADE)}),
        (TRADE, {"symbol": "AAPL", "trades": [row(TRADE)], "next_page_token": None}),
        (QUOTE, {"quotes": {"AAPL": [row(QUOTE)]}, "next_page_token": "x"}),
        (QUOTE, {"quotes": {"AAPL": row(QUOTE)}}),
        (BAR, {"bars": {"AAPL": [row(BAR)]}}),
        (BAR, {"bars": {"AAPL": row(BAR)}}),
    ],
)
def test_stream_and_history_give_one_event_one_identity(event: Any, answer: Any) -> None:
    address = "https://data.alpaca.markets/v2/stocks/bars?symbols=AAPL&timeframe=1Min"
    assert identity(parse_one([event])) == identity(parse_one(answer, address))


def test_a_page_of_one_symbol_takes_it_from_the_address() -> None:
    trade = parse_one({"trades": [row(TRADE)]}, "https://data.alpaca.markets/v2/stocks/BRK.B/trades?limit=1")
    assert trade.symbol == "BRK.B"


def test_a_symbol_without_rows_is_missing_or_null_and_the_others_come_out() -> None:
    answer = {"trades": {"AAPL": None, "MSFT": [], "TSLA": [row(TRADE)]}, "next_page_token": None}
    assert parse_one(answer).symbol == "TSLA"
    assert parse_one({"trades": {"AAPL": None}}) == Ignored("empty_page")
    assert parse_one({"trades": None}) == Ignored("empty_page")


def test_trades_of_one_id_differ_by_exchange_and_new_york_day() -> None:
    variants: list[dict[str, Any]] = [
        {}, {"x": "Q"}, {"t": "2023-04-07T03:59:59.999999999Z"}, {"t": "2023-04-07T04:00:00Z"}, {"i": 7},
    ]  # fmt: skip
    assert [parse_one([TRADE | variant]).record_key for variant in variants] == [
        "2023-04-06/K/628",
        "2023-04-06/Q/628",
        "2023-04-06/K/628",
        "2023-04-07/K/628",
        "2023-04-06/K/7",
    ]


def test_equal_quotes_of_one_nanosecond_are_told_apart_by_their_order() -> None:
    parser = Alpaca()
    events = [QUOTE, QUOTE, QUOTE | {"S": "MSFT"}]
    keys = [record.record_key for record in records_of(parser.parse(frame(events)))]
    content = "1680782067924933876/91.9/1/P/91.98/1/Q/R"
    assert keys == [f"{content}/0", f"{content}/1", f"{content}/0"]


@pytest.mark.parametrize(
    ("name", "symbol", "unit"),
    [
        ("BRK.B", "BRK.B", SizeUnit.SHARE),
        ("BTC/USD", "BTC-USD", SizeUnit.BASE),
        ("AAPL240126P00050000", "AAPL240126P00050000", SizeUnit.CONTRACT),
    ],
)
def test_a_symbol_tells_its_asset(name: str, symbol: str, unit: SizeUnit) -> None:
    trade = parse_one([TRADE | {"S": name}])
    assert (trade.symbol, trade.venue_symbol, trade.size_unit, trade.flags) == (symbol, name, unit, ())


@pytest.mark.parametrize("word", ["C", "E", "", "Z"])
def test_a_voided_print_of_history_voids_what_the_stream_voids(word: str) -> None:
    cancel = {"T": "x", "S": "AAPL", "i": 628, "x": "K", "p": 1, "s": 3, "t": "2023-04-06T19:00:00Z"}
    live = parse_one([cancel | {"a": word}])
    trade, past = Alpaca().parse(frame({"trades": {"AAPL": [row(TRADE) | {"u": "canceled"}]}}))
    assert isinstance(trade, Trade)
    assert isinstance(past, Correction)
    assert identity(live) == identity(past)
    assert past.original_trade_id == trade.trade_id


def test_a_corrected_print_of_history_is_good_and_an_incorrect_one_is_void() -> None:
    rows = [row(TRADE) | {"u": "incorrect"}, row(TRADE) | {"i": 629, "u": "corrected"}]
    outcomes = Alpaca().parse(frame({"trades": {"AAPL": rows}}))
    corrections = [outcome for outcome in outcomes if isinstance(outcome, Correction)]
    assert [(c.original_trade_id, c.correction) for c in corrections] == [("628", CorrectionKind.CORRECT)]
    assert [outcome.trade_id for outcome in outcomes if isinstance(outcome, Trade)] == ["628", "629"]


def packed(events: list[dict[str, Any]]) -> Frame:
    return Frame("alpaca_options", "c", 1, "", 0, msgspec.msgpack.encode(events))


OPTION_TRADE = {"T": "t", "S": "AAPL240315C00172500", "p": 2.84, "s": 1, "x": "N", "c": "S"}
TIME = "2024-03-11T13:35:35.13312256Z"
TIME_NS = 1_710_164_135_133_122_560


@pytest.mark.parametrize(
    "time",
    [
        TIME,
        Ext(-1, struct.pack(">Q", (133_122_560 << 34) | 1_710_164_135)),
        Ext(-1, struct.pack(">Iq", 133_122_560, 1_710_164_135)),
    ],
)
def test_msgpack_gives_what_its_json_gives(time: object) -> None:
    (binary,) = AlpacaOptions().parse(packed([OPTION_TRADE | {"t": time}]))
    (text,) = AlpacaOptions().parse(frame([OPTION_TRADE | {"t": TIME}]))
    assert binary == text
    assert isinstance(binary, Trade)
    assert binary.event_time_ns == TIME_NS


def test_a_msgpack_number_without_a_fraction_is_written_as_history_writes_it() -> None:
    (trade,) = AlpacaOptions().parse(packed([OPTION_TRADE | {"t": TIME, "p": 3.0, "s": 2.0}]))
    assert isinstance(trade, Trade)
    assert (trade.last_price, trade.volume) == ("3", "2")


def test_a_bad_msgpack_event_costs_only_itself() -> None:
    good = OPTION_TRADE | {"t": TIME}
    bad: list[dict[str, object]] = [
        OPTION_TRADE | {"t": Ext(5, b"abc")},
        {"T": {"deep": {}}},
        OPTION_TRADE | {"t": Ext(-1, b"\xff" * 12)},
    ]
    outcomes = AlpacaOptions().parse(packed([good, *bad, good]))
    assert [type(outcome) for outcome in outcomes] == [Trade, Rejected, Rejected, Rejected, Trade]
    (cut,) = AlpacaOptions().parse(Frame("alpaca_options", "c", 1, "", 0, packed([good]).payload[:-4]))
    assert isinstance(cut, Rejected)


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_wrong_with_a_row_the_others_of_its_page_come_out_exactly(seed: int) -> None:
    rows = [row(TRADE) | {"i": number} for number in range(5)]
    unhurt = Alpaca().parse(frame({"trades": {"AAPL": rows}}))
    rows[2] = wrong_value(rows[2], random.Random(seed))
    outcomes = Alpaca().parse(frame({"trades": {"AAPL": rows}}))
    assert [*outcomes[:2], *outcomes[3:]] == [*unhurt[:2], *unhurt[3:]]


def test_an_event_without_a_symbol_is_rejected() -> None:
    assert parse_one([TRADE | {"S": ""}]).code is Code.SYMBOL_MISSING
    assert parse_one({"trades": [row(TRADE)]}).code is Code.SYMBOL_MISSING


def test_history_is_asked_for_to_the_nanosecond() -> None:
    (request,) = Alpaca().history_requests(
        Kind.TRADE, "AAPL", 1_700_000_000_000_000_001, 1_700_000_001_000_000_000
    )
    assert request.path == (
        "/v2/stocks/trades?symbols=AAPL&start=2023-11-14T22%3A13%3A20.000000001Z"
        "&end=2023-11-14T22%3A13%3A20.999999999Z&limit=5000&sort=asc&feed=sip&asof=-"
    )
    (request,) = AlpacaIex().history_requests(Kind.QUOTE, "AAPL", 1, 2)
    assert "feed=iex" in request.path
    (request,) = AlpacaCrypto().history_requests(Kind.BAR, "BTC/USD", 1, 2)
    assert request.path.startswith("/v1beta3/crypto/us/bars?symbols=BTC%2FUSD&")
    assert request.path.endswith("&timeframe=1Min")
    (request,) = Alpaca().history_requests(Kind.BAR, "AAPL", 1, 2)
    assert request.path.endswith("&timeframe=1Min&adjustment=raw")


def test_options_have_no_history_of_quotes() -> None:
    assert not list(AlpacaOptions().history_requests(Kind.QUOTE, "AAPL240126P00050000", 1, 2))
    assert list(AlpacaOptions().history_requests(Kind.TRADE, "AAPL240126P00050000", 1, 2))


def test_the_next_page_is_asked_for_by_its_token() -> None:
    parser = Alpaca()
    (request,) = parser.history_requests(
        Kind.TRADE, "AAPL", 1_700_000_000_000_000_000, 1_700_000_001_000_000_000
    )
    second = parser.next_request(request, frame({"trades": {}, "next_page_token": "a|b=="}))
    assert second is not None
    assert second.path == f"{request.path}&page_token=a%7Cb%3D%3D"
    third = parser.next_request(second, frame({"trades": {}, "next_page_token": "c"}))
    assert third is not None
    assert third.path == f"{request.path}&page_token=c"
    assert parser.next_request(third, frame({"trades": {}, "next_page_token": None})) is None
    with pytest.raises(VenueError, match="names itself as the next"):
        parser.next_request(third, frame({"trades": {}, "next_page_token": "c"}))
    for payload in (b"nonsense", b"", b'{"trades":{},"next_page_token":5}'):
        with pytest.raises(VenueError, match="no page"):
            parser.next_request(third, Frame("alpaca", "c", 1, "", 0, payload))


def test_key_and_secret_travel_in_headers_of_history_only() -> None:
    parser = Alpaca(CREDENTIALS)
    assert parser.headers(REQUEST, NOW_NS) == {"APCA-API-KEY-ID": "a-key", "APCA-API-SECRET-KEY": "a-secret"}
    assert not parser.handshake_headers(NOW_NS)
    assert not Alpaca().headers(REQUEST, NOW_NS)


@pytest.mark.parametrize("code", [*range(400, 414), 500])
def test_every_documented_error_is_mapped_and_only_a_second_login_is_none(code: int) -> None:
    ignored, *faults = Alpaca().parse(frame([{"T": "error", "code": code, "msg": "x"}]))
    assert ignored == Ignored("error")
    assert [isinstance(fault, Fault) for fault in faults] == ([] if code == 403 else [True])


@pytest.mark.parametrize(
    ("codes", "tier", "first_wait_s"),
    [
        ((407, 500), Tier.NETWORK, 0.0),
        ((406,), Tier.VENUE, 30.0),
        ((400, 401, 402, 404, 405, 408, 409, 410, 411, 412, 413), Tier.VENUE, 60.0),
    ],
)
def test_every_error_has_its_tier_of_the_policy(
    codes: tuple[int, ...], tier: Tier, first_wait_s: float
) -> None:
    """https://docs.alpaca.markets/docs/streaming-market-data#errors; what the venue refuses pages and waits."""
    for code in codes:
        _, fault = Alpaca().parse(frame([{"T": "error", "code": code, "msg": "x"}]))
        assert isinstance(fault, Fault)
        policy = policy_of(fault)
        assert (policy.tier, policy.pages, wait_s(fault, 0, 0.0)) == (tier, tier is Tier.VENUE, first_wait_s)


def test_an_unknown_error_is_taken_for_a_passing_one() -> None:
    _, fault = Alpaca().parse(frame([{"T": "error", "code": 499, "msg": "x"}]))
    assert fault == Fault(FaultKind.TRANSIENT, "499", "x")
