"""Hyperliquid: what the fact sheet's frames mean, beyond the fixtures."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import Fault, FaultKind, Request, Subscription, shipped_instruments
from etl.adapter.faults import fault_of_status
from etl.adapter.paging import refusal_of
from etl.exchanges.hyperliquid import Hyperliquid, HyperliquidSpot
from etl.model.codes import REPLAYED
from etl.model.records import Bar, BarState, Book, Frame, Gap, GapKind, GapState, Kind, Record, Trade
from etl.model.times import NS_PER_MINUTE, NS_PER_MS
from etl.sequencing.continuity import Continuity

START_MS = 1_790_000_000_000
RECORDING = Path(__file__).parents[3] / "shared" / "recordings" / "hyperliquid.btcusd_20250126.jsonl.gz"
REST = "https://api.hyperliquid.xyz/info"


def text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def fill(number: int, later_ms: int | None = None, coin: str = "BTC") -> dict[str, Any]:
    """The fill of that number, one each 100 ms."""
    time_ms = START_MS + (number * 100 if later_ms is None else later_ms)
    return {"coin": coin, "side": "B", "px": "105056.0", "sz": "0.1", "time": time_ms, "tid": number}


def trades(*fills: dict[str, Any]) -> str:
    return text({"channel": "trades", "data": fills})


def ack(kind: str, coin: str, **options: Any) -> str:
    asked = {"type": kind, "coin": coin, **options}
    return text({"channel": "subscriptionResponse", "data": {"method": "subscribe", "subscription": asked}})


def candle(start_ms: int, close: str) -> str:
    said = {"t": start_ms, "T": start_ms + 59_999, "s": "BTC", "i": "1m", "n": 3}
    return text(
        {"channel": "candle", "data": {**said, "o": "1.0", "h": "9.0", "l": "1.0", "c": close, "v": "2.5"}}
    )


def heard(
    parser: Hyperliquid, payload: str, now_ms: int = START_MS, number: int = 1, endpoint: str = "wss://x"
) -> list[Any]:
    return [*parser.parse(Frame(parser.name, "c", number, endpoint, now_ms * NS_PER_MS, payload.encode()))]


def flagged(outcomes: list[Any]) -> list[tuple[str, bool]]:
    return [(one.trade_id, REPLAYED in one.flags) for one in outcomes if isinstance(one, Trade)]


def faults(outcomes: list[Any]) -> list[Fault]:
    return [one for one in outcomes if isinstance(one, Fault)]


# replays


def test_the_first_trades_of_a_coin_are_repeated_as_far_as_they_are_older_than_the_subscription() -> None:
    parser = Hyperliquid()
    heard(parser, ack("trades", "BTC"), START_MS + 250)
    assert flagged(heard(parser, trades(fill(1), fill(2), fill(3)), START_MS + 400)) == [
        ("1", True), ("2", True), ("3", False),
    ]  # fmt: skip
    late = fill(4, later_ms=200)
    assert flagged(heard(parser, trades(late), START_MS + 500)) == [("4", False)]


def test_each_coin_has_its_own_replay_and_a_new_subscription_another() -> None:
    parser = Hyperliquid()
    heard(parser, ack("trades", "BTC"), START_MS + 900)
    assert flagged(heard(parser, trades(fill(1)), START_MS + 900)) == [("1", True)]
    assert flagged(heard(parser, trades(fill(1, coin="ETH")), START_MS + 900)) == [("1", True)]
    assert flagged(heard(parser, trades(fill(2)), START_MS + 900)) == [("2", False)]
    heard(parser, ack("trades", "BTC"), START_MS + 1_000)
    assert flagged(heard(parser, trades(fill(2), fill(3)), START_MS + 1_000)) == [("2", True), ("3", True)]


def test_rows_of_a_request_are_no_replay() -> None:
    rows = text([fill(2), fill(1)])
    assert flagged(heard(Hyperliquid(), rows, START_MS + 900, endpoint=f"{REST}#body=%7B%7D")) == [
        ("2", False), ("1", False),
    ]  # fmt: skip


def gaps_over(first_repeated: int) -> list[Gap]:
    """Fills 1 to 10, an outage, and a subscription that begins with 30 fills from there on."""
    continuity = Continuity(Hyperliquid, declares_start=False)
    before, after = Hyperliquid(), Hyperliquid()
    heard(before, ack("trades", "BTC"))
    gaps: list[Gap] = []
    for number in range(1, 11):
        records = heard(before, trades(fill(number)), START_MS + number * 100 + 80)
        gaps += [gap for record in records for gap in continuity.observe(record)]
    gaps += continuity.lost(GapKind.DISCONNECT, "closed", (START_MS + 1_100) * NS_PER_MS)
    now_ms = START_MS + (first_repeated + 30) * 100
    heard(after, ack("trades", "BTC"), now_ms)
    repeated = [fill(number) for number in range(first_repeated, first_repeated + 30)]
    records = [*heard(after, trades(*repeated), now_ms), *heard(after, trades(fill(90)), START_MS + 9_080)]
    return gaps + [gap for record in records for gap in continuity.observe(record)]


def test_a_replay_with_the_last_good_fill_repairs_the_gap() -> None:
    opened, closed = gaps_over(9)
    assert (opened.gap_state, opened.to_time_ns) == (GapState.UNREPAIRABLE, 0)
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.REPAIRED)


def test_a_replay_that_begins_behind_the_last_good_fill_ends_the_gap_there() -> None:
    opened, closed = gaps_over(12)
    assert (closed.record_key, closed.gap_state) == (opened.record_key, GapState.UNREPAIRABLE)
    assert closed.from_time_ns == (START_MS + 1_000) * NS_PER_MS
    assert closed.to_time_ns == (START_MS + 1_200) * NS_PER_MS


# bars


def test_a_candle_is_closed_by_the_first_of_the_next_one_where_our_clock_is_behind() -> None:
    parser, minute = Hyperliquid(), START_MS - START_MS % 60_000
    (forming,) = heard(parser, candle(minute, "5.0"), minute + 59_000)
    assert (forming.bar_state, forming.close) == (BarState.OPEN, "5.0")
    opened, closed = heard(parser, candle(minute + 60_000, "6.0"), minute + 59_900, number=2)
    assert isinstance(closed, Bar)
    assert (opened.bar_state, opened.close, opened.frame_index) == (BarState.OPEN, "6.0", 0)
    assert (closed.bar_state, closed.close, closed.frame_index) == (BarState.CLOSED, "5.0", 1)
    assert (closed.record_key, closed.frame_sequence) == (forming.record_key, 2)
    (over,) = heard(parser, candle(minute + 60_000, "7.0"), minute + 120_000)
    assert over.bar_state is BarState.CLOSED
    assert len(heard(parser, candle(minute + 120_000, "7.5"), minute + 120_100)) == 1


def test_candles_are_asked_for_by_post_in_spans_of_as_many_as_an_answer_holds() -> None:
    start_ns, end_ns = START_MS * NS_PER_MS, START_MS * NS_PER_MS + 501 * NS_PER_MINUTE
    requests = [*Hyperliquid().history_requests(Kind.BAR, "kPEPE", start_ns, end_ns)]
    asked = {"coin": "kPEPE", "interval": "1m"}
    end_ms = START_MS + 501 * 60_000 - 1
    assert [msgspec.json.decode(request.body) for request in requests] == [
        {"type": "candleSnapshot", "req": {**asked, "startTime": START_MS, "endTime": START_MS + 29_999_999}},
        {"type": "candleSnapshot", "req": {**asked, "startTime": START_MS + 30_000_000, "endTime": end_ms}},
    ]
    assert {(request.path, request.weight) for request in requests} == {("/info", 29)}
    (months,) = Hyperliquid().history_requests(Kind.BAR, "BTC", start_ns, end_ns, channel="candle_1M")
    assert msgspec.json.decode(months.body)["req"]["interval"] == "1M"


@pytest.mark.parametrize("kind", [Kind.TRADE, Kind.QUOTE, Kind.BOOK])
def test_nothing_else_is_asked_for(kind: Kind) -> None:
    assert [*Hyperliquid().history_requests(kind, "BTC", 0, NS_PER_MINUTE)] == []
    assert kind not in Hyperliquid.history


# conversation


def test_each_stream_is_asked_for_in_a_message_of_its_own() -> None:
    asked = Subscription(("xyz:TSLA",), ("l2Book", "l2Book_fast", "candle_4h"))
    head = '{"method":"subscribe","subscription":{"type":'
    assert [*HyperliquidSpot().open(asked, 0)] == [
        f'{head}"l2Book","coin":"xyz:TSLA"}}}}',
        f'{head}"l2Book","coin":"xyz:TSLA","fast":true}}}}',
        f'{head}"candle","coin":"xyz:TSLA","interval":"4h"}}}}',
    ]


def test_a_stream_is_begun_anew_by_leaving_it_first() -> None:
    asked = Subscription(("BTC",), ("trades",))
    assert [msgspec.json.decode(one)["method"] for one in Hyperliquid().resubscribe(asked)] == [
        "unsubscribe", "subscribe",
    ]  # fmt: skip


def test_what_is_carried_already_counts_as_granted() -> None:
    parser = Hyperliquid()
    parser.open(Subscription(("BTC",), ("trades", "candle_1m")), 0)
    said = 'Already subscribed: {"type":"candle","coin":"BTC","interval":"1m"}'
    assert faults(heard(parser, text({"channel": "error", "data": said}))) == []
    assert parser.unanswered() == ["trades of BTC"]
    assert [one.kind for one in faults(heard(parser, ack("trades", "BTC", nSigFigs=None)))] == [
        FaultKind.READY
    ]


def test_a_coin_that_is_not_there_is_refused_by_itself() -> None:
    parser = Hyperliquid()
    parser.open(Subscription(("BTC", "limit"), ("l2Book_fast",)), 0)
    said = 'Invalid subscription {"type":"l2Book","coin":"limit","fast":true}'
    (refused,) = faults(heard(parser, text({"channel": "error", "data": said})))
    assert (refused.kind, refused.channels, refused.symbols) == (
        FaultKind.REQUEST,
        ("l2Book_fast",),
        ("limit",),
    )


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, "null", FaultKind.RATE_LIMIT),
        (422, "Failed to deserialize the JSON body into the target type", FaultKind.REQUEST),
        (500, "null", FaultKind.REQUEST),
        (500, "Internal Server Error", FaultKind.TRANSIENT),
        (502, "", FaultKind.TRANSIENT),
    ],
)
def test_what_a_status_means(status: int, body: str, kind: FaultKind) -> None:
    fault = fault_of_status(status, body, 0.0, Hyperliquid.fault_codes)
    assert fault.kind is kind
    assert fault.retry_after_s == (10.0 if status == 429 else 0.0)


def test_an_answer_of_null_is_no_page() -> None:
    (request,) = Hyperliquid().history_requests(Kind.BAR, "BTC", 0, NS_PER_MINUTE)
    fault = refusal_of(Hyperliquid(), request, Frame("hyperliquid", "", 1, REST, 1, b"null"))
    assert fault is not None
    assert fault.kind is FaultKind.TRANSIENT


# instruments


def test_the_list_of_perpetuals_is_of_all_dexes_and_asked_for_by_post() -> None:
    (request,) = Hyperliquid.listing_requests()
    assert (request.path, request.body) == ("/info", b'{"type":"allPerpMetas"}')
    listed = shipped_instruments(Hyperliquid)
    for coin, symbol, price_step, size_step in (
        ("BTC", "BTC-USD-PERP", "0.1", "0.00001"),
        ("kPEPE", "kPEPE-USD-PERP", "0.000001", "1"),
        ("xyz:TSLA", "xyz:TSLA-USD-PERP", "0.001", "0.001"),
    ):
        one = listed.get(coin)
        assert one is not None
        assert (one.symbol, one.price_step, one.size_step) == (symbol, price_step, size_step)
        assert one.price_figures == 5


def test_spot_pairs_are_named_by_their_tokens_and_a_canonical_pair_keeps_a_name_that_others_bear() -> None:
    (request,) = HyperliquidSpot.listing_requests()
    assert isinstance(request, Request)
    assert request.body == b'{"type":"spotMeta"}'
    tokens = [("USDC", 0, 8), ("HYPE", 150, 2), ("HYPE", 900, 0), ("PURR", 1, 0)]
    pairs = [
        ("@700", [900, 0], False),
        ("@107", [150, 0], True),
        ("PURR/USDC", [1, 0], True),
        ("@8", [1, 77], False),
    ]
    page = {
        "universe": [{"name": name, "tokens": of, "isCanonical": known} for name, of, known in pairs],
        "tokens": [{"name": name, "index": index, "szDecimals": digits} for name, index, digits in tokens],
    }
    found = [(one.venue_symbol, one.symbol) for one in HyperliquidSpot.read_instruments(text(page).encode())]
    assert found == [("@107", "HYPE-USDC"), ("PURR/USDC", "PURR-USDC"), ("@700", "HYPE-USDC")]


@pytest.mark.parametrize("payload", [b"{}", b"null", b"[1]", b"<html>"])
def test_another_answer_is_no_list(payload: bytes) -> None:
    for exchange in (Hyperliquid, HyperliquidSpot):
        with pytest.raises(ValueError, match="not an instrument list"):
            exchange.read_instruments(payload)


# the recording


@pytest.mark.skipif(not RECORDING.exists(), reason="the shared recordings are not on this machine")
def test_the_recording_is_read_whole() -> None:
    parser, records = Hyperliquid(), list[Record]()
    for number, line in enumerate(gzip.decompress(RECORDING.read_bytes()).splitlines(), 1):
        frame = msgspec.json.decode(line)
        found = heard(parser, frame["frame"], frame["receive_time_ns"] // NS_PER_MS, number)
        assert all(isinstance(one, Record) for one in found)
        records += found
    assert Counter(type(one) for one in records) == {Book: 24, Trade: 32}
    repeated = [one for one in records if REPLAYED in one.flags]
    assert len(repeated) == 30
    assert len({one.record_key for one in records}) == len(records)
    assert all(len(one.bid_prices) == len(one.ask_orders) == 20 for one in records if isinstance(one, Book))
