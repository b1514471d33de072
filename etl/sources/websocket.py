"""Live frames from a venue's websocket.

``Connection`` is one attempt: open, say what has to be said, hand over every frame in the call that brings it, end with
a reason. ``etl/sources/listener.py`` hears its frames, ``etl/sources/stream.py`` keeps a subscription connected.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Sequence
from itertools import product
from typing import Protocol

import picows
from msgspec import Struct, structs
from picows import WSCloseCode, WSMsgType, WSTransport

from etl.adapter.contract import Exchange, Fault, FaultKind, Reply, Subscription
from etl.adapter.faults import fault_of_close, fault_of_status, policy_of, retry_after_s
from etl.errors import VenueError
from etl.sources.admission import address_with, await_turn, ticket_of
from etl.sources.answers import watch_answers
from etl.sources.history import REFUSAL_BYTES_MAX, Answer, History, Refused
from etl.sources.keepalive import Pulse
from etl.sources.limiter import SHUTTING, Limiter
from etl.sources.listener import READ_BYTES, listener_of
from etl.sources.liveness import PING_REPLY_S, Liveness, Silence
from etl.sources.market_hours import MarketHours
from etl.sources.read_gate import ReadGate
from etl.sources.sender import Sender
from etl.sources.snapshots import Snapshots
from etl.telemetry.worker import WorkerCounts
from etl.transports import frames

CONNECT_TIMEOUT_S = 10.0
UNSENT_BYTES_MAX = 4 << 20
"""What may wait for a venue that does not read."""

_OF_A_PART = (FaultKind.REQUEST, FaultKind.ENTITLEMENT)
"""Faults that, once something is subscribed, are about something else."""
_log = logging.getLogger(__name__)


class Intake(Protocol):
    """Where a connection's frames go; see ``etl/ingest/intake.py``."""

    connection_id: str
    last_event_ns: dict[str, int]
    """Receipt of the newest event by channel."""
    snapshots_due_ns: dict[str, int]
    """Venue symbols whose book needs a snapshot, and from when."""
    frame_bytes_max: int
    """A larger one is taken with its endpoint."""

    def take(self, payload: bytes, receive_time_ns: int, endpoint: str) -> Sequence[Reply | Fault]: ...

    def take_read(self, payloads: Sequence[bytes], receive_time_ns: int) -> Sequence[Reply | Fault]: ...

    def carry(self, subscription: Subscription) -> None: ...

    def forget(self, names: Sequence[tuple[str, str]]) -> None: ...


class End(Struct, frozen=True):
    """Why a connection ended: ``reason`` is one word for metrics, ``detail`` a line for the operator."""

    reason: str
    detail: str = ""
    fault: Fault | None = None
    is_own: bool = False
    """Whether we ended a connection that worked: what that cost is of our making."""
    was_ready: bool = False
    delivered_s: float = 0.0
    """From its first event to its end."""


class Watching(Protocol):
    """What judges the silence of a connection's channels; see ``etl/ingest/watchdog.py``."""

    def look(self, connection: Connection, now_ns: int) -> None: ...


class Connection:
    """One connection attempt and its life. ``run`` returns why it ended and raises only what stops the worker."""

    def __init__(
        self,
        parser: Exchange,
        subscription: Subscription,
        url: str,
        intake: Intake,
        gate: ReadGate,
        counts: WorkerCounts,
        hours: MarketHours,
        history: History | None = None,
        connects: Limiter | None = None,
        watchdog: Watching | None = None,
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
        """Set when a successor should be opened: old age, the venue announced its end, or see ``retired_for``."""
        self.retired_for, self.can_stay = "", False
        self.refused: set[tuple[str, str]] = set()
        """Channel and venue symbol ("" = all) that give nothing on this connection: the venue has said so."""
        self.url = url
        self._hours = hours
        self._history = history
        self._connects = connects
        self._delivering_from = 0.0
        """When its first event had come, by ``time.monotonic``."""
        self._transport: WSTransport | None = None
        self._end: End | None = None
        self._failure: BaseException | None = None
        self._watchdog = watchdog
        self._background: set[asyncio.Task[None]] = set()
        self._liveness = Liveness(time.monotonic_ns())
        self._sender = Sender(self._send, parser.messages_per_s)
        self._pulse = Pulse(parser.keepalive, self._answer) if parser.keepalive else None

    async def run(self) -> End:
        listener = listener_of(self)
        await await_turn(self._connects, self.url)
        try:
            transport, _ = await picows.ws_connect(
                lambda: listener,
                await self._address(),
                websocket_handshake_timeout=CONNECT_TIMEOUT_S,
                max_frame_size=frames.FRAME_BYTES_LIMIT,
                max_redirects=0,  # the keys in the headers are for this host alone
                enable_auto_pong=False,  # it would answer each ping of a flood
                extra_headers=dict(self.parser.handshake_headers(time.time_ns())),
                read_buffer_init_size=READ_BYTES,
            )
        except (picows.WSInvalidStatusError, VenueError) as error:
            return self._refused(_fault_of_refusal(error, time.time(), self.parser), str(error))
        except (OSError, TimeoutError, picows.WSError) as error:
            return self._ended("connect", f"{type(error).__name__}: {error}")
        self._transport = transport
        if self._end is not None:  # closed from our side while it was being opened
            transport.disconnect()
        if self.parser.ready_on_open:
            self._become_ready()
        awaited = watch_answers(self.parser, lambda: self._sender.is_subscribing, self._report)
        for work in (self._take_snapshots(), self._keep_alive(), awaited):
            self.in_background(work)
        try:
            await transport.wait_disconnected()
        except (OSError, picows.WSError) as error:
            return self._ended("disconnect", f"{type(error).__name__}: {error}")
        finally:
            for task in self._background:
                task.cancel()
            self._sender.stop()
            self.was_paused = transport.underlying_transport in self.gate
            self.gate.discard(transport.underlying_transport)
            transport.disconnect(graceful=False)
        if self._failure is not None:
            raise self._failure
        return self._ended("disconnect", "the venue closed the socket")

    async def _address(self) -> str:
        """Where to open the socket, with the ticket that the venue hands out for it. Raises ``VenueError``."""
        ticket = await ticket_of(self.parser, self._history)
        if ticket is not None and ticket.keepalive is not None:
            self._pulse = Pulse(ticket.keepalive, self._answer)
        return address_with(ticket, self.url, self.parser)

    def _refused(self, fault: Fault | None, said: str) -> End:
        """The handshake, or the request for its ticket, was answered, and not with a connection."""
        if fault is None:
            return self._ended("connect", said)
        if self._connects is not None and fault.kind in SHUTTING:
            self._connects.refused(SHUTTING[fault.kind], fault.retry_after_s)
        self._report(fault)
        self._end = self._end or End(fault.kind.value, f"{fault.code}: {fault.reason}", fault)
        return self._ended("connect", said)

    def _become_ready(self) -> None:
        if not self.ready.is_set():
            self.ready_at = time.monotonic()
            self.ready.set()

    def opened(self, transport: WSTransport) -> None:
        """The socket is open: subscribe."""
        self._transport = transport
        self._subscribe(self.parser.open(self.subscription, time.time_ns()))

    def in_background(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """``work`` ends with the connection; its error ends the worker."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background_ended)
        return task

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self.close("failed", str(error))

    async def _take_snapshots(self) -> None:
        if self._history is None:
            return
        await self.ready.wait()
        due_ns = self.intake.snapshots_due_ns
        snapshots = Snapshots(self._history, self.parser, self.subscription, due_ns, self.counts)
        await snapshots.run(self._take_snapshot, self._subscribe)

    def _take_snapshot(self, answer: Answer) -> None:
        self.act_on(self.intake.take(answer.payload, answer.receive_time_ns, answer.endpoint))

    async def _keep_alive(self) -> None:
        if self._pulse is not None:
            self.close("stale", await self._pulse.until_silent(lambda: self.gate.paused), is_own=False)

    def watch(self, now_ns: int) -> None:
        """Now and then: ping a silent socket, close one that does not answer, have its channels' silence judged. Not
        while reading is paused: then the silence is ours. ``now_ns``, Unix time, says whether a market is closed."""
        steady_ns = time.monotonic_ns()
        if not self._delivering_from and self.intake.last_event_ns:
            self._delivering_from = time.monotonic()
        if self._transport is None or self.gate.paused:
            self._liveness.excuse(steady_ns)
            return
        if self._transport.underlying_transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.close("send_queue", f"the venue has left more than {UNSENT_BYTES_MAX} bytes unread")
        silence = self._liveness.of_socket(steady_ns, self.last_receive_ns)
        if silence is Silence.PING_TIMEOUT:
            self.close(silence.value, f"no answer to a ping within {PING_REPLY_S:g} s", is_own=False)
        elif silence is Silence.PING:
            self._transport.send_ping()
        if not self._hours.is_open(now_ns):
            self._liveness.market_closed(steady_ns)
        if self._watchdog is not None and self._end is None and not self.retiring.is_set():
            self._watchdog.look(self, steady_ns)

    @property
    def silent_from_ns(self) -> int:
        """The silence of its channels before this means nothing."""
        return self._liveness.channels_from_ns

    def renew(self, subscription: Subscription) -> bool:
        """Have the venue begin anew with these alone; ``False`` where it takes a new connection."""
        messages = self.parser.resubscribe(subscription)
        self._subscribe(messages)
        return bool(messages)

    def retire(self, why: str, *, can_stay: bool = False) -> None:
        """Have a successor opened before this one is closed; ``can_stay``: if none gets ready, this one goes on."""
        self.retired_for, self.can_stay = why, can_stay
        self.retiring.set()

    def stay(self) -> None:
        self.retired_for, self.can_stay = "", False
        self.retiring.clear()

    def close(
        self, reason: str, detail: str = "", fault: Fault | None = None, *, is_own: bool = True
    ) -> None:
        """End it from our side. ``is_own``: the connection worked."""
        self._end = self._end or End(reason, detail, fault, is_own)
        self._sender.stop()
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    def closed_by_venue(self, code: int | None, said: str) -> None:
        """By a close frame."""
        if self._end is None:
            self._end = _end_of_close(code, said, self.parser)
            if self._end.fault is not None:
                self._report(self._end.fault)

    def act_on(self, outcomes: Sequence[Reply | Fault]) -> None:
        """Send replies; act on what the venue says of itself."""
        for outcome in outcomes:
            if isinstance(outcome, Reply):
                self._answer(outcome.payload)
            elif outcome.kind is FaultKind.READY:
                self._become_ready()
            elif outcome.kind is FaultKind.SHUTDOWN:
                self.retire(f"the venue announced its end: {outcome.reason}")
            elif outcome.channels or (outcome.kind in _OF_A_PART and self.ready.is_set()):
                self._report(outcome)  # what we get already is worth more than what was refused
                self.refused.update(product(outcome.channels, outcome.symbols or ("",)))
            else:
                self._report(outcome)
                self._end = None  # what the venue says is worth more than what we made of it
                self.close(outcome.kind.value, f"{outcome.code}: {outcome.reason}", outcome, is_own=False)

    def heard_answer(self) -> None:
        """The bare answer to a keep-alive came."""
        if self._pulse is not None:
            self._pulse.heard()

    def _answer(self, message: str | bytes) -> None:
        try:
            self._sender.answer(message)
        except VenueError as error:
            self.close("send_queue", str(error))

    def _subscribe(self, messages: Sequence[str | bytes]) -> None:
        try:
            self._sender.subscribe(messages)
        except VenueError as error:
            self.close("send_queue", str(error))

    def _send(self, message: str | bytes) -> None:
        assert self._transport is not None
        kind = WSMsgType.TEXT if isinstance(message, str) else WSMsgType.BINARY
        self._transport.send(kind, message.encode() if isinstance(message, str) else message)

    def _report(self, fault: Fault) -> None:
        self.counts.faults[fault.kind.value] += 1
        level = logging.ERROR if policy_of(fault).pages else logging.WARNING
        _log.log(level, "%s: %s %s: %s", self.url, fault.kind.value, fault.code, fault.reason)

    def _ended(self, reason: str, detail: str) -> End:
        end = self._end or End(reason, detail)
        delivered_s = time.monotonic() - self._delivering_from if self._delivering_from else 0.0
        return structs.replace(end, was_ready=self.ready.is_set(), delivered_s=delivered_s)


def _end_of_close(code: int | None, said: str, parser: Exchange) -> End:
    """``code`` may be the venue's own."""
    if code is None:
        return End("disconnect", "close frame without a code")
    fault = fault_of_close(code, said, parser.fault_codes)
    return End(fault.kind.value if fault else "disconnect", f"close frame {code} {said}".strip(), fault)


def carry(connection: Connection, whole: Subscription, joins: Subscription, leaves: Subscription) -> None:
    """From now on it carries ``whole``; one that is not open yet asks for it as it opens."""
    connection.subscription = whole
    connection.intake.carry(whole)
    transport = connection._transport
    if transport and not transport.underlying_transport.is_closing() and connection._end is None:
        connection._subscribe(connection.parser.change(joins, leaves))
        connection.intake.snapshots_due_ns.update(dict.fromkeys(joins.symbols, 0))


def _fault_of_refusal(
    error: picows.WSInvalidStatusError | VenueError, now_s: float, parser: Exchange
) -> Fault | None:
    """``None`` for what was not answered."""
    if isinstance(error, VenueError):
        return error.fault if isinstance(error, Refused) else None
    response = error.response
    if response is None:
        return None
    body = (error.raw_body or response.body or b"")[:REFUSAL_BYTES_MAX]
    least_s = retry_after_s(response.headers.get("Retry-After", ""), now_s)
    said = body.decode(errors="replace") or str(error)
    return fault_of_status(int(response.status), said, least_s, parser.fault_codes)
