"""What a websocket's frames become: the callback that the library makes with each, on the connection's behalf.

The frames of one socket read were received together: the clock is read once for them, and they are handed over
together, in the call that brings the last. One that is not plain text lets those before it go first.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, cast

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from etl.sources.fragments import Fragments

if TYPE_CHECKING:
    from etl.sources.websocket import Connection

RECEIVE_BUFFER_BYTES = 1 << 20
"""What the kernel holds of a connection (it doubles the number), and so the most that one read brings: left to itself
it grows to 32 MiB under a burst, and one read filled the producer's queue before reading could be stopped."""
READ_BYTES = 256 << 10
"""What one read brings as a rule."""
CONTROL_FRAMES_MAX = 1_024
"""Of one read: pings and pongs of which there are more are a flood."""

_TEXT = WSMsgType.TEXT  # naming the member each time costs 0.1 µs


class Listener(WSListener):
    """The frame callback. Fragments of one message are joined."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._frame_bytes_max = connection.intake.frame_bytes_max
        self._take, self._take_read = connection.intake.take, connection.intake.take_read
        self._gate = connection.gate
        self._receive_time_ns = 0
        self._payloads: list[bytes] = []
        """Of this read, not handed over yet."""
        self._fragments = Fragments()
        self._controls = 0
        """Control frames of this read."""
        self._ping: bytes | None = None
        """The last of this read that wants an answer."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        connected: socket.socket = transport.underlying_transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        self._connection.opened(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self._receive_time_ns:
            self._receive_time_ns = self._connection.last_receive_ns = time.time_ns()
        if frame.msg_type is _TEXT and frame.fin and frame.payload_size <= self._frame_bytes_max:
            self._payloads.append(frame.get_payload_as_bytes())
        else:
            self._hand_over()
            self._on_rare_frame(transport, frame)
        if frame.last_in_buffer:
            self._hand_over()
            self._receive_time_ns = 0
            if self._controls:
                self._answer_ping(transport)
            self._gate.after_read(transport.underlying_transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """What it sent before bytes that are no websocket's: no frame was the last of that read."""
        self._hand_over()

    def _hand_over(self) -> None:
        payloads = self._payloads
        if payloads:
            self._payloads = []
            outcomes = self._take_read(payloads, self._receive_time_ns)
            if outcomes:
                self._connection.act_on(outcomes)

    def _on_rare_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Binary, a fragment, control, large, or larger than the limit (the library closes, but delivers it yet)."""
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            has_code = frame.payload_size > 0
            code = frame.get_close_code() if has_code else WSCloseCode.OK
            said = (frame.get_close_reason() or "") if has_code else ""
            self._connection.closed_by_venue(cast(int, code) if has_code else None, said)
            transport.send_close(code)
            transport.disconnect()
        elif kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            is_over = bool(self._fragments.excess)
            payload = self._fragments.add(frame.get_payload_as_bytes(), frame.fin)
            if payload is not None:
                self._connection.act_on(self._take(payload, self._receive_time_ns, self._connection.url))
            elif self._fragments.excess and not is_over:
                self._connection.close("too_large", f"a message of {self._fragments.excess}")
        else:
            self._controls += 1
            if self._controls == CONTROL_FRAMES_MAX:
                self._connection.close("flood", f"{CONTROL_FRAMES_MAX} control frames in one read")
            elif kind == WSMsgType.PING:
                self._ping = frame.get_payload_as_bytes()

    def _answer_ping(self, transport: WSTransport) -> None:
        """The last of a read stands for all of them (RFC 6455, 5.5.3)."""
        self._controls = 0
        if self._ping is not None:
            transport.send_pong(self._ping)
            self._ping = None


class PulseListener(Listener):
    """Of a venue whose keep-alive is answered by a bare text: kept off the callback of all others."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        keepalive = connection.parser.keepalive
        self._answer = keepalive.answer.encode() if keepalive is not None else b""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.payload_size == len(self._answer) and frame.get_payload_as_bytes() == self._answer:
            self._connection.heard_answer()
        super().on_ws_frame(transport, frame)


def listener_of(connection: Connection) -> Listener:
    keepalive = connection.parser.keepalive
    return PulseListener(connection) if keepalive is not None and keepalive.answer else Listener(connection)
