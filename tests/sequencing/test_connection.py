from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter.contract import ConnectionSequence
from etl.model.records import Frame
from etl.sequencing import connection
from etl.sequencing.connection import ConnectionFollower
from tests.support.invented import Invented


def follow(*numbers: int, scope: str = "") -> list[str]:
    follower = ConnectionFollower()
    return [follower.follow(ConnectionSequence(number, scope)) for number in numbers]


def test_the_first_number_begins_wherever_it_is_and_the_next_ones_follow_by_one() -> None:
    assert follow(7, 8, 9) == ["", "", ""]
    assert follow(0, 1) == ["", ""]


def test_a_break_is_told_once_with_the_numbers_around_it() -> None:
    assert follow(1, 2, 5, 6) == ["", "", "message 5 follows 2: 3-4 missing", ""]
    assert follow(1, 4, scope="12") == ["", "message 4 of 12 follows 1: 2-3 missing"]


def test_a_number_that_comes_twice_or_goes_back_is_a_break() -> None:
    assert follow(5, 5, 6) == ["", "message 5 follows 5", ""]
    assert follow(5, 2, 3) == ["", "message 2 follows 5", ""]


def test_a_new_connection_begins_anew() -> None:
    assert follow(1, 2) == follow(100, 101) == ["", ""]


@given(
    st.dictionaries(st.sampled_from(["", "a", "b"]), st.sets(st.integers(1, 39), max_size=10), min_size=1),
    st.integers(0, 2**32),
)
def test_every_scope_is_followed_by_itself_whatever_comes_between(
    dropped: dict[str, set[int]], seed: int
) -> None:
    generator, follower = random.Random(seed), ConnectionFollower()
    waiting = {scope: [n for n in range(41) if n not in gone] for scope, gone in dropped.items()}
    breaks: dict[str, list[int]] = {scope: [] for scope in dropped}
    while any(waiting.values()):
        scope = generator.choice([scope for scope, numbers in waiting.items() if numbers])
        number = waiting[scope].pop(0)
        if follower.follow(ConnectionSequence(number, scope)):
            breaks[scope].append(number)
    after = {
        scope: [n for n in range(1, 41) if n not in gone and n - 1 in gone] for scope, gone in dropped.items()
    }
    assert breaks == after


def test_the_scopes_of_a_connection_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SCOPES_MAX", 2)
    follower = ConnectionFollower()
    for scope in ("a", "b", "c"):
        follower.follow(ConnectionSequence(1, scope))
    assert follower.follow(ConnectionSequence(9, "a")) == ""
    assert follower.follow(ConnectionSequence(9, "c")) == "message 9 of c follows 1: 2-8 missing"


def test_a_venue_s_own_frames_are_followed_scope_by_scope() -> None:
    parser, follower = Invented(), ConnectionFollower()
    told = [
        b'{"n":1,"sid":"a","op":"trade","sym":"AAABBB","id":5,"px":"1","qty":"2","ts":1700000000000,"side":"buy"}',
        b'{"n":1,"sid":"b","op":"subscribed","ch":"trades"}',
        b'{"n":3,"sid":"a","op":"trade","sym":"AAABBB","id":7,"px":"1","qty":"2","ts":1700000000000,"side":"buy"}',
        b'{"n":2,"sid":"b","op":"subscribed","ch":"trades"}',
    ]
    outcomes = [
        outcome
        for number, payload in enumerate(told, 1)
        for outcome in parser.parse(Frame("invented", "c", number, "wss://public", 1, payload))
    ]
    sequences = [outcome for outcome in outcomes if isinstance(outcome, ConnectionSequence)]
    assert [follower.follow(one) for one in sequences] == [
        "",
        "",
        "message 3 of a follows 1: 2-2 missing",
        "",
    ]
