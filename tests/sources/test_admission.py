"""A venue that hands out a ticket for each connection."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from etl.adapter.contract import FaultKind, KeepAlive, Request, Subscription, Ticket
from etl.errors import VenueError
from etl.model.records import Kind
from etl.sources.admission import address_with, ticket_of
from tests.support.invented import SYMBOL, Invented
from tests.support.streaming import against_a_server, running
from tests.support.venue_server import VenueServer

PUBLIC = Subscription((SYMBOL,), ("trades",))
TICKET = '{"token":"%s","ping_ms":150}'
LIVE = Invented.websocket_url


class Ticketed(Invented):
    keepalive = KeepAlive("ping", 60.0)

    def ticket_request(self) -> Request:
        return Request("/ticket", Kind.STATUS, "", body=b"{}")

    def read_ticket(self, payload: bytes) -> Ticket:
        said = json.loads(payload)
        if "token" not in said:
            raise VenueError(f"no ticket: {payload[:40]!r}")
        return Ticket(
            f"token={said['token']}", "wss://elsewhere.example/", KeepAlive("ping", said["ping_ms"] / 1_000)
        )


@against_a_server
async def test_each_connection_shows_a_ticket_of_its_own_and_keeps_to_its_pace(server: VenueServer) -> None:
    server.answers["/ticket"] = (200, [TICKET % "t-1", TICKET % "t-2"])
    async with running(server, Ticketed, PUBLIC) as run:
        await run.until(lambda: server.received.count("ping") == 3)
        assert server.received_at[-1] - server.received_at[0] < 5.0, "and no minute"
        first = list(server._sockets.values())
        server.cut()
        await run.until(lambda: server.opened == 2 and server.connections == 1)
        second = list(server._sockets.values())
    path = run.connections[0].url.partition(str(server.port))[2]
    mark = "&" if "?" in path else "?"
    assert [*first, *second] == [f"{path}{mark}token=t-1", f"{path}{mark}token=t-2"]
    tickets = [body for body, asked in zip(server.bodies, server.requests, strict=True) if asked == "/ticket"]
    assert tickets == [b"{}"] * 2
    kept = [*run.publisher.delivered[run.settings.topics.raw], *map(str, run.connections[0].url)]
    assert "t-1" not in str(kept), "a key stays out of the raw topic"


@pytest.mark.parametrize(
    ("answer", "reason", "kind"),
    [((401, "no"), "authentication", FaultKind.AUTHENTICATION), ((200, '{"ping_ms":1}'), "connect", None)],
)
def test_a_refused_ticket_ends_the_attempt_as_what_it_is(
    answer: tuple[int, str], reason: str, kind: FaultKind | None
) -> None:
    @against_a_server
    async def refused(server: VenueServer) -> None:
        server.answers["/ticket"] = answer
        began = time.monotonic()
        async with running(server, Ticketed, PUBLIC) as run:
            await run.until(lambda: bool(run.ends))
            end = run.ends[0]
        assert (end.reason, end.fault and end.fault.kind) == (reason, kind)
        assert server.opened == 0
        assert time.monotonic() - began < 10.0

    refused()


def test_the_ticket_says_where_a_live_socket_is_opened_and_no_simulated_one() -> None:
    ticket = Ticket("token=t", "wss://elsewhere.example/")
    assert address_with(ticket, f"{LIVE}/#channels", Ticketed()) == "wss://elsewhere.example/?token=t"
    assert (
        address_with(ticket, "ws://127.0.0.1:1/venue/?a=b", Ticketed())
        == "ws://127.0.0.1:1/venue/?a=b&token=t"
    )
    assert address_with(Ticket("token=t"), f"{LIVE}/", Ticketed()) == f"{LIVE}/?token=t"
    assert address_with(None, f"{LIVE}/x#channels", Ticketed()) == f"{LIVE}/x"


def test_a_ticket_is_not_shown() -> None:
    assert "secret" not in repr(Ticket("token=secret"))


def test_without_a_request_interface_there_is_no_ticket() -> None:
    with pytest.raises(VenueError, match="/ticket"):
        asyncio.run(ticket_of(Ticketed(), None))
    assert asyncio.run(ticket_of(Invented(), None)) is None
