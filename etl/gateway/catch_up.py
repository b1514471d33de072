"""One client is told the past, until it reaches what the process still has in memory; there it goes over into live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import Protocol, TypeVar

from msgspec import Struct

from etl.errors import UsageError
from etl.gateway.books import standing_books
from etl.gateway.derivation import Derivation
from etl.gateway.entry import Entry
from etl.gateway.hub import Hub
from etl.gateway.messages import Lost
from etl.gateway.outbox import Outbox
from etl.gateway.past import Past, Told
from etl.gateway.pump import GROUP
from etl.gateway.warm_up import Wants, warm_up
from etl.model.times import NS_PER_S, parse_ns
from etl.settings import Settings
from etl.transports.ranges import RangeReader
from etl.transports.transport import transport_of
from etl.wire.cursor import cursor_text, is_cursor, parse_cursor
from etl.wire.glance import glance

FRAME_RECORDS_MAX = 500
JOIN_BYTES_MAX = 256 << 10
"""Of messages that a client may still be behind when it joins the others: they are written at once."""
PACE_S = 0.005
"""Records that are due within so short a time go together."""
SPEED_MAX = 1_000_000.0
T = TypeVar("T")


class Start(Struct, frozen=True):
    """Where a stream of the past begins, and how it goes."""

    offsets: dict[int, int]
    from_ns: int = 0
    to_ns: int = 0
    """0 = no end."""
    speed: float = 0.0


class Client(Protocol):
    """The client that is told."""

    outbox: Outbox

    def wants(self, route: tuple[bytes, int]) -> bool: ...

    def deliver(self, entries: list[Entry], cursor: str, clocks_ns: Mapping[int, int]) -> None:
        """``cursor`` stands after them; there may be none. ``clocks_ns`` by partition: when the last that was read up
        to ``cursor`` was received."""

    def pass_over(self, entries: list[Entry]) -> None:
        """They were received before the stream begins."""

    def miss(self, lost: Lost) -> None:
        """The topic no longer has them."""

    def join(self, offsets: dict[int, int]) -> None:
        """The ring has what comes from ``offsets`` on."""

    def end(self, to_ns: int) -> None:
        """``to`` is reached."""


class CatchUp:
    """``turns``: of the readers that this process has."""

    def __init__(self, settings: Settings, hub: Hub, client: Client, turns: asyncio.Semaphore) -> None:
        self._settings = settings
        self._hub = hub
        self._client = client
        self._turns = turns
        self._began_s = 0.0
        self._began_ns = 0

    async def start_of(self, from_: str, to: str, speed: float, now_ns: int) -> Start:
        """Raises ``UsageError``, ``TransportError``."""
        to_ns = parse_ns(to) if to else 0
        if to_ns > now_ns:
            raise UsageError("to: that is still to come; leave it out, and the stream goes on")
        if not 0 <= speed <= SPEED_MAX:
            raise UsageError(f"speed: 0 to {SPEED_MAX:g}")
        if is_cursor(from_):
            cursor = parse_cursor(from_)
            if cursor.topic != self._hub.topic:
                raise UsageError("from: a cursor of another topic, or of one that was made anew; give a time")
            return Start(await self._complete(cursor.offsets), 0, to_ns, speed)
        from_ns = parse_ns(from_)
        if to_ns and to_ns <= from_ns:
            raise UsageError("to: before from")
        return Start(await self._read(lambda reader: reader.offsets_at(from_ns)), from_ns, to_ns, speed)

    async def _complete(self, offsets: dict[int, int]) -> dict[int, int]:
        """With every partition: one that is newer than the cursor from its beginning."""
        ends = self._hub.ring.ends
        ahead = {partition: end for partition, end in ends.items() if offsets.get(partition, 0) > end}
        if set(offsets) - set(ends) or ahead:
            raise UsageError("from: the topic does not reach up to this cursor; give a time")
        if set(offsets) == set(ends):
            return offsets
        bounds = await self._read(lambda reader: reader.bounds())
        return {partition: bounds[partition].low for partition in ends} | offsets

    async def _read(self, work: Callable[[RangeReader], T]) -> T:
        """``work`` with a reader of its own, on a thread. Raises ``TransportError``."""

        def opened() -> T:
            with self._open() as reader:
                return work(reader)

        return await asyncio.to_thread(opened)

    def _open(self) -> RangeReader:
        return transport_of(self._settings).reader(self._settings.topics.normalized, GROUP)

    async def books(self, ends: dict[int, int], wants: Wants) -> list[bytes]:
        """The books that are wanted, as they stand at ``ends``. Raises ``TransportError``."""
        async with self._turns:
            return await self._read(lambda reader: [book for _, book in standing_books(reader, ends, wants)])

    async def warm_up(self, ends: dict[int, int], derivation: Derivation, wants: Wants) -> None:
        """Raises ``EtlError``."""
        async with self._turns:
            await self._read(lambda reader: warm_up(reader, ends, derivation, wants))

    async def run(self, start: Start) -> None:
        """Until the client has joined the others, or has all up to ``to``. Raises ``TransportError``, ``RangeLost``."""
        is_plain = not (start.from_ns or start.to_ns or start.speed)
        async with self._turns:
            if is_plain and await self._through_ring(start.offsets):
                return
            reader = await asyncio.to_thread(self._open)
            try:
                await self._tell(Past(reader, start.offsets), start)
            finally:
                await asyncio.to_thread(reader.close)

    async def _tell(self, past: Past, start: Start) -> None:
        offsets = dict(start.offsets)
        is_ordered = bool(start.from_ns or start.speed)
        while True:
            lot = await asyncio.to_thread(past.lot, dict(self._hub.ring.ends))
            self._tell_missing(past, offsets)
            kept = list(takewhile(lambda told: told.time_ns < start.to_ns, lot)) if start.to_ns else lot
            for part in _parts(kept, start.speed):
                await self._paced(part[0].time_ns, start.speed)
                self._deliver(part, offsets, start.from_ns)
                await self._client.outbox.room()
            if start.to_ns:
                if not lot or len(kept) < len(lot):
                    self._client.end(start.to_ns)
                    return
                continue
            if not lot:
                offsets.update(past.offsets)
            # the ring has the order in which this process read, which between partitions is any
            if (not lot or not is_ordered) and await self._through_ring(offsets):
                return

    async def _through_ring(self, offsets: dict[int, int]) -> bool:
        """Tells what the ring has from ``offsets`` on, until so little is left that the client joins the others; false
        where the ring does not reach back so far."""
        ring = self._hub.ring
        while ring.reaches(offsets):
            waiting = ring.since(offsets)
            if sum(len(entry.value) for entry in waiting) <= JOIN_BYTES_MAX:
                self._client.join(offsets)
                return True
            for first in range(0, len(waiting), FRAME_RECORDS_MAX):
                part = waiting[first : first + FRAME_RECORDS_MAX]
                last = {entry.partition: entry for entry in part}
                offsets.update((partition, entry.offset + 1) for partition, entry in last.items())
                clocks_ns = {
                    partition: glance(entry.value).receive_time_ns for partition, entry in last.items()
                }
                wanted = [entry for entry in part if self._client.wants(entry.route)]
                self._client.deliver(wanted, cursor_text(self._hub.topic, offsets), clocks_ns)
                for entry in wanted:
                    entry.forget()
                await self._client.outbox.room()
                await asyncio.sleep(0)  # the others' turn
        return False

    def _deliver(self, part: list[Told], offsets: dict[int, int], from_ns: int) -> None:
        wants = self._client.wants
        entries: list[Entry] = []
        before: list[Entry] = []
        last = {told.partition: told for told in part}
        offsets.update((partition, told.offset + 1) for partition, told in last.items())
        for told in part:
            if told.entry is not None and wants(told.entry.route):
                (entries if told.time_ns >= from_ns else before).append(told.entry)
        if before:
            self._client.pass_over(before)
        clocks_ns = {partition: told.time_ns for partition, told in last.items()}
        self._client.deliver(entries, cursor_text(self._hub.topic, offsets), clocks_ns)

    def _tell_missing(self, past: Past, offsets: dict[int, int]) -> None:
        for partition, first, end in past.missing:
            self._client.miss(Lost(partition=partition, from_offset=first, to_offset=end - 1))
            offsets[partition] = max(offsets[partition], end)
        past.missing.clear()

    async def _paced(self, time_ns: int, speed: float) -> None:
        """Until what was received at ``time_ns`` is due."""
        if not speed or not time_ns:
            return
        now_s = time.monotonic()
        if not self._began_ns:
            self._began_s, self._began_ns = now_s, time_ns
        due_s = self._began_s + (time_ns - self._began_ns) / NS_PER_S / speed
        if due_s > now_s:
            await asyncio.sleep(due_s - now_s)


def _parts(lot: list[Told], speed: float) -> Iterator[list[Told]]:
    """What goes together: of a paced stream, what is due at once."""
    span_ns = int(PACE_S * speed * NS_PER_S) if speed else 0
    part: list[Told] = []
    for told in lot:
        if part and (len(part) >= FRAME_RECORDS_MAX or (speed and told.time_ns > part[0].time_ns + span_ns)):
            yield part
            part = []
        part.append(told)
    if part:
        yield part
