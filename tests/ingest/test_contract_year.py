"""2,000 contracts a day: what a worker remembers of them is bounded, and of those that are over forgotten in time."""

from __future__ import annotations

from etl.model.records import GapKind
from tests.support.contract_year import WIDTH, Days

PERIODS = 110
"""A day and some more: what is held then is held for ever, as ``python -m tests.support.contract_year 365`` prints."""


def test_after_a_day_a_worker_holds_what_it_will_hold_after_a_year() -> None:
    days = Days()
    days.run(PERIODS)
    assert days.joined == (PERIODS + 1) * WIDTH
    assert dict(days.peaks) == {
        "contracts": 2_000 + 2 * WIDTH,  # of a day, of now and of next
        "followed": 2_000 + 4 * WIDTH,  # the statuses of these, and two channels of those of now
        "keys of positions": 2_000 + 4 * WIDTH + 1,
        "message keys": 3 * WIDTH,
        "books of the parser": WIDTH,
        "books of the intake": WIDTH,
    }
    assert len(days.metric_lines) == 1, "metrics grow with the contracts"
    # of the first status of each contract, and of none of its trades
    assert days.feed.counts.gaps == {GapKind.START: (PERIODS + 2) * WIDTH}
