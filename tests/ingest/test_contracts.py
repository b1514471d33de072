"""Which contracts are carried, from their listing to their end."""

from __future__ import annotations

from etl.adapter.series import Contract, Series
from etl.ingest import contracts as module
from etl.ingest.contracts import Contracts
from etl.model.times import NS_PER_S

SERIES = Series(lambda prefix: (), lambda page: (), "status", str, sweep_s=30.0, ahead_s=90.0, kept_s=120.0)


def at(seconds: float) -> int:
    return int((1_000_000 + seconds) * NS_PER_S)


def contract(name: str, opens_s: float) -> Contract:
    return Contract(name, at(opens_s))


def due(known: Contracts, seconds: float) -> tuple[list[str], list[str], list[str]]:
    found = known.due(at(seconds))
    return [each.venue_symbol for each in found.joins], list(found.leaves), list(found.forgets)


def test_a_contract_is_joined_before_it_opens_and_let_go_some_time_after_the_list_has_it_no_more() -> None:
    known = Contracts(SERIES)
    known.list([contract("A", 200)], at(0))
    assert due(known, 109) == ([], [], [])
    assert due(known, 110) == (["A"], [], [])
    known.list([contract("A", 200)], at(1_080))
    known.list([], at(1_110))
    known.list([], at(1_140))
    assert due(known, 1_229) == ([], [], [])
    assert due(known, 1_230) == ([], ["A"], [])
    assert due(known, 1_239) == ([], [], [])
    assert due(known, 1_240) == ([], [], ["A"])
    assert known.due(at(1_230 + module.STATUSES_KEPT_S)).statuses == ["A"]
    assert len(known) == 0


def test_when_a_contract_opened_matters_for_an_hour() -> None:
    known = Contracts(SERIES)
    known.list([contract("OLD", 0), contract("NEW", 1)], at(3_601))
    assert known.due(at(3_601)).joins == [Contract("OLD"), contract("NEW", 1)]


def test_what_the_venue_tells_of_a_contract_needs_no_list() -> None:
    known = Contracts(SERIES)
    known.tell(contract("A", 0), at(5))
    assert due(known, 5) == (["A"], [], [])
    known.tell(Contract("A", is_over=True), at(900))
    known.tell(Contract("A", is_over=True), at(960))
    assert due(known, 1_020) == ([], ["A"], [])


def test_a_contract_that_the_list_has_again_is_not_over() -> None:
    known = Contracts(SERIES)
    known.list([contract("A", 0)], at(0))
    known.due(at(0))
    known.list([], at(30))
    known.list([contract("A", 0)], at(60))
    assert due(known, 600) == ([], [], [])


def test_of_what_an_earlier_life_knew_that_is_let_go_which_is_carried_no_more() -> None:
    known = Contracts(SERIES)
    known.list([contract("A", 0), contract("B", 900)], at(0))
    known.due(at(0))
    known.leave(["A", "B", "OLD"], at(0))
    assert due(known, 10) == ([], [], ["OLD"])


def test_more_than_there_is_room_for_wait_and_are_counted() -> None:
    known = Contracts(SERIES)
    listed = [contract(f"C{number}", 0) for number in range(module.CONTRACTS_MAX + 2)]
    known.list(listed, at(0))
    assert len(due(known, 0)[0]) == module.CONTRACTS_MAX
    assert known.turned_away == 2
    known.list(listed[2:], at(30))
    assert len(due(known, 150)[1]) == 2
    known.list(listed[2:], at(180))
    assert due(known, 180)[0] == ["C20000", "C20001"]
