"""A venue that grants and refuses the channels of a subscription one by one."""

from __future__ import annotations

from etl.adapter.contract import Credentials, Fault, FaultKind, Subscription
from etl.adapter.handshake import Grants
from etl.exchanges.alpaca import Alpaca
from etl.exchanges.polygon import Polygon, PolygonCrypto
from etl.model.records import Frame

REFUSED = Fault(FaultKind.ENTITLEMENT, "error", "not in your plan")


def told(grants: Grants, *channels: str, asked: tuple[str, ...] = ("T", "Q", "AM")) -> tuple[str, ...] | None:
    """Channels of the fault; ``None`` where nothing is told."""
    fault = grants.refuse([f"{channel}.AAPL" for channel in channels], asked, REFUSED)
    return fault.channels if fault else None


def test_each_refused_channel_is_told_once_and_the_last_ends_the_connection() -> None:
    grants = Grants()
    assert told(grants, "Q") == ("Q",)
    assert told(grants, "Q") is None
    assert told(grants, "AM", "Q") == ("AM",)
    assert told(grants, "T") == (), "nothing is left: told of the whole connection"


def test_what_was_granted_goes_on_whatever_is_refused_after_it() -> None:
    grants = Grants()
    grants.grant(["T.AAPL"])
    assert told(grants, "Q") == ("Q",)
    assert told(grants) == ("AM",), "a refusal without a name is of what was not granted"


def test_a_refusal_without_a_name_before_any_grant_is_of_all() -> None:
    assert told(Grants()) == ()
    assert told(Grants(), "X") == (), "nor does a name that nobody asked for make a part of it"


def said(parser: Polygon, status: str, message: str) -> list[Fault]:
    text = f'[{{"ev":"status","status":"{status}","message":"{message}"}}]'
    outcomes = parser.parse(Frame("polygon", "c", 1, "", 1, text.encode()))
    return [outcome for outcome in outcomes if isinstance(outcome, Fault)]


def test_polygon_tells_a_refused_channel_in_any_order_and_words() -> None:
    parser = Polygon(Credentials("k"))
    parser.open(Subscription(("AAPL", "MSFT"), ("T", "Q", "LULD")), 1)
    words = "not authorized for Q.AAPL, your plan does not include quotes"
    (fault,) = said(parser, "error", words)
    assert fault == Fault(FaultKind.ENTITLEMENT, "error", words, channels=("Q",))
    assert said(parser, "error", words.replace("AAPL", "MSFT")) == [], "once, however many symbols"
    (ready,) = said(parser, "success", "subscribed to: T.AAPL")
    assert ready.kind is FaultKind.READY
    (fault,) = said(parser, "not_authorized", "You are not authorized to subscribe to LULD.*")
    assert fault.channels == ("LULD",)


def test_streams_that_are_neither_granted_nor_refused_are_known_by_name() -> None:
    grants = Grants()
    asked = ["T.AAPL", "T.MSFT", "Q.AAPL", "Q.MSFT", "AM.AAPL"]
    assert grants.unanswered(asked) == asked
    grants.grant(["T.AAPL", "AM.*"])
    assert grants.unanswered(asked) == ["T.MSFT", "Q.AAPL", "Q.MSFT"]
    grants.refuse(["Q.AAPL"], ("T", "Q", "AM"), REFUSED)
    assert grants.unanswered(asked) == ["T.MSFT"], "what is refused is refused by channel"


def test_polygon_s_streams_are_answered_by_their_own_names() -> None:
    parser = Polygon(Credentials("k"))
    assert parser.unanswered() == ()
    parser.open(Subscription(("AAPL", "MSFT"), ("T", "LULD")), 1)
    assert parser.unanswered() == ["T.AAPL", "T.MSFT", "LULD.AAPL", "LULD.MSFT"]
    said(parser, "success", "subscribed to: T.AAPL,T.MSFT")
    said(parser, "success", "subscribed to: LULD.MSFT")
    assert parser.unanswered() == ["LULD.AAPL"]
    crypto = PolygonCrypto(Credentials("k"))
    crypto.open(Subscription(("X:BTC-USD",), ("XT",)), 1)
    said(crypto, "success", "subscribed to: XT.BTC-USD")
    assert crypto.unanswered() == []


def test_alpaca_s_list_of_subscriptions_is_held_against_what_was_asked() -> None:
    parser = Alpaca(Credentials("k", "s"))
    parser.open(Subscription(("AAPL", "MSFT"), ("trades", "quotes", "corrections")), 1)
    text = b'[{"T":"subscription","trades":["AAPL","MSFT"],"quotes":["AAPL"],"corrections":["AAPL"]}]'
    parser.parse(Frame("alpaca", "c", 1, "", 1, text))
    assert parser.unanswered() == ["quotes.MSFT"]
