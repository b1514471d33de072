"""The whole handshake, as the worker holds it, with the simulated venue."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etl.adapter.contract import Credentials, Fault, FaultKind, Outcome, Reply, Subscription
from etl.exchanges import load
from etl.model.records import Frame, Record
from tests.support.serving import WITHIN_S, simulator

SUBSCRIPTIONS = {
    "polygon": Subscription(("AAPL", "MSFT"), ("T", "Q", "A", "AM")),
    "alpaca": Subscription(("AAPL", "MSFT"), ("trades", "quotes", "bars")),
}


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_the_connection_gets_ready_and_gives_what_it_subscribed_to(tmp_path: Path, name: str) -> None:
    outcomes = asyncio.run(_conversation(tmp_path, name, Credentials("KEY", "SECRET")))
    assert [fault.kind for fault in outcomes if isinstance(fault, Fault)] == [FaultKind.READY]
    symbols = {outcome.symbol for outcome in outcomes if isinstance(outcome, Record)}
    assert symbols == {"AAPL", "MSFT"}


@pytest.mark.parametrize("name", SUBSCRIPTIONS)
def test_a_refused_key_is_an_authentication_fault(tmp_path: Path, name: str) -> None:
    outcomes = asyncio.run(_conversation(tmp_path, name, Credentials()))
    assert [fault.kind for fault in outcomes if isinstance(fault, Fault)] == [FaultKind.AUTHENTICATION]


async def _conversation(state_path: Path, name: str, credentials: Credentials) -> list[Outcome]:
    """Until sixty frames came, or the venue hung up."""
    parser, outcomes = load(name)(credentials), []
    async with simulator(state_path, name) as client:
        url = parser.connect_url(f"ws://{client.address}/{name}", SUBSCRIPTIONS[name])
        async with client.http.ws_connect(url, headers=parser.handshake_headers(1)) as socket:
            assert not parser.open(SUBSCRIPTIONS[name], 1)
            for number in range(60):
                message = await socket.receive(timeout=WITHIN_S)
                if not isinstance(message.data, str):
                    break
                frame = Frame(name, "c", number, url, 1, message.data.encode())
                for outcome in parser.parse(frame):
                    outcomes.append(outcome)
                    if isinstance(outcome, Reply):
                        assert isinstance(outcome.payload, str)
                        await socket.send_str(outcome.payload)
    return outcomes
