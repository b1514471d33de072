"""Contracts that come and go, in continuity: covered from their opening on, and forgotten with what they miss."""

from __future__ import annotations

import msgspec

from etl.model.records import Gap, GapKind, GapState, Record
from etl.sequencing.continuity import Continuity
from etl.sequencing.gap import NO_EVENT_AFTER, NO_EVENT_BEFORE
from tests.sequencing.test_continuity import DAY, MS, Venue, plain

NAME = ("KX-1", "KX-1")
CHANNELS = ["plain"]


def of(number: int) -> Record:
    return msgspec.structs.replace(plain(number), symbol="KX-1", venue_symbol="KX-1")


def spans(gaps: object) -> list[tuple[GapKind, GapState, int, int, tuple[str, ...]]]:
    assert isinstance(gaps, list)
    return [
        (g.gap_kind, g.gap_state, g.from_time_ns - DAY, g.to_time_ns and g.to_time_ns - DAY, g.flags)
        for g in gaps
    ]


def enlisted(opens_ns: int, now_ns: int) -> tuple[Continuity, list[Gap]]:
    continuity = Continuity(Venue)
    return continuity, list(continuity.enlist(NAME, CHANNELS, opens_ns, now_ns))


def test_a_contract_that_is_subscribed_to_before_it_opens_has_no_start() -> None:
    continuity, gaps = enlisted(DAY + 5 * MS, DAY)
    assert (gaps, list(continuity.observe(of(7)))) == ([], [])


def test_of_one_that_was_open_the_history_is_asked_until_its_first_record() -> None:
    continuity, gaps = enlisted(DAY, DAY + 5 * MS)
    assert spans(gaps) == [(GapKind.START, GapState.OPEN, 0, 0, (NO_EVENT_BEFORE,))]
    assert continuity.observe(of(7)) == []
    closed = continuity.decide()
    assert spans(closed) == [(GapKind.START, GapState.OPEN, 0, 7 * MS, (NO_EVENT_BEFORE,))]
    assert closed[0].record_key == gaps[0].record_key


def test_a_loss_before_its_first_record_is_a_gap_and_its_end_bounds_it() -> None:
    continuity, _ = enlisted(DAY + 5 * MS, DAY)
    (lost,) = continuity.lost(GapKind.DISCONNECT, "closed", DAY + 6 * MS, ["KX-1"])
    ended = list(continuity.dismiss("KX-1", CHANNELS, DAY + 9 * MS))
    flags = (NO_EVENT_BEFORE, NO_EVENT_AFTER)
    assert spans(ended) == [(GapKind.DISCONNECT, GapState.OPEN, 0, 9 * MS, flags)]
    assert (ended[0].record_key, dict(continuity.names())) == (lost.record_key, {})


def test_what_is_over_is_forgotten_and_only_an_open_gap_of_it_is_told() -> None:
    continuity, _ = enlisted(DAY, DAY)
    continuity.observe(of(1))
    assert dict(continuity.names()) == {"KX-1": "KX-1"}
    assert list(continuity.dismiss("KX-1", CHANNELS, DAY + 9 * MS)) == []
    assert (dict(continuity.names()), continuity.standings()) == ({}, {})
    continuity, _ = enlisted(DAY, DAY)
    continuity.observe(of(1))
    continuity.lost(GapKind.DISCONNECT, "closed", DAY + 6 * MS, ["KX-1"])
    ended = list(continuity.dismiss("KX-1", CHANNELS, DAY + 9 * MS))
    assert spans(ended) == [(GapKind.DISCONNECT, GapState.OPEN, MS, 9 * MS, (NO_EVENT_AFTER,))]


def test_a_contract_that_is_known_from_before_goes_on() -> None:
    continuity, _ = enlisted(DAY, DAY)
    continuity.observe(of(1))
    again = Continuity(Venue)
    for key, standing in continuity.standings().items():
        again.restore(key, standing)
    assert list(again.enlist(NAME, CHANNELS, DAY, DAY + 5 * MS)) == []
    assert list(again.observe(of(6))) == []
