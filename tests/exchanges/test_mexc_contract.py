"""MEXC contracts: what the fact sheet's frames mean, beyond the fixtures."""

from __future__ import annotations

from etl.adapter.contract import Fault, FaultKind, Subscription
from etl.exchanges.mexc_contract import MexcContract
from etl.model.records import Frame, Kind
from etl.model.times import NS_PER_MINUTE

ACK = '{"channel":"rs.sub.%s","data":"success","ts":1}'
ERROR = '{"channel":"rs.error","data":"Contract [%s] not exists","ts":1}'


def said(parser: MexcContract, text: str) -> list[Fault]:
    outcomes = parser.parse(Frame("mexc_contract", "c", 1, "", 1, text.encode()))
    return [one for one in outcomes if isinstance(one, Fault)]


def test_acknowledgements_are_counted_by_channel_and_one_too_many_says_nothing() -> None:
    parser = MexcContract()
    parser.open(Subscription(("BTC_USDT", "ETH_USDT"), ("deal", "kline@Min1")), 0)
    assert [said(parser, ACK % channel) for channel in ("deal", "kline", "deal")] == [[], [], []]
    assert parser.unanswered() == ["1 of kline"]
    (ready,) = said(parser, ACK % "kline")
    assert ready.kind is FaultKind.READY
    assert (said(parser, ACK % "deal"), parser.unanswered()) == ([], [])


def test_a_contract_that_is_not_there_is_refused_once_for_all_its_channels_and_the_others_get_ready() -> None:
    parser = MexcContract()
    parser.open(Subscription(("BTC_USDT", "NOPE_USDT"), ("deal", "depth")), 0)
    (refused,) = said(parser, ERROR % "NOPE_USDT")
    assert (refused.kind, refused.channels, refused.symbols) == (
        FaultKind.REQUEST, ("deal", "depth"), ("NOPE_USDT",),
    )  # fmt: skip
    assert said(parser, ERROR % "NOPE_USDT") == []
    assert said(parser, ACK % "deal") == []
    (ready,) = said(parser, ACK % "depth")
    assert ready.kind is FaultKind.READY


def test_where_every_contract_is_refused_the_connection_is() -> None:
    parser = MexcContract()
    parser.open(Subscription(("NOPE_USDT",), ("deal",)), 0)
    (refused,) = said(parser, ERROR % "NOPE_USDT")
    assert (refused.kind, refused.channels, refused.symbols) == (FaultKind.REQUEST, (), ())


def test_each_stream_is_asked_for_in_a_message_of_its_own() -> None:
    asked = Subscription(("BTC_USDT",), ("depth", "depth.full", "kline@Hour4"))
    assert MexcContract().open(asked, 0) == [
        '{"method":"sub.depth","param":{"symbol":"BTC_USDT"}}',
        '{"method":"sub.depth.full","param":{"symbol":"BTC_USDT","limit":20}}',
        '{"method":"sub.kline","param":{"symbol":"BTC_USDT","interval":"Hour4"}}',
    ]


def test_bars_are_asked_for_in_spans_of_as_many_as_an_answer_holds() -> None:
    requests = MexcContract().history_requests(Kind.BAR, "BTC_USDT", 0, 2_001 * NS_PER_MINUTE)
    assert [request.path.partition("?")[2] for request in requests] == [
        "interval=Min1&start=0&end=119999",
        "interval=Min1&start=120000&end=120059",
    ]


def test_steps_of_the_list_are_plain_decimals() -> None:
    text = (
        '{"data":[{"symbol":"PEPE_USDT","baseCoin":"PEPE","quoteCoin":"USDT","priceUnit":1E-10,"volUnit":1}]}'
    )
    (pepe,) = MexcContract.read_instruments(text.encode())
    assert (pepe.symbol, pepe.price_step, pepe.size_step) == ("PEPE-USDT-PERP", "0.0000000001", "1")
