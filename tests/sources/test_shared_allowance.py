"""One request budget of several machines, on a real server: each has a file of its own, and what is spent is shared."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from etl.adapter.contract import Budget
from etl.embedded.ports import free_ports
from etl.errors import UsageError, VenueError
from etl.model.times import NS_PER_MINUTE, NS_PER_S
from etl.sources.access import VenueAccess
from etl.sources.limiter import Limiter
from etl.sources.shared_allowance import RedisAllowance
from tests.sources.test_limiter import HUNDRED

MACHINES = 8


@pytest.fixture
def name() -> str:
    """Of a budget that no other test spends."""
    return f"binance-{uuid.uuid4().hex[:12]}"


def machine(folder: Path, url: str, name: str, budgets: tuple[Budget, ...] = HUNDRED) -> Limiter:
    return Limiter(folder / uuid.uuid4().hex, budgets, shared=RedisAllowance(url, name))


@pytest.mark.integration
def test_machines_that_ask_at_once_spend_one_budget(tmp_path: Path, redis_url: str, name: str) -> None:
    """A bucket of 50 that gets 50 back in a day: of eight machines with 20 requests each, exactly 50 go."""
    slow = (Budget(100, 86_400.0),)
    machines = [machine(tmp_path, redis_url, name, slow) for _ in range(MACHINES)]
    with ThreadPoolExecutor(MACHINES) as pool:
        waits = list(pool.map(lambda one: [one.take(1) for _ in range(20)], machines))
    assert sum(wait == 0 for each in waits for wait in each) == 50


@pytest.mark.integration
def test_a_refusal_told_to_one_machine_stops_the_others(tmp_path: Path, redis_url: str, name: str) -> None:
    one, other = (machine(tmp_path, redis_url, name, ()) for _ in range(2))
    assert other.take(1) == 0
    one.refused(418, 600.0)
    assert 9 * NS_PER_MINUTE < other.take(1) <= 10 * NS_PER_MINUTE
    with pytest.raises(VenueError, match="takes no request for"):
        asyncio.run(other.admit(1))
    assert 540 < other.account().shut_s <= 600


@pytest.mark.integration
def test_each_machine_counts_its_own_requests_and_sees_what_all_left(
    tmp_path: Path, redis_url: str, name: str
) -> None:
    one, other = (machine(tmp_path, redis_url, name) for _ in range(2))
    asyncio.run(one.admit(25))
    one.answered(200, 0.01)
    assert one.account().statuses == {200: 1}
    assert other.account().statuses == {}
    assert other.account().budget == pytest.approx(0.5, abs=0.05)


@pytest.mark.integration
def test_budgets_of_other_names_are_not_spent(tmp_path: Path, redis_url: str, name: str) -> None:
    one, other = machine(tmp_path, redis_url, name), machine(tmp_path, redis_url, f"{name}-other")
    assert [one.take(50), other.take(50)] == [0, 0]
    assert 0 < one.take(1) < NS_PER_S * 2


def test_a_server_that_is_not_there_stops_requests_and_tells_no_password(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    limiter = machine(tmp_path, f"redis://etl:word@127.0.0.1:{port}", "binance")
    with pytest.raises(VenueError, match=f"request budget: .*127.0.0.1:{port}") as caught:
        asyncio.run(limiter.admit(1))
    assert "word" not in str(caught.value)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="an address of Redis must be"):
        RedisAllowance("postgresql://host/x", "binance")


@pytest.mark.integration
def test_two_workers_with_states_of_their_own_get_one_budget_by_the_setting(
    tmp_path: Path, redis_url: str
) -> None:
    from etl.exchanges import load
    from etl.settings import make

    accesses = [
        VenueAccess.from_settings(
            make(
                state_dir=str(tmp_path / state),
                live=True,
                request_budget_url=f"{redis_url}?prefix={uuid.uuid4()}:",
            ),
            load("binance"),
        )
        for state in ("one", "two")
    ]
    one, other = accesses
    assert one.limiter.take(1) == 0
    assert other.limiter.account().budget == 1.0  # another prefix is another budget
    shared = f"{redis_url}?prefix={uuid.uuid4()}:"
    one, other = (
        VenueAccess.from_settings(
            make(state_dir=str(tmp_path / state), live=True, request_budget_url=shared), load("binance")
        )
        for state in ("one", "two")
    )
    assert one.limiter.take(1_000) == 0
    assert other.limiter.account().budget < 0.9
