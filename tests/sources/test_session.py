"""What a connection sends, and when: by a venue that needs all of it."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

from etl.adapter.contract import PONG, KeepAlive, Subscription
from etl.model.times import NS_PER_MS
from etl.sources import snapshots
from etl.sources.sender import WAITING_MESSAGES_MAX
from tests.support.invented import SYMBOL, Invented
from tests.support.streaming import against_a_server, running
from tests.support.venue_server import VenueServer

PUBLIC = Subscription((SYMBOL,), ("trades", "book"))
SUBSCRIBED = '{"op":"subscribed","ch":"trades"}'


class Slow(Invented):
    """Two messages a second, and a keep-alive that comes first."""

    messages_per_s = 2.0
    keepalive = KeepAlive("ping", 0.2)


class Chatty(Invented):
    keepalive = KeepAlive("ping", 60.0)
    messages_per_s = 1.0

    def open(self, subscription: Subscription, now_ns: int) -> list[str]:
        return ["x"] * (WAITING_MESSAGES_MAX + 2)


def said(server: VenueServer) -> list[Any]:
    """All that was sent but keep-alives."""
    return [json.loads(text) for text in server.received if text != "ping"]


@against_a_server
async def test_the_handshake_and_the_subscriptions_carry_the_time_of_their_sending(
    server: VenueServer,
) -> None:
    before_ms = time.time_ns() // NS_PER_MS
    async with running(server, Invented, PUBLIC) as run:
        await run.until(lambda: len(server.received) == 2)
        after_ms = time.time_ns() // NS_PER_MS
        expected = Invented(run.connections[0].parser.credentials)
        at_ms = int(server.headers[0]["X-Time"])
        assert before_ms <= at_ms <= after_ms
        assert (
            server.headers[0]["X-Signature"] == expected.handshake_headers(at_ms * NS_PER_MS)["X-Signature"]
        )
        for text, channel in zip(server.received, PUBLIC.channels, strict=True):
            told = json.loads(text)
            assert (told["op"], told["ch"], told["syms"]) == ("subscribe", channel, [SYMBOL])
            assert before_ms <= told["ts"] <= after_ms


@against_a_server
async def test_a_keep_alive_is_sent_and_its_bare_answer_is_counted_and_not_parsed(
    server: VenueServer,
) -> None:
    server.replies["ping"] = "pong"
    async with running(server, Invented, PUBLIC) as run:
        await run.until(lambda: server.received.count("ping") == 4)
        await run.until(lambda: run.feed.counts.ignored[PONG] == 4)
        times = [at for at, text in zip(server.received_at, server.received, strict=True) if text == "ping"]
        assert all(0.4 < later - earlier < 1.0 for earlier, later in pairwise(times))
        assert (server.opened, run.ends) == (1, [])
        await run.until(lambda: run.raw_frames() == [b"pong"] * 4)
        assert not run.feed.counts.quarantined
        assert run.feed.counts.closed


@against_a_server
async def test_a_keep_alive_without_an_answer_ends_the_connection_as_stale(server: VenueServer) -> None:
    began = time.monotonic()
    async with running(server, Invented, PUBLIC) as run:
        await run.until(lambda: bool(run.ends))
        assert (run.ends[0].reason, run.ends[0].detail) == ("stale", "no answer to ping within 1 s")
        assert time.monotonic() - began > 1.4
        assert server.received.count("ping") == 2


@against_a_server
async def test_messages_are_paced_and_a_keep_alive_waits_for_no_subscription(server: VenueServer) -> None:
    wanted = Subscription((SYMBOL,), ("trades", "book", "bars_1m", "bars_5m"))
    async with running(server, Slow, wanted) as run:
        await run.until(lambda: len(server.received) >= 4)
        assert all(later - earlier > 0.45 for earlier, later in pairwise(server.received_at))
        order = [text if text == "ping" else json.loads(text)["ch"] for text in server.received[:4]]
        assert order == ["trades", "ping", "ping", "ping"], (
            "a pace that keep-alives use up leaves nothing else"
        )
        assert run.ends == []


@against_a_server
async def test_more_messages_than_may_wait_end_the_connection(server: VenueServer) -> None:
    async with running(server, Chatty, PUBLIC) as run:
        await run.until(lambda: bool(run.ends))
        assert run.ends[0].reason == "send_queue"


@against_a_server
async def test_a_broken_book_is_begun_anew_by_subscription_and_no_other_is_touched(
    server: VenueServer,
) -> None:
    server.replies["ping"] = "pong"
    pause_ns, snapshots.PAUSE_NS = snapshots.PAUSE_NS, 0
    try:
        wanted = Subscription((SYMBOL, "CCCBBB"), PUBLIC.channels)
        async with running(server, Invented, wanted) as run:
            await asyncio.to_thread(server.send, SUBSCRIBED)
            await run.until(lambda: run.connections[0].ready.is_set())
            await run.until(lambda: not run.connections[0].intake.snapshots_due_ns)
            await run.until(lambda: len(said(server)) == 2)
            run.connections[0].intake.snapshots_due_ns["CCCBBB"] = 1
            await run.until(lambda: len(said(server)) == 4)
            assert said(server)[2:] == [
                {"op": op, "ch": "book", "syms": ["CCCBBB"]} for op in ("unsubscribe", "subscribe")
            ]
            assert (server.requests, run.ends) == ([], [])
    finally:
        snapshots.PAUSE_NS = pause_ns
