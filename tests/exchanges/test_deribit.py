"""Deribit: what is asked for and in which order, and what its frames mean beyond the fixtures."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import (
    Credentials,
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
from etl.adapter.paging import query_of, refusal_of
from etl.adapter.unknown_fields import members_of
from etl.errors import UsageError, VenueError
from etl.exchanges._deribit_wire import place_of, size_unit_of, wire_name
from etl.exchanges.deribit import OLD, PAGE_ROWS, Deribit
from etl.ingest.subscriptions import subscriptions
from etl.model.records import Bar, BarState, Book, Frame, Gap, GapKind, Kind, Record, SizeUnit, Stats, Trade
from etl.model.times import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.simulator.recording import frames

NOW_NS = 1_796_040_000 * NS_PER_S
RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "deribit.jsonl.gz"
PERPETUAL, OPTION = "BTC-PERPETUAL", "BTC-25JUN27-100000-C"
TRADE = {
    "timestamp": 1_796_040_000_050, "price": 92294.5, "amount": 10.0, "direction": "sell",
    "instrument_name": PERPETUAL, "trade_seq": 7, "trade_id": "403691824",
}  # fmt: skip


def given(parser: Exchange, message: Any, time_ns: int = NOW_NS, endpoint: str = "") -> Sequence[Outcome]:
    return parser.parse(Frame("deribit", "c", 1, endpoint, time_ns, msgspec.json.encode(message)))


def pushed(channel: str, data: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}


def change(change_id: int, previous: int | None, symbol: str = PERPETUAL, **more: Any) -> dict[str, Any]:
    data = {"timestamp": 1_796_040_000_000 + change_id, "instrument_name": symbol, "change_id": change_id}
    data |= {"type": "change", "prev_change_id": previous, "bids": [["new", 1.5, 2.0]], "asks": []} | more
    return pushed(f"book.{symbol}.100ms", data)


def sent(messages: Sequence[Any]) -> list[tuple[str, Any]]:
    """Method, and channels or whatever else is asked."""
    found = [json.loads(one.payload if isinstance(one, Reply) else one) for one in messages]
    return [(one["method"], one["params"].get("channels", one["params"])) for one in found]


def replies(outcomes: Sequence[Outcome]) -> list[Reply]:
    return [one for one in outcomes if isinstance(one, Reply)]


def faults(outcomes: Sequence[Outcome]) -> list[tuple[FaultKind, tuple[str, ...], tuple[str, ...]]]:
    return [(one.kind, one.channels, one.symbols) for one in outcomes if isinstance(one, Fault)]


def followed(outcomes: Sequence[Outcome]) -> list[Gap]:
    continuity = Continuity(Deribit, declares_start=False, window=Window(least_ns=0))
    gaps = [gap for one in outcomes if isinstance(one, Record) for gap in continuity.observe(one)]
    return [*gaps, *continuity.decide()]


# the connection


def test_without_a_key_channels_come_in_batches_and_nobody_logs_in() -> None:
    opens = Deribit().open(Subscription((PERPETUAL,), ("trades", "quote")), NOW_NS)
    assert sent(opens) == [
        ("public/set_heartbeat", {"interval": 30}),
        ("public/subscribe", ["trades.BTC-PERPETUAL.100ms"]),
        ("public/subscribe", ["quote.BTC-PERPETUAL"]),
    ]


def test_a_login_is_signed_and_what_comes_back_opens_nothing() -> None:
    (_, (method, params)) = sent(Deribit(Credentials("key", "hidden")).open(Subscription((), ()), NOW_NS))
    assert (method, params["grant_type"], params["client_id"]) == ("public/auth", "client_signature", "key")
    assert "hidden" not in str(params)
    assert params["scope"] == "connection account:none trade:none wallet:none block_trade:none"


def test_a_login_is_renewed_at_half_its_life_with_the_answer_to_a_test_request() -> None:
    parser = Deribit(Credentials("key", "secret"))
    parser.open(Subscription((PERPETUAL,), ("trades",)), NOW_NS)
    login = {"id": 2, "result": {"access_token": "t", "expires_in": 900}}
    assert sent(replies(given(parser, login))) == [("public/subscribe", ["trades.BTC-PERPETUAL.raw"])]
    asked = {"method": "heartbeat", "params": {"type": "test_request"}}
    methods = [
        [method for method, _ in sent(replies(given(parser, asked, NOW_NS + after_s * NS_PER_S)))]
        for after_s in (449, 450, 451)
    ]
    assert methods == [["public/test"], ["public/test", "public/auth"], ["public/test"]]
    assert replies(given(parser, login)) == [], "what was subscribed to stays so"


def test_one_bad_name_of_a_message_costs_itself_alone() -> None:
    """The venue subscribes to nothing of a message with a refused channel: it is asked again in halves."""
    parser, names = Deribit(), [f"A{number}-PERPETUAL" for number in range(8)]
    queue = list(parser.open(Subscription(tuple(names), ("trades",)), NOW_NS))[1:]
    told: list[Outcome] = []
    messages = 0
    while queue:
        request, messages = json.loads(queue.pop(0)), messages + 1
        channels = request["params"]["channels"]
        bad = "trades.A5-PERPETUAL.100ms" in channels
        answer = {"error": {"code": -32602, "message": "Invalid params"}} if bad else {"result": channels}
        outcomes = given(parser, {"jsonrpc": "2.0", "id": request["id"]} | answer)
        queue += [str(reply.payload) for reply in replies(outcomes)]
        told += outcomes
    assert faults(told) == [(FaultKind.READY, (), ()), (FaultKind.REQUEST, ("trades",), ("A5-PERPETUAL",))]
    assert messages == 7
    assert list(parser.unanswered()) == []


def test_a_name_that_the_answer_leaves_out_does_not_exist() -> None:
    parser = Deribit()
    parser.open(Subscription((PERPETUAL, "FOO"), ("quote",)), NOW_NS)
    assert faults(given(parser, {"id": 5, "result": ["quote.BTC-PERPETUAL"]})) == [
        (FaultKind.READY, (), ()),
        (FaultKind.REQUEST, ("quote",), ("FOO",)),
    ]


def test_raw_without_a_login_is_an_entitlement_and_nothing_is_ready() -> None:
    parser = Deribit()
    parser.open(Subscription((PERPETUAL,), ("trades",)), NOW_NS)
    refusal = {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized"}
    assert faults(given(parser, {"id": 5, "error": refusal})) == [(FaultKind.ENTITLEMENT, (), ())]


def test_too_many_requests_are_no_refusal_of_a_stream() -> None:
    parser = Deribit()
    parser.open(Subscription((PERPETUAL, OPTION), ("trades",)), NOW_NS)
    outcomes = given(parser, {"id": 5, "error": {"code": 10028, "message": "too_many_requests"}})
    assert (faults(outcomes), replies(outcomes)) == ([(FaultKind.RATE_LIMIT, (), ())], [])


def test_a_book_begins_anew_by_itself() -> None:
    asked = sent(Deribit().resubscribe(Subscription((PERPETUAL,), ("book",))))
    assert asked == [
        ("public/unsubscribe", ["book.BTC-PERPETUAL.100ms"]),
        ("public/subscribe", ["book.BTC-PERPETUAL.100ms"]),
    ]


@pytest.mark.parametrize(
    ("channel", "symbol", "name"),
    [
        ("trades", PERPETUAL, "trades.BTC-PERPETUAL.raw"),
        ("trades", "option.BTC.*", "trades.option.BTC.raw"),
        ("trades", "*", "trades.any.any.raw"),
        ("book", OPTION, "book.BTC-25JUN27-100000-C.raw"),
        ("book.none.10", OPTION, "book.BTC-25JUN27-100000-C.none.10.100ms"),
        ("quote", OPTION, "quote.BTC-25JUN27-100000-C"),
        ("ticker", OPTION, "ticker.BTC-25JUN27-100000-C.raw"),
        ("chart.trades.1D", PERPETUAL, "chart.trades.BTC-PERPETUAL.1D"),
        ("instrument.state", "", "instrument.state.any.any"),
    ],
)
def test_a_channel_s_name_is_read_as_it_was_written(channel: str, symbol: str, name: str) -> None:
    assert wire_name(channel, symbol, "raw") == name
    assert place_of(name) == (channel, "" if symbol.endswith("*") else symbol)


def test_all_options_of_a_coin_are_one_stream_of_trades_and_of_nothing_else() -> None:
    (one,) = subscriptions(Deribit, ["option.BTC.*"], ["trades"], "0/1")
    assert sent(Deribit().open(one, NOW_NS))[1] == ("public/subscribe", ["trades.option.BTC.100ms"])
    with pytest.raises(UsageError, match=r"book takes no \*"):
        subscriptions(Deribit, ["option.BTC.*"], ["trades", "book"], "0/1")


# what comes


def test_changes_chain_and_a_break_is_of_that_instrument_alone() -> None:
    parser = Deribit()
    messages = [
        change(5, None, type="snapshot"), change(5, None, OPTION, type="snapshot"),
        change(9, 5), change(5_643, 5, OPTION), change(20, 10), change(5_650, 5_643, OPTION),
    ]  # fmt: skip
    (gap,) = followed([one for message in messages for one in given(parser, message)])
    assert (gap.gap_kind, gap.venue_symbol, gap.channel) == (GapKind.SEQUENCE, PERPETUAL, "book")
    assert (gap.from_sequence, gap.to_sequence) == (10, 10)


def test_trades_are_numbered_by_instrument_in_whichever_list_they_come() -> None:
    def list_of(*places: tuple[str, int]) -> list[dict[str, Any]]:
        return [
            TRADE | {"instrument_name": one, "trade_seq": n, "trade_id": f"{one}{n}"} for one, n in places
        ]

    parser = Deribit()
    wide = pushed("trades.any.BTC.100ms", list_of((PERPETUAL, 7), (OPTION, 2), (PERPETUAL, 8)))
    single = pushed(f"trades.{OPTION}.100ms", list_of((OPTION, 3), (OPTION, 5)))
    (gap,) = followed([*given(parser, wide), *given(parser, single)])
    assert (gap.venue_symbol, gap.from_sequence, gap.to_sequence) == (OPTION, 4, 4)


def test_a_trade_is_one_by_whichever_channel_and_with_whichever_conditions_it_comes() -> None:
    parser = Deribit()
    page = {"result": {"trades": [TRADE | {"liquidation": "T"}], "has_more": False}}
    found = [
        *given(parser, pushed("trades.BTC-PERPETUAL.raw", [TRADE])),
        *given(parser, pushed("trades.future.BTC.agg2", [TRADE])),
        *given(parser, page, endpoint="https://history.deribit.com/api/v2/public/get_last_trades_by_instrument?a=1"),
    ]  # fmt: skip
    trades = [one for one in found if isinstance(one, Trade)]
    assert [one.conditions for one in trades] == [(), (), ("liquidation_T",)]
    assert (
        len({(one.symbol, one.record_key, one.key_time_ns, one.channel, one.sequence) for one in trades}) == 1
    )


def test_a_combo_is_one_trade_and_each_leg_comes_as_its_own() -> None:
    legs = [TRADE | {"instrument_name": OPTION, "trade_id": leg, "trade_seq": 1} for leg in ("2", "3")]
    combo = TRADE | {"instrument_name": "BTC-CS-25JUN27-70000_75000", "trade_id": "1", "legs": legs}
    (trade,) = given(Deribit(), pushed("trades.BTC-CS-25JUN27-70000_75000.100ms", [combo]))
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.trade_id, trade.flags) == (combo["instrument_name"], "1", ("unknown_symbol",))


def test_raw_changes_and_batched_ones_are_others_though_their_ids_are_the_same() -> None:
    parser, message = Deribit(), change(9, 5)
    batched, raw = (
        given(parser, message),
        given(parser, json.loads(json.dumps(message).replace("100ms", "raw"))),
    )
    assert [one.record_key for one in (*batched, *raw) if isinstance(one, Book)] == [
        "book.100ms/d/9",
        "book.raw/d/9",
    ]


def test_the_first_message_of_a_bar_closes_the_one_before_once() -> None:
    def bar(tick_ms: int, close: float) -> dict[str, Any]:
        prices = {"open": 1.0, "high": 3.0, "low": 1.0, "close": close, "volume": 0.5, "cost": 50.0}
        return pushed("chart.trades.BTC-PERPETUAL.1", {"tick": tick_ms} | prices)

    parser, start_ms = Deribit(), NOW_NS // NS_PER_MS
    messages = (
        bar(start_ms, 2.0),
        bar(start_ms, 3.0),
        bar(start_ms + 60_000, 3.0),
        bar(start_ms + 60_000, 2.0),
    )
    found = [one for message in messages for one in given(parser, message) if isinstance(one, Bar)]
    assert [((one.event_time_ns - NOW_NS) // NS_PER_MINUTE, one.close, one.bar_state) for one in found] == [
        (0, "2.0", BarState.OPEN),
        (0, "3.0", BarState.OPEN),
        (1, "3.0", BarState.OPEN),
        (0, "3.0", BarState.CLOSED),
        (1, "2.0", BarState.OPEN),
    ]


def test_an_unknown_member_is_counted_by_the_channel() -> None:
    payload = msgspec.json.encode(pushed("trades.BTC-PERPETUAL.raw", [TRADE | {"aura": 1}]))
    assert ("trades", "aura") in set(members_of(payload))


# instruments


def test_names_say_what_sizes_count_as_the_list_does() -> None:
    path = Path(__file__).parents[2] / "etl" / "exchanges" / "instruments" / "deribit.json"
    for row in json.loads(path.read_bytes())["result"]:
        is_inverse_future = row["instrument_type"] == "reversed" and row["kind"].startswith("future")
        expected = SizeUnit.QUOTE if is_inverse_future else SizeUnit.BASE
        assert size_unit_of(row["instrument_name"]) is expected, row["instrument_name"]


def test_instruments_have_names_of_one_form_and_combos_none() -> None:
    listed = shipped_instruments(Deribit)
    assert listed.by_symbol() == {
        "BTC-USD-PERP": "BTC-PERPETUAL",
        "ETH-USD-PERP": "ETH-PERPETUAL",
        "ETH-USDC-PERP": "ETH_USDC-PERPETUAL",
        "BTC-USD-20270625": "BTC-25JUN27",
        "BTC-USD-20260605": "BTC-5JUN26",
        "BTC-USD-20270625-100000-C": "BTC-25JUN27-100000-C",
        "BTC-USD-20270625-80000-P": "BTC-25JUN27-80000-P",
        "BTC-USD-20261225-100000-C": "BTC-25DEC26-100000-C",
        "BTC-USD-20260608-70000-P": "BTC-8JUN26-70000-P",
        "XRP-USDC-20260630-0.625-C": "XRP_USDC-30JUN26-0d625-C",
        "BTC-USDC": "BTC_USDC",
    }
    option = listed.get(OPTION)
    assert option is not None
    assert (option.price_step, option.size_step) == ("0.0001", "0.1")


# history


def answered(rows: Sequence[tuple[int, int]], has_more: bool, receive_ns: int = NOW_NS) -> Frame:
    """``rows``: number and time in ms."""
    trades = [{"trade_seq": number, "timestamp": time_ms} for number, time_ms in rows]
    payload = msgspec.json.encode({"result": {"trades": trades, "has_more": has_more}})
    return Frame("deribit", "c", 1, "", receive_ns, payload)


def asked(request: Request | None) -> tuple[str, str, dict[str, str]]:
    assert request is not None
    path, query = query_of(request.path)
    fixed = {"instrument_name": PERPETUAL, "count": str(PAGE_ROWS), "sorting": "asc", "include_old": "true"}
    assert fixed.items() <= query.items()
    return request.host, path.rpartition("/")[2], {k: v for k, v in query.items() if k not in fixed}


def test_old_trades_come_from_their_host_by_time_then_by_number_and_the_last_day_from_the_main_one() -> None:
    parser, end_ms = Deribit(), NOW_NS // NS_PER_MS
    start_ns = NOW_NS - 3 * NS_PER_DAY
    (first,) = parser.history_requests(Kind.TRADE, PERPETUAL, start_ns, NOW_NS)
    span = {"start_timestamp": str(start_ns // NS_PER_MS), "end_timestamp": str(end_ms - 1)}
    assert asked(first) == (OLD, "get_last_trades_by_instrument_and_time", span)
    second = parser.next_request(first, answered([(7, end_ms - 5_000)], has_more=True))
    assert asked(second) == (OLD, "get_last_trades_by_instrument", {"start_seq": "8"})
    assert second is not None
    third = parser.next_request(second, answered([(8, end_ms - 4_000)], has_more=False))
    assert asked(third) == ("", "get_last_trades_by_instrument", {"start_seq": "9"})
    assert third is not None
    assert parser.next_request(third, answered([(9, end_ms - 1)], has_more=False)) is None
    assert parser.next_request(third, answered([(9, end_ms)], has_more=True)) is None, "beyond what was asked"
    before_ms = start_ns // NS_PER_MS - 1
    assert parser.next_request(third, answered([(9, before_ms)], has_more=True)) is None, (
        "a number given twice"
    )
    empty = parser.next_request(first, answered([], has_more=False))
    assert asked(empty) == ("", "get_last_trades_by_instrument_and_time", span)


def test_what_ended_more_than_a_day_ago_is_asked_of_the_old_host_alone() -> None:
    parser, end_ns = Deribit(), NOW_NS - 2 * NS_PER_DAY
    (first,) = parser.history_requests(Kind.TRADE, PERPETUAL, end_ns - NS_PER_DAY, end_ns)
    assert parser.next_request(first, answered([(7, 1)], has_more=False)) is None


def test_missing_numbers_are_asked_for_with_the_one_behind_them_and_a_page_that_was_cut_goes_on() -> None:
    parser = Deribit()
    first, second = parser.id_requests(Kind.TRADE, PERPETUAL, 5, 4 + PAGE_ROWS)
    method = "get_last_trades_by_instrument"
    assert asked(first) == ("", method, {"start_seq": "5", "end_seq": str(4 + PAGE_ROWS)})
    assert asked(second) == ("", method, {"start_seq": str(4 + PAGE_ROWS), "end_seq": str(5 + PAGE_ROWS)})
    following = parser.next_request(first, answered([(5, 1), (6, 1)], has_more=True))
    assert asked(following) == ("", method, {"start_seq": "7", "end_seq": str(4 + PAGE_ROWS)})


def test_a_page_that_is_none_ends_no_history() -> None:
    parser = Deribit()
    (first,) = parser.history_requests(Kind.TRADE, PERPETUAL, NOW_NS - NS_PER_DAY, NOW_NS)
    refusal = {"error": {"code": 10028, "message": "too_many_requests"}}
    frame = Frame("deribit", "c", 1, "https://x/api/v2/public/y", NOW_NS, msgspec.json.encode(refusal))
    with pytest.raises(VenueError):
        parser.next_request(first, frame)
    fault = refusal_of(parser, first, frame)
    assert fault is not None
    assert fault.kind is FaultKind.RATE_LIMIT


def test_bars_are_asked_for_in_spans_that_the_venue_answers_whole() -> None:
    days = Deribit().history_requests(
        Kind.BAR, PERPETUAL, 0, 10_000 * NS_PER_MINUTE, channel="chart.trades.1"
    )
    spans = [query_of(one.path)[1] for one in days]
    assert [(int(one["start_timestamp"]), int(one["end_timestamp"])) for one in spans] == [
        (0, 299_999_999),
        (300_000_000, 599_999_999),
    ]


@pytest.mark.skipif(not RECORDING.exists(), reason="no recordings beside the repository")
def test_the_recording_is_read_whole_and_its_changes_chain() -> None:
    parser = Deribit()
    with gzip.open(RECORDING) as file:
        assert len(file.readlines()) == 68
    outcomes = [
        one
        for number, payload in enumerate(frames(RECORDING), 1)
        for one in parser.parse(Frame("deribit", "c", number, "", NOW_NS, payload))
    ]
    assert [type(one) for one in outcomes if not isinstance(one, Book | Stats)] == [Ignored]
    books = [one for one in outcomes if isinstance(one, Book)]
    assert (len(outcomes) - 1 - len(books), len(books)) == (41, 26)
    assert followed(outcomes) == []
    last: dict[str, int | None] = {}
    for one in books:
        if one.previous_sequence is not None:
            assert one.previous_sequence == last[one.symbol]
        last[one.symbol] = one.sequence
    assert sum(one.previous_sequence is not None for one in books) == 16
    assert not any(isinstance(one, Rejected) for one in outcomes)
