from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import pytest

from etl.adapter.contract import (
    Exchange,
    Fault,
    FaultCode,
    FaultKind,
    Ignored,
    Outcome,
    Reply,
    Request,
    Subscription,
)
from etl.errors import TransportError
from etl.exchanges.binance import Binance
from etl.ingest.overlap import OVERLAP_DOUBLE
from etl.model.records import Frame, Kind, Trade
from etl.sources import answers, listener, liveness, read_gate, stream
from etl.sources.connection_id import connection_id
from etl.sources.fragments import FRAGMENTS_MAX
from etl.transports import frames
from tests.support.streaming import WITHIN_S, Run, against_a_server, running
from tests.support.venue_server import VenueServer, trade


class Spoken(Exchange):
    """A venue whose frames say what is to become of them."""

    name: ClassVar[str] = "binance"
    channels = Binance.channels
    event_time_min_ns = Binance.event_time_min_ns
    connections: ClassVar[int] = 0

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return f"{base_url}/stream"

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return ("hello", *subscription.symbols)

    def snapshot_requests(self, subscription: Subscription) -> Sequence[Request]:
        return [Request(f"/depth?symbol={symbol}", Kind.BOOK, symbol) for symbol in subscription.symbols]

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        text = frame.payload.decode(errors="replace")
        outcomes: dict[str, Outcome] = {
            "ping": Reply("pong"),
            "ready": Fault(FaultKind.READY, "ok", ""),
            "shutdown": Fault(FaultKind.SHUTDOWN, "bye", ""),
            "denied": Fault(FaultKind.AUTHENTICATION, "401", "no"),
            "again": Fault(FaultKind.TRANSIENT, "500", "oops"),
            "refused": Fault(FaultKind.ENTITLEMENT, "403", "not in your plan"),
            "refused trade": Fault(FaultKind.ENTITLEMENT, "403", "no trades", channels=("trade",)),
            "refused one": Fault(
                FaultKind.REQUEST, "404", "no such", channels=("trade",), symbols=("BTCUSDT",)
            ),
        }
        return [Ignored(text), *([outcomes[text]] if text in outcomes else [])]


class OneConnection(Spoken):
    connections_max = 1


class ShortLived(Spoken):
    connection_life_s = 1.0
    ready_on_open = True


class ShortLivedBinance(Binance):
    connection_life_s = 1.0


class Mute(Binance):
    """Its trades may be silent for half a second."""

    channels = tuple(
        type(c)(c.name, c.kind, c.rule, c.repair, 0.5) for c in Binance.channels if c.name == "trade"
    )


ROW = (
    '{"id":2,"price":"1.5","qty":"2","quoteQty":"3","time":1790000000002,"isBuyerMaker":true,'
    '"isBestMatch":true}'
)


@against_a_server
async def test_what_must_be_said_at_the_opening_is_said_and_replies_are_sent(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ping")
        await run.until(lambda: server.received == ["hello", "BTCUSDT", "ETHUSDT", "pong"])


@against_a_server
async def test_binary_messages_and_fragments_are_frames_too(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, b"\x00\xff")
        await asyncio.to_thread(server.send_fragments, b"one ", b"two ", b"three")
        await asyncio.to_thread(server.send, "after")
        await run.until(lambda: len(run.raw_frames()) == 3)
        assert run.raw_frames() == [b"\x00\xff", b"one two three", b"after"]


def ws(text: bytes, opcode: int = 1) -> bytes:
    """A websocket frame as a server writes it."""
    return bytes((0x80 | opcode, len(text))) + text


@against_a_server
async def test_the_frames_of_one_read_keep_their_order_whatever_lies_between_and_behind_them(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await run.until(lambda: server.received != [])
        read = [ws(b"one"), ws(b"ping"), ws(b"?", 9), ws(b"two"), ws(b"\x00", 2), ws(b"three"), ws(b"denied")]
        await asyncio.to_thread(server.send_as_it_is, b"".join(read))
        await run.until(lambda: len(run.raw_frames()) == 6)
        assert run.raw_frames() == [b"one", b"ping", b"two", b"\x00", b"three", b"denied"]
        await run.until(lambda: [end.reason for end in run.ends] == ["authentication"])


@against_a_server
async def test_what_came_before_bytes_that_are_no_websocket_s_is_taken(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await run.until(lambda: server.received != [])
        read = ws(b"one") + ws(b"two") + ws(b"three") + b"\x83\x01x" + ws(b"four")
        await asyncio.to_thread(server.send_as_it_is, read)
        await run.until(lambda: run.ends != [])
        assert run.raw_frames()[:2] == [
            b"one",
            b"two",
        ]  # the library may give up with the one that is at hand
        assert run.raw_frames()[2:] in ([], [b"three"])


@against_a_server
async def test_a_message_beyond_the_limit_costs_the_connection(server: VenueServer) -> None:
    limit, frames.FRAME_BYTES_LIMIT = frames.FRAME_BYTES_LIMIT, 135_000
    try:
        async with running(server, Spoken, frame_bytes_max=100_000) as run:
            await asyncio.to_thread(server.send, "x" * 300_000)
            await run.until(lambda: server.opened == 2)
            await asyncio.to_thread(server.send_fragments, *[b"x" * 50_000] * 4)
            await run.until(lambda: server.opened == 3)
            assert [end.reason for end in run.ends] == ["too_large", "too_large"]
            assert [len(payload) for payload in run.raw_frames()] == []
    finally:
        frames.FRAME_BYTES_LIMIT = limit


@against_a_server
async def test_a_message_of_empty_fragments_without_end_costs_the_connection_and_no_time(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await run.until(lambda: server.connections == 1)
        began_s = time.process_time()
        await asyncio.to_thread(server.send_as_it_is, b"\x01\x00" + b"\x00\x00" * 40_000)
        await run.until(lambda: server.opened == 2)
        assert time.process_time() - began_s < 5.0
        assert run.ends[0].detail == f"a message of more than {FRAGMENTS_MAX} fragments"
        assert run.raw_frames() == []


@against_a_server
async def test_pings_of_one_read_are_answered_once_and_a_flood_of_them_ends_the_connection(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await run.until(lambda: server.connections == 1)
        await asyncio.to_thread(server.send_as_it_is, b"\x89\x01a" * 9 + b"\x89\x01b")
        await run.until(lambda: server.pongs == [b"b"])
        await asyncio.to_thread(server.send_as_it_is, b"\x89\x00\x8a\x00" * 20_000)
        await run.until(lambda: server.opened == 2)
        assert (run.ends[0].reason, run.ends[0].detail) == ("flood", "1024 control frames in one read")
        assert len(server.pongs) < 5


@against_a_server
async def test_a_message_larger_than_a_message_takes_lies_in_parts_and_is_one_frame_to_the_parser(
    server: VenueServer,
) -> None:
    text = os.urandom(50_000).hex()
    async with running(server, Spoken, frame_bytes_max=20_000) as run:
        await asyncio.to_thread(server.send, text, "after")
        await run.until(lambda: run.feed.counts.frames == 2)
        assert run.feed.counts.events_read == 2
        run.publisher.poll()
        found = run.publisher.delivered[run.settings.topics.raw]
        encodings = [dict(message.headers).get("encoding", b"") for message in found]
        assert len(found) > 2
        assert [text.rpartition(b" ")[2] for text in encodings[:-1]] == [
            b"%d/%d" % (number, len(found) - 1) for number in range(1, len(found))
        ]
        assert {dict(message.headers)["frame_sequence"] for message in found[:-1]} == {b"1"}
        assert (found[-1].value, encodings[-1]) == (b"after", b"")


@against_a_server
async def test_snapshots_are_asked_for_once_ready_and_enter_as_frames(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "before")
        await run.until(lambda: b"before" in run.raw_frames())
        assert server.requests == []
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: len(run.raw_frames()) == 4)
        assert server.requests == ["/depth?symbol=BTCUSDT", "/depth?symbol=ETHUSDT"]
        headers = [dict(m.headers) for m in run.publisher.delivered[run.settings.topics.raw]]
        assert [h["endpoint"].decode().partition(f":{server.port}")[2] for h in headers] == [
            "/stream", "/stream", "/depth?symbol=BTCUSDT", "/depth?symbol=ETHUSDT",
        ]  # fmt: skip
        assert [h["frame_sequence"] for h in headers] == [b"1", b"2", b"3", b"4"]


@against_a_server
async def test_reading_stops_while_the_transport_is_stalled_and_nothing_is_lost(server: VenueServer) -> None:
    sent = [f"{n:06d}" + "x" * 500 for n in range(40_000)]
    async with running(server, Spoken, read_pause_messages=100, read_resume_messages=50) as run:
        await asyncio.to_thread(server.send, "first")
        await run.until(lambda: run.raw_frames() == [b"first"])
        run.publisher.stalled = True
        server.send_without_waiting(*sent)
        await run.until(lambda: run.gate.paused)
        await asyncio.sleep(0.3)
        held = run.publisher.pending_messages
        await asyncio.sleep(0.3)
        assert run.publisher.pending_messages == held < len(sent)
        run.publisher.stalled = False
        await run.until(lambda: len(run.raw_frames()) == 1 + len(sent))
        assert run.raw_frames()[1:] == [text.encode() for text in sent]
        assert run.ends == []


@against_a_server
async def test_a_burst_comes_in_bounded_reads_however_far_behind_the_worker_is(server: VenueServer) -> None:
    burst, bursts = ["x" * 60_000] * 500, 4
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "first")
        await run.until(lambda: run.raw_frames() == [b"first"])
        for _ in range(bursts):
            server.send_without_waiting(*burst)
            time.sleep(0.5)  # noqa: ASYNC251  stops all reading: what is sent piles up, as far as the kernel takes it
            await asyncio.sleep(0.5)
        await run.until(lambda: len(run.raw_frames()) == 1 + bursts * len(burst))
        read_bytes: Counter[bytes] = Counter()
        for message in run.publisher.delivered[run.settings.topics.raw]:
            read_bytes[dict(message.headers)["receive_time_ns"]] += len(message.value)
        assert listener.READ_BYTES < max(read_bytes.values()) <= 3 * listener.RECEIVE_BUFFER_BYTES


@against_a_server
async def test_a_connection_cut_without_a_word_is_lost_and_opened_again(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: run.connections[0].ready.is_set())
        await asyncio.to_thread(server.cut)
        await run.until(lambda: server.opened == 2)
        assert [(end.reason, end.was_ready) for end in run.ends] == [("disconnect", True)]
        assert run.connections[0].intake.connection_id < run.connections[1].intake.connection_id


@against_a_server
async def test_a_close_frame_s_code_is_the_reason_in_the_ledger(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: run.connections[0].ready.is_set())
        await asyncio.to_thread(server.close)
        await run.until(lambda: len(run.ends) == 1)
        assert run.ends[0].reason == "disconnect"
        assert "1001" in run.ends[0].detail
        assert "going away" in run.ends[0].detail


@against_a_server
async def test_a_venue_that_refuses_the_key_is_not_hammered(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "denied")
        await run.until(lambda: len(run.ends) == 1)
        assert (run.ends[0].reason, run.ends[0].detail) == ("authentication", "401: no")
        await asyncio.sleep(0.5)
        assert server.opened == 1
        assert run.feed.counts.faults == {"authentication": 1}


@against_a_server
async def test_an_announced_shutdown_opens_the_successor_before_the_old_connection_is_closed(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready", "shutdown")
        await run.until(lambda: server.connections == 2)
        assert run.overlaps == [True]
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: server.connections == 1)
        await run.until(lambda: run.overlaps == [True, False])
        assert run.ends == []
        assert server.opened == 2


@against_a_server
async def test_an_old_connection_that_ends_before_its_successor_is_ready_is_lost_at_once(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready", "shutdown")
        await run.until(lambda: server.connections == 2)
        await asyncio.to_thread(server.close_first)
        await run.until(lambda: len(run.ends) == 1)
        assert not run.connections[1].ready.is_set()
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: run.connections[1].ready.is_set())
        assert (len(run.ends), server.opened) == (1, 2)


@against_a_server
async def test_an_old_connection_that_ends_by_itself_after_its_successor_is_ready_is_not_lost(
    server: VenueServer,
) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready", "shutdown")
        await run.until(lambda: server.connections == 2)
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: run.connections[1].ready.is_set())
        await asyncio.to_thread(server.close_first)
        await run.until(lambda: run.overlaps == [True, False])
        assert (run.ends, server.opened) == ([], 2)


@against_a_server
async def test_one_connection_per_key_is_closed_before_the_next_is_opened(server: VenueServer) -> None:
    async with running(server, OneConnection) as run:
        await asyncio.to_thread(server.send, "ready", "shutdown")
        await run.until(lambda: server.opened == 2)
        assert [end.reason for end in run.ends] == ["planned"]
        assert run.overlaps == []


@against_a_server
async def test_a_connection_is_replaced_before_the_venue_s_own_limit_with_no_loss(
    server: VenueServer,
) -> None:
    async with running(server, ShortLived) as run:
        await run.until(lambda: server.opened >= 2)
        await run.until(lambda: run.overlaps[:2] == [True, False])
        assert run.ends == []


@against_a_server
async def test_of_what_both_connections_give_while_one_replaces_the_other_the_double_is_left_out(
    server: VenueServer,
) -> None:
    async with running(server, ShortLivedBinance) as run:
        await run.until(lambda: server.connections == 2)
        await asyncio.to_thread(server.send, trade(1), trade(2))
        await run.until(lambda: run.feed.counts.ignored[OVERLAP_DOUBLE] == 2)
        await run.until(lambda: run.overlaps[:2] == [True, False])
        assert run.ends == []
        trades = [m for m in run.published() if isinstance(m, Trade)]
        assert [record.trade_id for record in trades] == ["1", "2"]
        assert run.feed.counts.closed


@against_a_server
async def test_silence_of_a_closed_market_costs_no_connection(server: VenueServer) -> None:
    async with running(server, Mute) as run:
        run.hours.open = False
        await asyncio.to_thread(server.send, trade(1))
        await run.until(lambda: run.hours.asked_s > 1.5)
        assert (server.opened, run.ends) == (1, [])
        run.hours.open = True
        server.answers["/api/v3/historicalTrades"] = 200, f"[{ROW}]"
        await run.until(lambda: server.opened >= 2)
        assert run.ends[0].reason == "stale"


@against_a_server
async def test_a_channel_that_goes_mute_costs_the_connection_not_the_worker(server: VenueServer) -> None:
    async with running(server, Mute) as run:
        server.answers["/api/v3/historicalTrades"] = 200, f"[{ROW}]"
        await asyncio.to_thread(server.send, trade(1), trade(1, "ETHUSDT"))
        await run.until(lambda: server.opened >= 2)
        assert run.ends[0].reason == "stale"
        assert re.fullmatch(
            "trade of (BTC|ETH)USDT: silent for . s, and the venue's history has more; nothing else is heard",
            run.ends[0].detail,
        )


@against_a_server
async def test_steps_of_the_clock_close_no_healthy_connection_and_hide_no_dead_one(
    server: VenueServer,
) -> None:
    steps_s = [0.0]
    true_ns = time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time_ns", lambda: true_ns() + int(steps_s[0] * 1e9))
        async with running(server, Mute, Subscription(("BTCUSDT",), ("trade",))) as run:
            for number in range(1, 16):
                if number % 5 == 0:
                    steps_s[0] += (26.0, 3_600.0, -7_200.0)[number // 5 - 1]
                await asyncio.to_thread(server.send, trade(number))
                await asyncio.sleep(0.1)
            assert (server.opened, run.ends) == (1, [])
            server.answers["/api/v3/historicalTrades"] = 200, f"[{ROW.replace('2', '16', 1)}]"
            await run.until(lambda: server.opened >= 2)
            assert run.ends[0].reason == "stale"
            assert run.ends[0].detail.startswith("trade of BTCUSDT: silent for ")


class Partly(Spoken):
    """Ready when it says so; its trades may be silent for half a second."""

    channels = Mute.channels


@against_a_server
async def test_what_is_refused_of_a_subscription_is_reported_and_the_rest_goes_on(
    server: VenueServer,
) -> None:
    """Before anything is granted, and after it; the refused channel's silence is none."""
    async with running(server, Partly) as run:
        for text in ("refused trade", "ready", "refused"):
            await asyncio.to_thread(server.send, text)
        await run.until(lambda: run.feed.counts.faults == {"entitlement": 2})
        await asyncio.sleep(1.2)
        assert (server.opened, run.ends) == (1, [])


@against_a_server
async def test_of_a_channel_that_is_refused_for_one_symbol_the_others_are_still_watched(
    server: VenueServer,
) -> None:
    server.answers["/api/v3/historicalTrades"] = 400, "no"
    async with running(server, Partly, Subscription(("BTCUSDT", "ETHUSDT"), ("trade",))) as run:
        for text in ("refused one", "ready"):
            await asyncio.to_thread(server.send, text)
        await run.until(lambda: run.feed.counts.silences["unknown"] == 1)


@against_a_server
async def test_a_channel_that_never_gives_a_frame_has_a_clock_from_when_it_was_subscribed(
    server: VenueServer,
) -> None:
    """By it the monitor finds the channel silent; a new connection does not set it back."""
    server.answers["/api/v3/aggTrades"] = 400, "no"
    async with running(server, Mute) as run:
        await run.until(lambda: "trade" in run.feed.counts.last_receive_ns)
        first_ns = run.feed.counts.last_receive_ns["trade"]
        await run.until(lambda: server.opened >= 3)
        assert run.feed.counts.last_receive_ns == {"trade": first_ns}


@against_a_server
async def test_a_refusal_of_all_ends_the_connection(server: VenueServer) -> None:
    async with running(server, Partly) as run:
        await asyncio.to_thread(server.send, "refused")
        await run.until(lambda: len(run.ends) == 1)
        assert run.ends[0].reason == "entitlement"


@against_a_server
async def test_a_server_that_is_not_there_is_tried_again_and_again(server: VenueServer) -> None:
    run = Run(server, Spoken)
    run.server = VenueServer()
    run.server.port = 1
    task = asyncio.create_task(run.stream.run())
    await run.until(lambda: len(run.ends) >= 2)
    run.stop.set()
    await asyncio.wait_for(task, WITHIN_S)
    assert {(end.reason, end.was_ready) for end in run.ends} == {("connect", False)}


@against_a_server
async def test_a_stop_while_a_server_does_not_answer_the_handshake_ends_in_time(server: VenueServer) -> None:
    reached = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.set()
        try:
            await reader.read(-1)
        finally:
            writer.close()

    deaf = await asyncio.start_server(silent, "127.0.0.1", 0)
    run = Run(server, Spoken)
    run.server = VenueServer()
    run.server.port = deaf.sockets[0].getsockname()[1]
    task = asyncio.create_task(run.stream.run())
    await asyncio.wait_for(reached.wait(), WITHIN_S)
    run.stop.set()
    await asyncio.wait_for(task, stream.CLOSE_TIMEOUT_S + 3.0)
    assert [end.reason for end in run.ends] == ["planned"]
    deaf.close()


@against_a_server
async def test_a_stop_during_a_rotation_closes_both_connections(server: VenueServer) -> None:
    async with running(server, Spoken) as run:
        await asyncio.to_thread(server.send, "ready", "shutdown")
        await run.until(lambda: server.connections == 2)
        run.stop.set()
        await run.until(lambda: server.connections == 0)
    assert len(run.ends) == 2
    assert run.overlaps == [True, False]


@against_a_server
async def test_an_error_while_a_snapshot_is_taken_ends_the_stream_with_it(server: VenueServer) -> None:
    run = Run(server, Spoken)
    async with run.history:
        task = asyncio.create_task(run.stream.run())
        await asyncio.to_thread(server.send, "hello")
        await run.until(lambda: len(run.connections) == 1 and run.feed.counts.frames == 1)
        connection = run.connections[0]
        connection.intake.take = _fail  # type: ignore[method-assign]
        connection.ready.set()
        with pytest.raises(TransportError, match="gone"):
            await asyncio.wait_for(task, WITHIN_S)


def _fail(payload: bytes, receive_time_ns: int, endpoint: str | None = None) -> Sequence[Reply | Fault]:
    raise TransportError("gone")


@against_a_server
async def test_a_transport_that_failed_for_good_ends_the_stream_with_its_error(server: VenueServer) -> None:
    run = Run(server, Spoken)
    async with run.history:
        task = asyncio.create_task(run.gate.poll())
        run.publisher.fail("gone")
        with pytest.raises(Exception, match="gone"):
            await asyncio.wait_for(task, WITHIN_S)


def test_connection_ids_are_version_7_and_sort_by_time() -> None:
    early, late = connection_id(1_000_000_000_000_000_000), connection_id(1_000_000_000_001_000_000)
    assert early < late
    assert (early[14], early[19] in "89ab", len(early)) == ("7", True, 36)
    assert int(early.replace("-", "")[:12], 16) == 1_000_000_000_000
    assert connection_id(1) != connection_id(1)


def test_limits_of_the_source_are_named() -> None:
    assert read_gate.POLL_S < stream.WATCH_S < liveness.PING_IDLE_S


class Unanswered(Spoken):
    """Told of one stream that it has it, of the other nothing."""

    def unanswered(self) -> Sequence[str]:
        return ["Q.AAPL"]


@against_a_server
async def test_a_stream_that_is_neither_granted_nor_refused_is_reported_for_as_long_as_it_lasts(
    server: VenueServer,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "ANSWER_WITHIN_S", 0.1)
        patch.setattr(answers, "REPORT_EVERY_S", 0.1)
        async with running(server, Unanswered) as run:
            await run.until(lambda: run.feed.counts.faults["unanswered"] == 2)
            assert (server.opened, run.ends) == (1, [])


class Paced(Unanswered):
    """Asked for two streams, a second apart."""

    messages_per_s = 1.0

    def open(self, subscription: Subscription, now_ns: int) -> Sequence[str]:
        return ["1", "2"]


@against_a_server
async def test_what_waits_to_be_asked_for_is_not_missed_as_an_answer(server: VenueServer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "ANSWER_WITHIN_S", 0.1)
        async with running(server, Paced) as run:
            await run.until(lambda: run.feed.counts.faults["unanswered"] == 1)
            assert server.received == ["1", "2"]


class Coded(Spoken):
    fault_codes = (FaultCode(4008, FaultKind.SUBSCRIPTION_LIMIT),)


@against_a_server
async def test_a_close_code_of_the_venues_own_is_its_fault(server: VenueServer) -> None:
    async with running(server, Coded) as run:
        await asyncio.to_thread(server.send, "ready")
        await run.until(lambda: run.connections[0].ready.is_set())
        await asyncio.to_thread(server.close_with, (4008).to_bytes(2, "big") + b"too many")
        await run.until(lambda: len(run.ends) == 1)
        assert (run.ends[0].reason, run.ends[0].detail) == ("subscription_limit", "close frame 4008 too many")
        assert run.ends[0].fault == Fault(FaultKind.SUBSCRIPTION_LIMIT, "4008", "too many")
        assert run.feed.counts.faults == {"subscription_limit": 1}


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "without a code"),
        (b"\x03", "1000"),  # no code at all: what we answered comes back
        ((1012).to_bytes(2, "big") + b"service restart", "1012 service restart"),
        ((1013).to_bytes(2, "big"), "1013"),
        ((4000).to_bytes(2, "big") + b"x" * 123, "4000 " + "x" * 123),
        ((4001).to_bytes(2, "big") + b"caf\xe9", "1000"),  # no UTF-8: the same
    ],
)
def test_a_close_frame_of_any_bytes_ends_the_connection_with_what_it_says(payload: bytes, told: str) -> None:
    @against_a_server
    async def run(server: VenueServer) -> None:
        async with running(server, Spoken) as run:
            await asyncio.to_thread(server.send, "ready")
            await run.until(lambda: run.connections[0].ready.is_set())
            await asyncio.to_thread(server.close_with, payload)
            await run.until(lambda: server.opened == 2)
            assert (run.ends[0].reason, run.ends[0].detail) == ("disconnect", f"close frame {told}")

    run()
