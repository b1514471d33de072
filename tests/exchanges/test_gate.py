"""Gate: what its frames mean, beyond the fixtures."""

from __future__ import annotations

from decimal import Decimal

import pytest

from etl.adapter.contract import Fault, FaultKind, Rejected, Subscription
from etl.exchanges.gate import Gate
from etl.model.records import Bar, Frame, Gap, Kind, Record
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from tests.support import fixtures

NOW_NS = 1_790_359_171 * NS_PER_S
CHANGE = '{"t":%d,"s":"BTC_USDT",%s,"b":[],"a":[]}'
BOOK = f'{{"channel":"spot.order_book_update","event":"update","result":{CHANGE}}}'


def parsed(parser: Gate, text: str) -> list[object]:
    return [*parser.parse(Frame("gate", "c", 1, "", NOW_NS, text.encode()))]


def said(parser: Gate, text: str) -> list[Fault]:
    return [one for one in parsed(parser, text) if isinstance(one, Fault)]


def answer(number: int, error: str = "null") -> str:
    return f'{{"id":{number},"channel":"spot.trades","event":"subscribe","error":{error},"result":null}}'


def test_each_stream_is_asked_for_in_a_message_of_its_own_in_the_order_that_its_channel_wants() -> None:
    asked = Subscription(
        ("BTC_USDT",), ("spot.book_ticker", "spot.order_book_update@20ms", "spot.candlesticks@5m")
    )
    head = '{"time":1790359171,"id":%d,"channel":"spot.%s","event":"subscribe","payload":%s}'
    assert Gate().open(asked, NOW_NS + 999) == [
        head % (1, "book_ticker", '["BTC_USDT"]'),
        head % (2, "order_book_update", '["BTC_USDT","20ms"]'),
        head % (3, "candlesticks", '["5m","BTC_USDT"]'),
    ]


def test_an_answer_is_known_by_its_id_and_a_refusal_is_of_that_stream_alone() -> None:
    parser = Gate()
    parser.open(Subscription(("BTC_USDT", "NOPE_USDT"), ("spot.trades",)), NOW_NS)
    (refused,) = said(parser, answer(2, '{"code":2,"message":"unknown currency pair NOPE_USDT"}'))
    assert (refused.kind, refused.channels, refused.symbols) == (
        FaultKind.REQUEST, ("spot.trades",), ("NOPE_USDT",),
    )  # fmt: skip
    assert parser.unanswered() == ["spot.trades of BTC_USDT"]
    assert said(parser, answer(9)) == [], "of nothing that was asked"
    (ready,) = said(parser, answer(1))
    assert (ready.kind, parser.unanswered()) == (FaultKind.READY, [])
    assert said(parser, answer(1)) == [], "twice"


@pytest.mark.parametrize(("code", "kind"), [(3, FaultKind.TRANSIENT), (4, FaultKind.AUTHENTICATION)])
def test_what_is_no_fault_of_one_stream_is_told_of_the_connection(code: int, kind: FaultKind) -> None:
    parser = Gate()
    parser.open(Subscription(("BTC_USDT",), ("spot.trades",)), NOW_NS)
    (fault,) = said(parser, answer(1, f'{{"code":{code},"message":"m"}}'))
    assert (fault.kind, fault.channels, fault.reason) == (kind, (), "m")


def test_a_refused_event_names_its_instrument() -> None:
    frame = '{"channel":"%s","event":"update","result":{%s}}'
    for channel, event in (
        ("spot.trades", '"currency_pair":"BTC_USDT"'),
        ("spot.order_book_update", '"s":"BTC_USDT"'),
        ("spot.candlesticks", '"n":"1m_BTC_USDT"'),
    ):
        (outcome,) = parsed(Gate(), frame % (channel, event))
        assert isinstance(outcome, Rejected)
        assert outcome.venue_symbol == "BTC_USDT"


def test_the_path_ends_in_a_slash() -> None:
    url = Gate().connect_url(Gate.websocket_url, Subscription(("BTC_USDT",), ("spot.trades",)))
    assert url == "wss://api.gateio.ws/ws/v4/"


def test_bars_are_asked_for_in_spans_of_as_many_as_an_answer_holds_both_ends_included() -> None:
    requests = Gate().history_requests(Kind.BAR, "BTC_USDT", NS_PER_S, 1_001 * NS_PER_MINUTE)
    assert [request.path.partition("?")[2] for request in requests] == [
        "currency_pair=BTC_USDT&interval=1m&from=0&to=59939",
        "currency_pair=BTC_USDT&interval=1m&from=59940&to=60059",
    ]


def test_trades_are_asked_for_by_whole_seconds_and_go_back_by_id() -> None:
    parser = Gate()
    (first,) = parser.history_requests(Kind.TRADE, "BTC_USDT", 5 * NS_PER_S + 1, 7 * NS_PER_S + 1)
    assert first.path == "/api/v4/spot/trades?currency_pair=BTC_USDT&from=5&to=8&limit=1000&reverse=true"
    rows = ",".join(f'{{"id":"{number}","create_time_ms":"7000.5"}}' for number in range(1_999, 999, -1))
    frame = Frame("gate", "c", 1, "", 1, f"[{rows}]".encode())
    following = parser.next_request(first, frame)
    assert following is not None
    assert following.path == first.path + "&last_id=1000"
    assert parser.next_request(first, Frame("gate", "c", 1, "", 1, b"[]")) is None


def test_v_is_the_volume_in_the_quote_currency() -> None:
    """As the recording proves: 1.964 of FAST at 10.46."""
    path = fixtures.FOLDER / "gate.recorded.jsonl"
    parser = Gate()
    records = [
        one for line in fixtures.read(path) for one in parser.parse(fixtures.frame_of(line, "gate", 1))
    ]
    (bar,) = [one for one in records if isinstance(one, Bar) and one.venue_symbol == "FAST_USDT"]
    assert bar.volume is None
    assert Decimal(bar.quote_volume or "") == Decimal("1.964") * Decimal(bar.close or "")


def test_changes_follow_by_their_range_and_a_whole_book_amid_them_is_no_reset() -> None:
    parser, continuity = Gate(), Continuity(Gate, declares_start=False, window=Window(least_ns=0))
    gaps: list[Gap] = []
    for ms, ids in enumerate(
        ('"U":1,"u":4', '"full":true,"u":4', '"U":5,"u":5', '"full":true,"u":9', '"U":10,"u":11'), 1_790_359_171_000
    ):  # fmt: skip
        (record,) = parsed(parser, BOOK % (ms, ids))
        assert isinstance(record, Record)
        gaps += continuity.observe(record)
    (gap,) = [*gaps, *continuity.decide()]
    assert (gap.from_sequence, gap.to_sequence) == (6, 9)


def test_steps_of_the_list_are_counts_of_decimals() -> None:
    text = (
        '[{"id":"A_B","base":"A","quote":"B","precision":0,"amount_precision":3,"delisting_time":1790359171},'
        '{"id":"C_B","base":"C","quote":"B"}]'
    )
    one, other = Gate.read_instruments(text.encode())
    assert (one.symbol, one.price_step, one.size_step, one.expires_ns) == ("A-B", "1", "0.001", NOW_NS)
    assert (other.price_step, other.size_step, other.expires_ns) == ("", "", 0)
