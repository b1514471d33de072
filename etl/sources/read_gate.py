"""Reading stops, on the sockets themselves, while the publisher is too far behind. What a venue then drops is declared
as a gap when its connection ends."""

from __future__ import annotations

import asyncio

from etl.settings import sections
from etl.telemetry.worker import WorkerCounts
from etl.transports.publisher import Publisher

POLL_S = 0.005


class ReadGate:
    """Stops and resumes the reading of this process's sockets by how far the publisher is behind."""

    def __init__(self, limits: sections.Ingest, publisher: Publisher, counts: WorkerCounts) -> None:
        self._publisher = publisher
        self._counts = counts
        self._pause_messages = limits.read_pause_messages
        self._resume_messages = limits.read_resume_messages
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
