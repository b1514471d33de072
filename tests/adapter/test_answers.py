"""A venue that grants and refuses the symbols of a subscription one by one."""

from __future__ import annotations

from msgspec.structs import replace

from etl.adapter.contract import Fault, FaultKind
from etl.adapter.handshake import Answers

READY = Fault(FaultKind.READY, "subscribed", "")
REFUSED = Fault(FaultKind.REQUEST, "subscribe", "no such pair")
OF_B = replace(REFUSED, channels=("trade",), symbols=("B",))


def asked(*symbols: str) -> Answers:
    answers = Answers()
    answers.ask([("trade", symbol) for symbol in symbols])
    return answers


def test_the_last_answer_makes_the_connection_ready_and_no_other() -> None:
    answers = asked("A", "B")
    assert answers.unanswered() == ["trade of A", "trade of B"]
    assert answers.grant("trade", "B") is None
    assert answers.grant("book", "A") is None, "nobody asked for it"
    assert answers.unanswered() == ["trade of A"]
    assert answers.grant("trade", "A") == READY
    assert answers.grant("trade", "A") is None, "as when it is subscribed to anew"
    assert answers.unanswered() == []


def test_a_refusal_is_of_one_symbol_and_the_others_go_on() -> None:
    answers = asked("A", "B")
    assert answers.refuse("trade", "B", REFUSED) == [OF_B]
    assert answers.grant("trade", "A") == READY
    assert answers.refuse("trade", "B", REFUSED) == [OF_B], "as when it is asked for again"
    answers = asked("A", "B")
    answers.grant("trade", "A")
    assert answers.refuse("trade", "B", REFUSED) == [READY, OF_B]


def test_where_all_are_refused_the_connection_is() -> None:
    answers = asked("A", "B")
    answers.refuse("trade", "B", REFUSED)
    assert answers.refuse("trade", "A", REFUSED) == [REFUSED]
