from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path

import pytest

from etl.adapter.back_off import ASKED_WAIT_MAX_S
from etl.adapter.contract import Budget
from etl.errors import VenueError
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.sources.limiter import (
    BAN_WAIT_S,
    BURST_SHARE,
    NO_ANSWER,
    SECONDS_BOUNDS,
    Account,
    Allowance,
    Limiter,
    limit_path,
)

START_NS = 1_790_000_000 * NS_PER_S
PER_MINUTE = 6_000
BUDGETS = (Budget(PER_MINUTE, 60.0),)
HUNDRED = (Budget(100, 60.0),)


def granted(weight: int, minutes: int) -> list[tuple[int, int]]:
    """(time, weight) of every request that goes, asked for without a pause."""
    allowance, now_ns, went = Allowance(), START_NS, []
    while now_ns < START_NS + minutes * NS_PER_MINUTE:
        wait_ns, allowance = allowance.after(weight, BUDGETS, now_ns)
        if wait_ns:
            now_ns += wait_ns
        else:
            went.append((now_ns, weight))
    return went


@pytest.mark.parametrize("weight", [25, 50, 400])
def test_no_minute_wherever_it_begins_sees_more_than_the_limit(weight: int) -> None:
    went = granted(weight, minutes=4)
    for start_ns, _ in went:
        spent = sum(w for time_ns, w in went if start_ns <= time_ns < start_ns + NS_PER_MINUTE)
        assert spent <= PER_MINUTE + weight
    assert sum(w for _, w in went) > 2 * PER_MINUTE


def test_a_request_heavier_than_the_bucket_goes_when_the_bucket_is_full() -> None:
    wait_ns, after = Allowance().after(PER_MINUTE * 3, BUDGETS, START_NS)
    assert wait_ns == 0
    assert after.after(1, BUDGETS, START_NS)[0] == int(NS_PER_MINUTE / (PER_MINUTE * (1 - BURST_SHARE)))


def test_a_venue_without_a_published_limit_is_not_paced() -> None:
    assert Allowance().after(1_000_000, (), START_NS) == (0, Allowance())


def test_a_refusal_stops_everybody_for_as_long_as_the_venue_says() -> None:
    shut = Allowance().refused(429, 7.0, START_NS)
    assert shut.after(1, (), START_NS + 1)[0] == 7 * NS_PER_S - 1
    assert shut.after(1, (), START_NS + 7 * NS_PER_S)[0] == 0


def test_a_ban_without_a_duration_is_taken_for_the_shortest_there_is() -> None:
    shut = Allowance().refused(418, 0.0, START_NS)
    assert shut.shut_until_ns == START_NS + int(BAN_WAIT_S * NS_PER_S)


def test_a_shorter_refusal_does_not_end_a_longer_one() -> None:
    shut = Allowance().refused(418, 60.0, START_NS).refused(429, 1.0, START_NS)
    assert shut.shut_until_ns == START_NS + 60 * NS_PER_S


def test_limiters_on_one_file_share_its_budget(tmp_path: Path) -> None:
    path = limit_path(tmp_path, "binance", "https://api.binance.com", "")
    one, other = (Limiter(path, HUNDRED, lambda: START_NS) for _ in range(2))
    assert [one.take(20), other.take(20), one.take(10)] == [0, 0, 0]
    assert one.take(1) == other.take(1) > 0


def test_a_refusal_told_to_one_stops_the_other(tmp_path: Path) -> None:
    one, other = (Limiter(tmp_path / "limits" / "x", (), lambda: START_NS) for _ in range(2))
    one.refused(429, 3.0)
    assert other.take(1) == 3 * NS_PER_S


def test_a_request_that_would_wait_for_too_long_is_refused(tmp_path: Path) -> None:
    limiter = Limiter(tmp_path / "x", ())
    limiter.refused(418, 3_600.0)
    with pytest.raises(VenueError, match="takes no request for 3600 s"):
        asyncio.run(limiter.admit(1))


def test_the_name_of_the_file_tells_no_key(tmp_path: Path) -> None:
    path = limit_path(tmp_path, "alpaca", "https://data.alpaca.markets", "secret-key")
    assert path.parent == tmp_path / "limits"
    assert "secret" not in path.name
    assert path != limit_path(tmp_path, "alpaca", "https://data.alpaca.markets", "another-key")


def test_a_torn_file_counts_as_empty(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\x01\x02")
    assert Limiter(path, HUNDRED, lambda: START_NS).take(1) == 0
    assert path.stat().st_size == 16


def test_the_account_holds_what_every_process_asked_and_what_is_left(tmp_path: Path) -> None:
    path = limit_path(tmp_path, "binance", "https://api.binance.com", "")
    one, other = (Limiter(path, HUNDRED, lambda: START_NS) for _ in range(2))
    assert one.account() == Account(classes=[0] * (len(SECONDS_BOUNDS) + 1))
    one.take(20)
    one.answered(200, 0.004)
    other.answered(200, 0.006)
    other.answered(429, 100.0)
    other.answered(NO_ANSWER, 0.5)
    other.refused(429, 3.0)
    account = one.account()
    assert account.statuses == {NO_ANSWER: 1, 200: 2, 429: 1}
    assert (account.classes[:2], account.classes[-1], sum(account.classes)) == ([1, 1], 1, 4)
    assert account.seconds == pytest.approx(100.51)
    assert (account.budget, account.shut_s) == (0.0, 3.0)
    assert one.take(1) == 3 * NS_PER_S


def test_the_budget_is_the_share_of_the_bucket_that_is_left() -> None:
    bucket = PER_MINUTE * BURST_SHARE
    _, after = Allowance().after(int(bucket / 4), BUDGETS, START_NS)
    assert after.left(BUDGETS, START_NS) == pytest.approx(0.75)
    assert after.left(BUDGETS, START_NS + NS_PER_MINUTE) == 1.0
    assert Allowance().left((), START_NS) == 1.0


def test_a_request_waits_for_every_budget_and_counts_in_all() -> None:
    budgets = (Budget(100, 60.0), Budget(10, 1.0))  # buckets of 50 and 5
    allowance, now_ns, went = Allowance(), START_NS, []
    while now_ns < START_NS + 2 * NS_PER_MINUTE:
        wait_ns, allowance = allowance.after(1, budgets, now_ns)
        now_ns += wait_ns
        went += [] if wait_ns else [now_ns]
    for budget in budgets:
        window_ns = int(budget.per_s * NS_PER_S)
        most = max(sum(at <= other < at + window_ns for other in went) for at in went)
        assert budget.weight / 2 <= most <= budget.weight + 1
    assert went[:5] == [START_NS] * 5
    assert went[5] == START_NS + NS_PER_S // 5, "the second's bucket is empty first"
    assert went[-1] - went[-2] == int(60 * NS_PER_S / 50), "then the minute's"


def test_two_processes_share_both_budgets_whatever_their_order(tmp_path: Path) -> None:
    second, minute = Budget(10, 1.0), Budget(100, 60.0)
    now_ns = [START_NS]
    one = Limiter(tmp_path / "x", (second, minute), lambda: now_ns[0])
    other = Limiter(tmp_path / "x", (minute, second), lambda: now_ns[0])
    assert [one.take(3), other.take(2)] == [0, 0]
    assert one.take(1) == other.take(1) == NS_PER_S // 5
    assert one.account().budget == other.account().budget == 0.0, "of the second"
    now_ns[0] += NS_PER_S
    assert other.account().budget == pytest.approx(1 - 5 / 50 + 1 / 60), "of the minute"


def test_a_file_of_the_version_that_knew_one_budget_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "x"
    shut = START_NS + 2 * NS_PER_S
    counts = [7, *[0] * len(SECONDS_BOUNDS), 3, *[0] * 200, 3, *[0] * 399]
    path.write_bytes(struct.pack(f"<qq{len(counts)}q", START_NS + NS_PER_MINUTE, shut, *counts))
    now_ns = [START_NS]
    limiter = Limiter(path, (*HUNDRED, Budget(10, 1.0)), lambda: now_ns[0])
    assert limiter.take(1) == 2 * NS_PER_S
    assert limiter.account() == Account({200: 3}, counts[1:16], 7e-9, 0.0, 2.0)
    now_ns[0] = shut
    assert limiter.take(1) == 0
    assert limiter.take(1) == NS_PER_S * 4 // 10, "58 s of 60 were spent, and one request costs 1.2 s"


def test_a_time_that_no_bucket_can_have_costs_no_more_than_an_empty_one() -> None:
    ahead = Allowance((START_NS + 100 * NS_PER_MINUTE,), 0)
    assert ahead.after(1, BUDGETS, START_NS)[0] == int(NS_PER_MINUTE / (PER_MINUTE * (1 - BURST_SHARE)))


def test_a_clock_that_steps_back_shuts_nobody_out_for_longer_than_the_venue_asked(tmp_path: Path) -> None:
    now_ns = [START_NS]
    limiter = Limiter(tmp_path / "x", HUNDRED, lambda: now_ns[0])
    limiter.refused(429, 60.0)
    now_ns[0] -= 60 * NS_PER_MINUTE
    assert limiter.take(1) == limiter.account().shut_s * NS_PER_S == 60 * NS_PER_S
    now_ns[0] += 20 * NS_PER_S
    assert limiter.take(1) == 40 * NS_PER_S, "and the wait passes"
    now_ns[0] += 40 * NS_PER_S
    assert limiter.take(1) == 0


def test_a_clock_that_steps_back_costs_no_more_than_an_empty_bucket(tmp_path: Path) -> None:
    now_ns = [START_NS]
    limiter = Limiter(tmp_path / "x", HUNDRED, lambda: now_ns[0])
    assert limiter.take(50) == 0
    now_ns[0] -= 60 * NS_PER_MINUTE
    wait_ns = limiter.take(1)
    assert wait_ns == NS_PER_S * 12 // 10
    now_ns[0] += wait_ns
    assert limiter.take(1) == 0


def test_a_step_of_the_wall_clock_is_not_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter(tmp_path / "x", HUNDRED)
    limiter.refused(429, 60.0)
    hour_on_ns = time.time_ns() + 60 * NS_PER_MINUTE
    monkeypatch.setattr("time.time_ns", lambda: hour_on_ns)
    monkeypatch.setattr("time.time", lambda: hour_on_ns / NS_PER_S)
    assert 59 * NS_PER_S < limiter.take(1) <= 60 * NS_PER_S


@pytest.mark.parametrize("asked_s", [1e11, float("inf")])
def test_a_wait_beyond_all_reason_is_a_day(tmp_path: Path, asked_s: float) -> None:
    limiter = Limiter(tmp_path / "x", (), lambda: START_NS)
    limiter.refused(429, asked_s)
    assert limiter.take(1) == ASKED_WAIT_MAX_S * NS_PER_S


@pytest.mark.parametrize("asked_s", [float("nan"), -1.0])
def test_a_wait_that_is_no_number_is_none_at_all(tmp_path: Path, asked_s: float) -> None:
    limiter = Limiter(tmp_path / "x", (), lambda: START_NS)
    limiter.refused(418, asked_s)
    assert limiter.take(1) == BAN_WAIT_S * NS_PER_S


def test_a_ban_that_an_earlier_version_noted_by_the_wall_clock_is_over(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(struct.pack("<qq", 0, START_NS))
    assert Limiter(path, HUNDRED).take(1) == 0


def test_more_budgets_than_the_file_has_room_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="9 budgets"):
        Limiter(tmp_path / "x", [Budget(1, float(n + 1)) for n in range(9)])
