"""One client of ``/v1/stream``: what it asks for, what it is told, and where it stands."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import msgspec
from aiohttp import web

from etl.errors import EtlError, UsageError
from etl.gateway.books import BOOK
from etl.gateway.catch_up import CatchUp, Start
from etl.gateway.derivation import Derivation
from etl.gateway.derived_feed import DerivedFeed
from etl.gateway.entry import JSON, Entry, frame_of
from etl.gateway.hub import Hub
from etl.gateway.interest import Interest
from etl.gateway.messages import (
    AnyRequest,
    End,
    Error,
    Heartbeat,
    Live,
    Login,
    Lost,
    Snapshot,
    Subscribe,
    Subscribed,
    Unsubscribed,
)
from etl.gateway.outbox import Outbox
from etl.gateway.requests import check_subscribe, read_request
from etl.gateway.selection import Selection
from etl.gateway.tokens import Grant, Tokens
from etl.model.records import Kind
from etl.model.times import NS_PER_S
from etl.settings import Settings
from etl.wire.cursor import cursor_text, parse_cursor
from etl.wire.json_records import json_of

QUOTE = int(Kind.QUOTE)
LOGIN_WITHIN_S = 10.0
JOIN_RECORDS_MAX = 500
"""In one frame, of what the ring gives."""
FINISH_WITHIN_S = 30.0
"""How long a client may take for what it was still to be told when its stream ended."""


class Session:
    """``grant`` ``None``: the client says its token first."""

    def __init__(
        self,
        settings: Settings,
        hub: Hub,
        tokens: Tokens,
        socket: web.WebSocketResponse,
        turns: asyncio.Semaphore,
        grant: Grant | None,
    ) -> None:
        self.outbox = Outbox(socket, settings.gateway.client_buffer_bytes_max)
        self.grant = grant
        self._settings = settings
        self._hub = hub
        self._tokens = tokens
        self._socket = socket
        self._catch_up = CatchUp(settings, hub, self, turns)
        self._interest = Interest(grant.selection() if grant else Selection())
        self._derived = DerivedFeed(None, Selection(), self.outbox, self._fail)
        self._format = JSON
        self._cursor = ""
        """After all that this client was told, or is about to be."""
        self._has_begun = False
        self._is_live = False
        self._ended = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self) -> None:
        """Until either side ends it."""
        try:
            if self.grant is None and not await self._log_in():
                return
            for work in (
                self.outbox.run(),
                self._listen(),
                self._beat(),
                self.outbox.cut_off.wait(),
                self._finish(),
            ):
                self._spawn(work)
            await _first_done(self._tasks)
        finally:
            self._hub.remove(self)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.outbox.cut_off.is_set():
                await self.outbox.last_word()

    async def leave(self) -> None:
        """The process ends: the client comes back, to another, with its cursor."""
        self.outbox.tell(Error(code="going_away", message="the gateway ends"))
        self._ended.set()

    # ── what the hub and the catching up tell ────────────────────────────────────────────────────────────────

    def wants(self, route: tuple[bytes, int]) -> bool:
        return self._interest.wants(route) or self._derived.wants(route)

    def deliver(self, entries: list[Entry], cursor: str, clocks_ns: Mapping[int, int] | None = None) -> None:
        """Live without ``clocks_ns``."""
        if self._derived.is_on:
            self._derived.take(entries, self._cursor, clocks_ns)
            entries = [entry for entry in entries if self._interest.wants(entry.route)]
        self._cursor = cursor
        frame = frame_of(self._format, cursor, entries) if entries else b""
        if frame:
            self.outbox.add(frame, self._format, cursor)

    def pass_over(self, entries: list[Entry]) -> None:
        self._derived.pass_over(entries)

    def miss(self, lost: Lost) -> None:
        self._derived.miss(lost.partition)
        self.outbox.tell(lost)

    def join(self, offsets: dict[int, int]) -> None:
        waiting = [entry for entry in self._hub.ring.since(offsets) if self.wants(entry.route)]
        for first in range(0, len(waiting), JOIN_RECORDS_MAX):
            part = waiting[first : first + JOIN_RECORDS_MAX]
            for entry in part:
                offsets[entry.partition] = entry.offset + 1
            self.deliver(part, cursor_text(self._hub.topic, offsets), {})
            for entry in part:
                entry.forget()
        self._derived.advance(time.time_ns(), self._cursor)
        self._begin_live()
        self.outbox.tell(Live(cursor=self._cursor), self._cursor)

    def end(self, to_ns: int) -> None:
        self._derived.finish(to_ns, self._cursor)
        self.outbox.tell(End(cursor=self._cursor), self._cursor)
        self._ended.set()

    def _begin_live(self) -> None:
        self._cursor = self._hub.cursor
        self._is_live = True
        self._hub.add(self)

    # ── what the client says ─────────────────────────────────────────────────────────────────────────────────

    async def _log_in(self) -> bool:
        try:
            async with asyncio.timeout(LOGIN_WITHIN_S):
                message = await self._socket.receive()
        except TimeoutError:
            return False
        try:
            request = read_request(message)
        except UsageError:
            request = None
        self.grant = self._tokens.grant_of(request.token) if isinstance(request, Login) else None
        if self.grant is None:
            answer = Error(code="no_token", message="say a token first, or send Authorization: Bearer TOKEN")
            await self._socket.send_bytes(msgspec.json.encode(answer))
            return False
        self._interest = Interest(self.grant.selection())
        return True

    async def _listen(self) -> None:
        async for message in self._socket:
            try:
                await self._do(read_request(message))
            except EtlError as error:
                self._refuse(error)

    def _refuse(self, error: EtlError) -> None:
        code = "bad_request" if isinstance(error, UsageError) else "failed"
        self.outbox.tell(Error(code=code, message=str(error)))
        if not self._has_begun:
            self._ended.set()

    def _fail(self, error: EtlError) -> None:
        self._refuse(error)
        self._ended.set()

    async def _do(self, request: AnyRequest) -> None:
        """Raises ``EtlError``."""
        if isinstance(request, Login):
            raise UsageError("login: this connection has its token")
        selection = request.selection()
        if not isinstance(request, Subscribe):
            self._interest.remove(selection)
            self._changed()
            self.outbox.tell(Unsubscribed(cursor=self._cursor))
            return
        check_subscribe(request, self._has_begun)
        self._interest.add(selection)
        if self._has_begun:
            self._changed()
            self._tell_subscribed(request.snapshot, selection)
            return
        await self._begin(request, selection)

    async def _begin(self, request: Subscribe, selection: Selection) -> None:
        """Raises ``EtlError``."""
        self._format = request.format
        with_books = request.snapshot and BOOK in selection.kinds
        derivation = request.derivation()
        if not (request.from_ or with_books or derivation):
            self._has_begun = True
            self._begin_live()
            self._tell_subscribed(request.snapshot, selection)
            return
        if request.from_:
            start = await self._catch_up.start_of(request.from_, request.to, request.speed, time.time_ns())
        else:  # books are joined up to there, and the stream goes on from there
            start = Start(dict(self._hub.ring.ends))
        books = await self._catch_up.books(start.offsets, self.wants) if with_books else []
        if derivation is not None:
            await self._begin_derivation(derivation, start, is_new=not request.from_)
        self._has_begun = True
        self._cursor = cursor_text(self._hub.topic, start.offsets)
        self.outbox.tell(Subscribed(cursor=self._cursor), self._cursor)
        if request.snapshot:
            self._tell_snapshot(selection, start.offsets, books)
        self._spawn(self._told_the_past(self._catch_up.run(start)))
        if derivation is not None:
            self._spawn(self._derive_on_time(derivation.plan.every_ns / NS_PER_S))

    async def _begin_derivation(self, derivation: Derivation, start: Start, is_new: bool) -> None:
        """With the bars and books that stand where the stream begins. Raises ``EtlError``."""
        self._derived = DerivedFeed(derivation, self._interest.allowed, self.outbox, self._fail)
        derivation.bars_from_ns = time.time_ns() if is_new else start.from_ns
        await self._catch_up.warm_up(start.offsets, derivation, self._derived.wants)
        if is_new:
            quotes = [one for one in self._standing(derivation.selection) if one.route[1] == QUOTE]
            derivation.pass_over(one for one in quotes if one.offset < start.offsets.get(one.partition, 0))

    def _tell_snapshot(self, selection: Selection, ends: dict[int, int], books: list[bytes]) -> None:
        standing = [one for one in self._standing(selection) if one.offset < ends.get(one.partition, 0)]
        records = [*map(Entry.json, standing), *map(json_of, books)]
        for entry in standing:
            entry.forget()
        self.outbox.tell(Snapshot(cursor=self._cursor, records=[*map(msgspec.Raw, records)]), self._cursor)

    def _standing(self, selection: Selection) -> list[Entry]:
        return [one for one in self._hub.latest.of(selection) if self._interest.allowed.matches(one.route)]

    def _changed(self) -> None:
        if self._is_live:
            self._hub.add(self)

    def _tell_subscribed(self, with_snapshot: bool, selection: Selection) -> None:
        self.outbox.tell(Subscribed(cursor=self._cursor), self._cursor)
        if with_snapshot:  # who is told the past is still to hear what came after its cursor
            ends = self._hub.ring.ends if self._is_live else parse_cursor(self._cursor).offsets
            self._tell_snapshot(selection, ends, [])

    async def _told_the_past(self, telling: Coroutine[Any, Any, None]) -> None:
        """A broker that fails ends this stream: its client comes back with its cursor."""
        try:
            await telling
        except EtlError as error:
            self._fail(error)
        await asyncio.Event().wait()  # its end is not the session's

    # ── what goes on beside ──────────────────────────────────────────────────────────────────────────────────

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._settings.gateway.heartbeat_s)
            if self.grant is None or not self._tokens.holds(self.grant):
                self.outbox.tell(Error(code="no_token", message="the token was revoked"))
                self._ended.set()
                return
            if self._has_begun:
                if self._is_live:  # what is due is told before a cursor that stands behind it
                    self._derived.advance(time.time_ns(), self._cursor)
                    self._cursor = self._hub.cursor
                self.outbox.tell(Heartbeat(cursor=self._cursor, time_ns=time.time_ns()), self._cursor)

    async def _derive_on_time(self, every_s: float) -> None:
        """Of instruments that are quiet, too."""
        while True:
            await asyncio.sleep(every_s)
            if self._is_live:
                self._derived.advance(time.time_ns(), self._cursor)

    async def _finish(self) -> None:
        await self._ended.wait()
        async with asyncio.timeout(FINISH_WITHIN_S):
            await self.outbox.empty()
        await self._socket.close()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        self._tasks.add(asyncio.create_task(work))


async def _first_done(tasks: set[asyncio.Task[Any]]) -> None:
    """Raises what ended it, unless the client has gone."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        error = task.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise error
