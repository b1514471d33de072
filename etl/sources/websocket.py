"""Live frames from a venue's websocket.

``Connection`` is one attempt: open, say what has to be said, hand over every frame in the call that brings it, end
with a reason. ``Stream`` keeps one subscription connected: back-off, staleness, and the change-over before the
venue's own limit. The clock is read here, once per socket read: the frames of one read were received together.

Reading stops, on the socket itself, while the publisher is too far behind (``ReadGate``); what the venue then
drops is declared as a gap when the connection ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import picows
from msgspec import Struct
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from etl.adapter.contract import Channel, Exchange, Fault, FaultKind, Reply, Subscription
from etl.adapter.faults import policy_of, wait_s
from etl.errors import VenueError
from etl.settings import Settings
from etl.sources.history import History
from etl.sources.market_hours import MarketHours
from etl.telemetry.worker import WorkerCounts
from etl.transports.publisher import Publisher

CONNECT_TIMEOUT_S = 10.0
PING_IDLE_S = 15.0
PING_REPLY_S = 10.0
CLOSE_TIMEOUT_S = 2.0
"""From our close, also of a connection that is just being opened, until it is let go."""
POLL_S = 0.005
SNAPSHOT_PAUSE_NS = 5_000_000_000
"""Between two snapshots of one symbol."""
SNAPSHOT_POLL_S = 0.1
WATCH_S = 0.25
LIFE_MARGIN = 0.02
"""Share of a connection's allowed life at which its successor is opened before the venue closes it."""
OVERLAP_TIMEOUT_S = 30.0
"""How long a successor may take to be ready before the elder is closed anyway."""
OVERLAP_S = 1.0
"""How long both run together once the successor is ready: what is still under way to the elder arrives."""
RECEIVE_BUFFER_BYTES = 1 << 20
"""What the kernel holds of a connection (it doubles the number), and so the most that one read brings: left to itself
it grows to 32 MiB under a burst, and one read filled the producer's queue before reading could be stopped."""
READ_BYTES = 256 << 10
"""What one read brings as a rule."""
ENVELOPE_BYTES = 64 << 10
"""Room that headers and key need beside a frame in one message."""

_TEXT = WSMsgType.TEXT  # naming the member each time costs 0.1 µs
_log = logging.getLogger(__name__)


class Intake(Protocol):
    """Where a connection's frames go; see ``etl/ingest/intake.py``."""

    connection_id: str
    last_event_ns: dict[str, int]
    """Receipt of the newest event by channel."""
    snapshots_due_ns: dict[str, int]
    """Venue symbols whose book needs a snapshot, and from when."""

    def take(
        self, payload: bytes, receive_time_ns: int, endpoint: str | None = None
    ) -> Sequence[Reply | Fault]: ...


class End(Struct, frozen=True):
    """Why a connection ended: ``reason`` is one word for metrics, ``detail`` a line for the operator."""

    reason: str
    detail: str = ""
    fault: Fault | None = None
    was_ready: bool = False


def connection_id(now_ns: int) -> str:
    """A new UUIDv7: sorts by the time of the attempt."""
    random_bits = int.from_bytes(os.urandom(10)) & ((1 << 74) - 1)
    number = (now_ns // 1_000_000 & (1 << 48) - 1) << 80
    number |= 0x7 << 76 | random_bits >> 62 << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
    digits = f"{number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


class ReadGate:
    """Stops and resumes the reading of this process's sockets by how far the publisher is behind."""

    def __init__(self, settings: Settings, publisher: Publisher, counts: WorkerCounts) -> None:
        self._publisher = publisher
        self._counts = counts
        self._pause_messages = settings.ingest.read_pause_messages
        self._resume_messages = settings.ingest.read_resume_messages
        self._paused: list[asyncio.ReadTransport] = []

    def after_read(self, transport: asyncio.ReadTransport) -> None:
        """Called with each socket read done."""
        publisher = self._publisher
        if publisher.pending_messages < self._pause_messages and not publisher.is_full:
            return
        if transport not in self._paused:
            transport.pause_reading()
            self._paused.append(transport)
            self._counts.reads_paused += 1

    def discard(self, transport: asyncio.ReadTransport) -> None:
        """The connection has ended."""
        if transport in self._paused:
            self._paused.remove(transport)

    def __contains__(self, transport: object) -> bool:
        """Whether its reading is stopped."""
        return transport in self._paused

    @property
    def paused(self) -> bool:
        return bool(self._paused)

    async def poll(self) -> None:
        """Serve acknowledgements and resume reading, for ever. Raises ``TransportError``."""
        publisher = self._publisher
        while True:
            publisher.poll()
            behind = publisher.is_full or publisher.pending_messages > self._resume_messages
            if self._paused and not behind:
                paused, self._paused = self._paused, []
                for transport in paused:
                    if not transport.is_closing():
                        transport.resume_reading()
            await asyncio.sleep(POLL_S)


class _Listener(WSListener):
    """The frame callback. Fragments of one message are joined, up to ``message_bytes_max``."""

    def __init__(self, connection: Connection, opening: Sequence[str], message_bytes_max: int) -> None:
        self._connection = connection
        self._opening = opening
        self._message_bytes_max = message_bytes_max
        self._take = connection.intake.take
        self._gate = connection.gate
        self._receive_time_ns = 0
        self._fragments: list[bytes] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        connected: socket.socket = transport.underlying_transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        for text in self._opening:
            transport.send(WSMsgType.TEXT, text.encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._receive_time_ns:
            self._receive_time_ns = self._connection.last_receive_ns = time.time_ns()
        if frame.msg_type is _TEXT and frame.fin and frame.payload_size <= self._message_bytes_max:
            answers = self._take(frame.get_payload_as_bytes(), self._receive_time_ns)
            if answers:
                self._connection.answer(transport, answers)
        else:
            self._on_rare_frame(transport, frame)
        if frame.last_in_buffer:
            self._receive_time_ns = 0
            self._gate.after_read(transport.underlying_transport)

    def _on_rare_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Binary, a fragment, control, or more than the tape takes (the library closes, but delivers it yet)."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            self._connection.closed_by_venue(
                f"{frame.get_close_code()} {frame.get_close_reason() or ''}".strip()
            )
            transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            payload = self._joined(frame.get_payload_as_bytes(), frame.fin)
            if payload is not None:
                self._connection.answer(transport, self._take(payload, self._receive_time_ns))

    def _joined(self, payload: bytes, final: bool) -> bytes | None:
        self._fragments.append(payload)
        if sum(map(len, self._fragments)) > self._message_bytes_max:
            self._connection.close("too_large", f"a message of more than {self._message_bytes_max} bytes")
            self._fragments = [
                b"".join(self._fragments)[: self._message_bytes_max + 1]
            ]  # and so for the rest
            return None
        if not final:
            return None
        whole = b"".join(self._fragments)
        self._fragments = []
        return whole


class Connection:
    """One connection attempt and its life. ``run`` returns why it ended and raises only what stops the worker."""

    def __init__(
        self,
        settings: Settings,
        parser: Exchange,
        subscription: Subscription,
        url: str,
        intake: Intake,
        gate: ReadGate,
        counts: WorkerCounts,
        hours: MarketHours,
        history: History | None = None,
    ) -> None:
        self.parser = parser
        self.subscription = subscription
        self.intake = intake
        self.gate = gate
        self.counts = counts
        self.last_receive_ns = 0
        self.was_paused = False
        """Whether reading was stopped when it ended."""
        self.ready = asyncio.Event()
        self.ready_at = 0.0
        """When it was subscribed, by ``time.monotonic``."""
        self.retiring = asyncio.Event()
        """Set when a successor should be opened: old age, or the venue announced its end."""
        self._message_bytes_max = settings.producer.message_bytes_max - ENVELOPE_BYTES
        self._url = url
        self._hours = hours
        self._history = history
        self._transport: WSTransport | None = None
        self._end: End | None = None
        self._failure: BaseException | None = None
        self._heard_from_ns = self._watched_from_ns = time.time_ns()

    async def run(self) -> End:
        listener = _Listener(
            self, self.parser.open(self.subscription, time.time_ns()), self._message_bytes_max
        )
        try:
            transport, _ = await picows.ws_connect(
                lambda: listener,
                self._url,
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                max_frame_size=self._message_bytes_max,
                extra_headers=dict(self.parser.handshake_headers(time.time_ns())),
                read_buffer_init_size=READ_BYTES,
            )
        except (OSError, TimeoutError, picows.WSError) as error:
            return self._ended("connect", f"{type(error).__name__}: {error}")
        self._transport = transport
        if self._end is not None:  # closed from our side while it was being opened
            transport.disconnect()
        if self.parser.ready_on_open:
            self._become_ready()
        snapshots = asyncio.create_task(self._take_snapshots(transport))
        snapshots.add_done_callback(self._snapshots_ended)
        try:
            await transport.wait_disconnected()
        except (OSError, picows.WSError) as error:
            return self._ended("disconnect", f"{type(error).__name__}: {error}")
        finally:
            snapshots.cancel()
            self.was_paused = transport.underlying_transport in self.gate
            self.gate.discard(transport.underlying_transport)
            transport.disconnect(graceful=False)
        if self._failure is not None:
            raise self._failure
        return self._ended("disconnect", "the venue closed the socket")

    def _snapshots_ended(self, task: asyncio.Task[None]) -> None:
        """They end with the connection, or by an error that must not be lost with their task."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self.close("snapshots", str(error))

    def _become_ready(self) -> None:
        if not self.ready.is_set():
            self.ready_at = time.monotonic()
            self.ready.set()

    async def _take_snapshots(self, transport: WSTransport) -> None:
        """Ask for what books need to be joined: at once when ready, then for those that broke, for as long as the
        connection lives."""
        if self._history is None:
            return
        await self.ready.wait()
        due_ns = self.intake.snapshots_due_ns
        due_ns.update(dict.fromkeys(self.subscription.symbols, 0))
        requested_ns: dict[str, int] = {}
        while True:
            now_ns = time.time_ns()
            for symbol, from_ns in list(due_ns.items()):
                if now_ns >= max(from_ns, requested_ns.get(symbol, 0) + SNAPSHOT_PAUSE_NS):
                    del due_ns[symbol]
                    requested_ns[symbol] = now_ns
                    await self._take_snapshot(transport, symbol)
            await asyncio.sleep(SNAPSHOT_POLL_S)

    async def _take_snapshot(self, transport: WSTransport, symbol: str) -> None:
        assert self._history is not None
        wanted = Subscription((symbol,), self.subscription.channels)
        for request in self.parser.snapshot_requests(wanted):
            self.counts.snapshots_requested += 1
            try:
                answer = await self._history.fetch(request)
            except VenueError as error:
                _log.warning("%s: %s", self._url, error)
                self.intake.snapshots_due_ns[symbol] = 0
                continue
            if len(answer.payload) > self._message_bytes_max:
                _log.error(
                    "%s: a snapshot of %d bytes does not fit the tape", request.path, len(answer.payload)
                )
                continue
            answers = self.intake.take(answer.payload, answer.receive_time_ns, answer.endpoint)
            self.answer(transport, answers)

    def watch(self, now_ns: int) -> None:
        """Now and then: ping a silent socket, close one that does not answer or has gone mute.

        Not while reading is paused: then the silence is ours, and what the socket still holds is worth waiting for.
        A closed market may be silent.
        """
        if self._transport is None or self.gate.paused:
            self._heard_from_ns = self._watched_from_ns = now_ns
            return
        silent_ns = now_ns - max(self._heard_from_ns, self.last_receive_ns)
        if silent_ns > (PING_IDLE_S + PING_REPLY_S) * 1e9:
            self.close("ping_timeout", f"no answer to a ping within {PING_REPLY_S:g} s")
        elif silent_ns > PING_IDLE_S * 1e9:
            self._transport.send_ping()
        if not self._hours.is_open(now_ns):
            self._watched_from_ns = now_ns
        for channel in self._stale(now_ns):
            self.close("stale", f"{channel.name}: silent for {channel.stale_after_s:g} s")

    def _stale(self, now_ns: int) -> list[Channel]:
        times = self.intake.last_event_ns
        return [
            channel
            for channel in self.parser.channels
            if channel.stale_after_s
            and channel.name in self.subscription.channels
            and now_ns - max(times.get(channel.name, 0), self._watched_from_ns) > channel.stale_after_s * 1e9
        ]

    def close(self, reason: str, detail: str = "") -> None:
        """End it from our side."""
        self._end = self._end or End(reason, detail)
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def closed_by_venue(self, detail: str) -> None:
        self._end = self._end or End("disconnect", f"close frame {detail}")

    def answer(self, transport: WSTransport, answers: Sequence[Reply | Fault]) -> None:
        """Send what the venue wants to hear; act on what it says of itself."""
        for answer in answers:
            if isinstance(answer, Reply):
                if isinstance(answer.payload, bytes):
                    transport.send(WSMsgType.BINARY, answer.payload)
                else:
                    transport.send(WSMsgType.TEXT, answer.payload.encode())
            elif answer.kind is FaultKind.READY:
                self._become_ready()
            elif answer.kind is FaultKind.SHUTDOWN:
                self.retiring.set()
            elif answer.kind is FaultKind.REQUEST and self.ready.is_set():
                self._report(answer)  # what we get already is worth more than what was refused
            else:
                self._report(answer)
                self._end = End(answer.kind.value, f"{answer.code}: {answer.reason}", answer)
                transport.send_close(WSCloseCode.OK)
                transport.disconnect()

    def _report(self, fault: Fault) -> None:
        policy = policy_of(fault)
        self.counts.faults[fault.kind.value] += 1
        level = logging.ERROR if policy.pages else logging.WARNING
        _log.log(level, "%s: %s %s: %s", self._url, fault.kind.value, fault.code, fault.reason)

    def _ended(self, reason: str, detail: str) -> End:
        end = self._end or End(reason, detail)
        return End(end.reason, end.detail, end.fault, self.ready.is_set())


class Supervision(Protocol):
    """What hears how a stream fares; see ``etl/ingest/worker.py``."""

    def overlap(self, name: str, begins: bool) -> None:
        """Two connections carry the same from now on, or no longer do."""

    def lost(self, connection: Connection, end: End) -> None:
        """``connection`` ended and no other covers what it carried."""


class Stream:
    """Keeps one subscription of a venue connected until ``stop`` is set."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        counts: WorkerCounts,
        stop: asyncio.Event,
        supervision: Supervision,
    ) -> None:
        self._name = name
        self._connect = connect
        self._counts = counts
        self._stop = stop
        self._supervision = supervision
        self._failures = 0
        self._lost_at = 0.0
        """When the last connection was lost, by ``time.monotonic``; 0 = none is missing."""

    async def run(self) -> None:
        """Raises ``EtlError`` where going on would be of no use."""
        connection: Connection | None = None
        life: asyncio.Task[End] | None = None
        while not self._stop.is_set():
            if connection is None or life is None:
                connection, life = self._begin()
            await self._until_retiring(connection, life)
            if life.done() or self._stop.is_set() or connection.parser.connections_max == 1:
                connection.close("planned")
                end = await self._over(life)
                self._supervision.lost(connection, end)
                self._lost_at = self._lost_at or time.monotonic()
                connection = life = None
                await self._back_off(end)
            else:
                connection, life = await self._change_over(connection, life)
        if connection is not None and life is not None:  # stopped while it changed over
            connection.close("planned")
            self._supervision.lost(connection, await self._over(life))

    def _begin(self) -> tuple[Connection, asyncio.Task[End]]:
        connection = self._connect()
        self._counts.connections_up[self._name] = True
        return connection, asyncio.create_task(connection.run())

    async def _until_retiring(self, connection: Connection, life: asyncio.Task[End]) -> None:
        allowed_s = connection.parser.connection_life_s * (1 - LIFE_MARGIN)
        begun = time.monotonic()
        while not life.done() and not self._stop.is_set() and not connection.retiring.is_set():
            await asyncio.wait({life}, timeout=WATCH_S)
            connection.watch(time.time_ns())
            self._observe_reconnect(connection)
            self._counts.last_receive_ns.update(connection.intake.last_event_ns)
            if allowed_s and time.monotonic() - begun > allowed_s:
                connection.retiring.set()

    def _observe_reconnect(self, connection: Connection) -> None:
        if self._lost_at and connection.ready_at:
            if self._counts.observe_reconnect_s is not None:
                self._counts.observe_reconnect_s(connection.ready_at - self._lost_at)
            self._lost_at = 0.0

    async def _change_over(
        self, elder: Connection, elder_life: asyncio.Task[End]
    ) -> tuple[Connection, asyncio.Task[End]]:
        """Open the successor, then close the elder: between them nothing is missed. An elder that ends before is lost
        at once, before the successor's first record hides where."""
        self._supervision.overlap(self._name, begins=True)
        successor, life = self._begin()
        ready = asyncio.create_task(successor.ready.wait())
        stopping = asyncio.create_task(self._stop.wait())
        awaited = {ready, life, stopping, elder_life}
        await asyncio.wait(awaited, timeout=OVERLAP_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        covered = successor.ready.is_set() and not elder_life.done()
        if covered:
            await asyncio.wait({elder_life}, timeout=OVERLAP_S)
        ready.cancel()
        stopping.cancel()
        elder.close("planned")
        end = await self._over(elder_life)
        if not covered:
            self._supervision.lost(elder, end)
            self._lost_at = self._lost_at or time.monotonic()
        self._supervision.overlap(self._name, begins=False)
        self._counts.connections_up[self._name] = not life.done()
        return successor, life

    async def _over(self, life: asyncio.Task[End]) -> End:
        """Why it ended; a socket that does not close in time is let go."""
        await asyncio.wait({life}, timeout=CLOSE_TIMEOUT_S)
        if not life.done():
            life.cancel()
            await asyncio.wait({life})
        end = End("planned", "it did not close in time") if life.cancelled() else life.result()
        self._counts.connections_up[self._name] = False
        self._counts.reconnects[end.reason] += 1
        return end

    async def _back_off(self, end: End) -> None:
        if end.reason == "planned":
            return
        delay_s = wait_s(end.fault, self._failures, random.random())  # noqa: S311
        self._failures = 0 if end.was_ready else self._failures + 1
        _log.warning("%s: %s (%s); again in %.2f s", self._name, end.reason, end.detail, delay_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), delay_s)
