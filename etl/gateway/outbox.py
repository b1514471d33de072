"""What waits to be sent to one client: bounded, so that who does not read slows nobody but itself."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from aiohttp import WSMsgType, web

from etl.gateway.entry import JSON
from etl.gateway.messages import Answer, CutOff, Lagging, encode_answer

LAGGING_SHARE = 0.5
"""Of ``bytes_max``: beyond it a client is told, once until it has caught up."""
PULLED_SHARE = 0.25
"""Of ``bytes_max``: so much is read ahead of a client that is told the past."""
LAST_WORD_S = 2.0
"""How long a client that is cut off has to take what its socket holds already, and why it is."""
CUT_OFF_CODE = 4008
CUT_OFF_REASON = "this client takes less than it asked for"


class _Frame(NamedTuple):
    data: bytes
    kind: WSMsgType
    cursor: str


class Outbox:
    """``cursor``: where the client is before it has anything."""

    def __init__(self, socket: web.WebSocketResponse, bytes_max: int) -> None:
        self.buffered_bytes = 0
        self.sent_bytes = 0
        self.sent_frames = 0
        self.cursor = ""
        """Where the client goes on once it has read all that was sent."""
        self.cut_off = asyncio.Event()
        self._is_lagging = False
        self._notice: _Frame | None = None
        self._socket = socket
        self._bytes_max = bytes_max
        self._waiting: deque[_Frame] = deque()
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()

    def tell(self, answer: Answer, cursor: str = "") -> None:
        self._add(_Frame(encode_answer(answer), WSMsgType.TEXT, cursor))

    def add(self, data: bytes, form: str, cursor: str) -> None:
        """``cursor``: where the client goes on once it has this."""
        self._add(_Frame(data, WSMsgType.TEXT if form == JSON else WSMsgType.BINARY, cursor))

    def _add(self, frame: _Frame) -> None:
        if self.cut_off.is_set():
            return
        if self._waiting and self.buffered_bytes + len(frame.data) > self._bytes_max:
            self._waiting = deque(frame for frame in self._waiting if frame is self._notice)
            self.cut_off.set()
            return
        self._waiting.append(frame)
        self.buffered_bytes += len(frame.data)
        self._filled.set()
        if self.buffered_bytes > self._bytes_max * LAGGING_SHARE and not self._is_lagging:
            self._is_lagging = True
            told = Lagging(buffered_bytes=self.buffered_bytes, buffer_bytes_max=self._bytes_max)
            self._notice = _Frame(encode_answer(told), WSMsgType.TEXT, "")
            self._waiting.appendleft(self._notice)
            self.buffered_bytes += len(self._notice.data)

    async def room(self) -> None:
        """Until so little waits that more may be read for this client."""
        await self._below(self._bytes_max * PULLED_SHARE)

    async def empty(self) -> None:
        """Until all was sent."""
        await self._below(0)

    async def _below(self, bytes_max: float) -> None:
        while self.buffered_bytes > bytes_max:
            self._taken.clear()
            await self._taken.wait()

    async def run(self) -> None:
        """Sends, for ever. Raises ``ConnectionError`` once the client has gone."""
        while True:
            while self._waiting:
                frame = self._waiting.popleft()
                self.cursor = (
                    frame.cursor or self.cursor
                )  # it lies in the socket before anything is waited for
                self.sent_frames += 1
                self.sent_bytes += len(frame.data)
                await self._socket.send_frame(frame.data, frame.kind)
                self.buffered_bytes -= len(frame.data)
                self._taken.set()
            self._is_lagging = False
            self._filled.clear()
            await self._filled.wait()

    async def last_word(self) -> None:
        """To a client that is cut off: where it goes on."""
        word = encode_answer(CutOff(cursor=self.cursor, reason=CUT_OFF_REASON))
        try:
            async with asyncio.timeout(LAST_WORD_S):
                for frame in self._waiting:
                    await self._socket.send_frame(frame.data, frame.kind)
                await self._socket.send_frame(word, WSMsgType.TEXT)
                await self._socket.close(code=CUT_OFF_CODE, message=CUT_OFF_REASON.encode())
        except (TimeoutError, ConnectionError):
            return
