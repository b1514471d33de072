"""MEXC: what the fact sheet's frames mean, beyond the fixtures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.contract import Fault, FaultKind, Ignored, Rejected, Request, Subscription
from etl.errors import VenueError
from etl.exchanges import _mexc_pb2 as pb
from etl.exchanges.mexc import Mexc, place_of, topic_of
from etl.model.codes import Code
from etl.model.records import Bar, BarState, Frame, Kind, Record, Source, Trade
from etl.model.times import NS_PER_HOUR, NS_PER_MS
from etl.simulator.protobuf import protobuf

DEALS = "spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"
HISTORY = "https://api.mexc.com/api/v3/aggTrades?symbol=BTCUSDT&startTime=1&endTime=9999&limit=3"


def frame(payload: bytes, endpoint: str = "", received_ns: int = 1_790_000_000_000_000_000) -> Frame:
    return Frame("mexc", "c", 1, endpoint, received_ns, payload, Source.STREAM)


def deal(time_ms: int, price: str = "1", size: str = "2") -> dict[str, Any]:
    return {"1": price, "2": size, "3": 1, "4": time_ms}


def deals(*items: dict[str, Any]) -> bytes:
    return protobuf({"1": DEALS, "3": "BTCUSDT", "6": 1_789_999_999_950, "314": {"1": list(items)}})


def row(time_ms: int, price: str = "1", size: str = "2") -> str:
    return f'{{"a":null,"f":null,"l":null,"p":"{price}","q":"{size}","T":{time_ms},"m":false,"M":true}}'


def page(*rows: str) -> Frame:
    return frame(f"[{','.join(rows)}]".encode(), HISTORY)


def keys(outcomes: Any) -> list[str]:
    return [one.record_key for one in outcomes if isinstance(one, Record)]


def test_the_schema_compiled_is_the_schema_written() -> None:
    written = (Path(pb.__file__).parent / "_mexc.proto").read_text()
    found = re.findall(r"(\w+) = (\d+);", written)
    messages = pb.DESCRIPTOR.message_types_by_name.values()
    assert set(found) == {(field.name, str(field.number)) for message in messages for field in message.fields}


def test_stream_and_history_name_equal_trades_of_one_millisecond_alike() -> None:
    stream = Mexc().parse(frame(deals(deal(7, "1.50"), deal(7, "1.5", "2.0"), deal(8))))
    history = Mexc().parse(page(row(7, "1.5"), row(7, "1.5"), row(8)))
    assert keys(stream) == ["7/1.5/2/buy/0", "7/1.5/2/buy/1", "8/1/2/buy/0"]
    assert keys(history) == keys(stream)[:2], "what the last millisecond had is told by the next page"
    assert keys(Mexc().parse(page(row(7, "1.5"), row(7, "1.5")))) == keys(stream)[:2]


def test_a_message_cut_anywhere_gives_no_record() -> None:
    whole = deals(deal(1_789_999_999_900))
    for end in range(len(whole)):
        (outcome,) = Mexc().parse(frame(whole[:end]))
        assert isinstance(outcome, Rejected | Ignored), end
        assert not isinstance(outcome, Ignored) or outcome.name == "empty"


def test_each_channel_is_asked_for_by_itself_and_ready_comes_with_the_last_answer() -> None:
    parser = Mexc()
    asked = Subscription(("BTCUSDT", "NOPE"), ("aggre.deals@100ms", "kline@Min1"))
    assert parser.open(asked, 0) == [
        f'{{"method":"SUBSCRIPTION","params":["{topic_of(channel, "BTCUSDT")}","{topic_of(channel, "NOPE")}"],'
        f'"id":{n}}}'
        for n, channel in enumerate(asked.channels, 1)
    ]

    def said(text: str) -> list[Fault]:
        outcomes = parser.parse(frame(f'{{"id":0,"code":0,"msg":"{text}"}}'.encode()))
        return [one for one in outcomes if isinstance(one, Fault)]

    assert said(topic_of("aggre.deals@100ms", "BTCUSDT")) == []
    refusal = f"Not Subscribed successfully! [{topic_of('aggre.deals@100ms', 'NOPE')}].  Reason： Blocked! "
    (refused,) = said(refusal)
    assert (refused.kind, refused.channels, refused.symbols) == (
        FaultKind.REQUEST, ("aggre.deals@100ms",), ("NOPE",),
    )  # fmt: skip
    assert parser.unanswered() == ["kline@Min1 of BTCUSDT", "kline@Min1 of NOPE"]
    (ready,) = said(f"{topic_of('kline@Min1', 'BTCUSDT')},{topic_of('kline@Min1', 'NOPE')}")
    assert ready.kind is FaultKind.READY


@pytest.mark.parametrize("channel", ["aggre.depth@10ms", "kline@Hour4", "limit.depth@20"])
def test_a_stream_is_named_and_read_alike(channel: str) -> None:
    assert place_of(topic_of(channel, "BTCUSDT")) == ("BTCUSDT", channel)
    assert Mexc.channel(channel) is not None


def test_a_price_of_25_decimals_and_a_version_beyond_32_bits_stay_what_they_are() -> None:
    fine = "0.0000000001234567890123456"
    (trade,) = Mexc().parse(frame(deals(deal(1, fine))))
    assert isinstance(trade, Trade)
    assert trade.last_price == fine
    book = {"1": DEALS.replace("deals", "depth"), "313": {"4": "8589934592", "5": "8589934593"}}
    (change,) = Mexc().parse(frame(protobuf(book)))
    assert isinstance(change, Record)
    assert (change.first_sequence, change.sequence) == (8_589_934_592, 8_589_934_593)


def test_a_bar_is_over_when_the_venues_clock_says_so() -> None:
    def state(told_ms: int) -> BarState:
        bar = {"1": "Min1", "2": 60, "3": "1", "4": "2", "5": "3", "6": "1", "7": "4", "8": "5", "9": 120}
        topic = "spot@public.kline.v3.api.pb@BTCUSDT@Min1"
        (record,) = Mexc().parse(frame(protobuf({"1": topic, "5": told_ms, "308": bar})))
        assert isinstance(record, Bar)
        return record.bar_state

    assert (state(119_999), state(120_000)) == (BarState.OPEN, BarState.CLOSED)


def test_pages_of_trades_go_on_with_the_last_millisecond_and_past_it_where_it_fills_a_page() -> None:
    parser = Mexc()
    first, second = parser.history_requests(Kind.TRADE, "BTCUSDT", 5 * NS_PER_MS, NS_PER_HOUR + 6 * NS_PER_MS)
    assert first.path == "/api/v3/aggTrades?symbol=BTCUSDT&startTime=5&endTime=3600004&limit=1000"
    assert second.path == "/api/v3/aggTrades?symbol=BTCUSDT&startTime=3600005&endTime=3600005&limit=1000"
    request = Request(HISTORY.removeprefix("https://api.mexc.com"), Kind.TRADE, "BTCUSDT")

    def following(*times_ms: int) -> str:
        found = parser.next_request(request, page(*map(row, times_ms)))
        return found.path if found else ""

    assert "startTime=8" in following(7, 7, 8)
    assert "startTime=8" in following(7, 7, 7)
    assert following(7, 8) == ""
    with pytest.raises(VenueError):
        parser.next_request(request, page("1", "2", "3"))


def test_a_refused_request_says_what_it_is() -> None:
    for code, kind in (
        (429, FaultKind.RATE_LIMIT),
        (700002, FaultKind.AUTHENTICATION),
        (30014, FaultKind.REQUEST),
    ):
        _, fault = Mexc().parse(frame(f'{{"code":{code},"msg":"no"}}'.encode(), HISTORY))
        assert isinstance(fault, Fault)
        assert (fault.kind, fault.code) == (kind, str(code))


def test_a_message_of_another_symbol_than_its_stream_is_held() -> None:
    (outcome,) = Mexc().parse(frame(protobuf({"1": DEALS, "3": "ETHUSDT", "314": {"1": [deal(1)]}})))
    assert isinstance(outcome, Rejected)
    assert outcome.code is Code.SYMBOL_MISMATCH
