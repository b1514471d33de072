"""``python -m etl.bench.feed --port PORT --frames FILE [--snapshot FILE]``: serves ready websocket bytes.

The first request for a book gets the snapshot; the stream begins once it was fetched, or at once without one, and
is sent as fast as the reader takes it. The socket then stays open. One reader at a time is meant.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import signal
from contextlib import suppress
from pathlib import Path

HOST = "127.0.0.1"
HEAD_BYTES_MAX = 64 << 10
SNAPSHOT_WAIT_S = 10.0
_ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Feed:
    """``frames``: the file of websocket frames; ``snapshot``: the answer to a request for the book, or empty."""

    def __init__(self, frames: Path, snapshot: bytes) -> None:
        self._frames = frames
        self._snapshot = snapshot
        self._fetched = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(
                (line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")), b""
            )
            if key:
                await self._stream(key.partition(b":")[2].strip(), reader, writer)
            else:
                body = self._snapshot or b"{}"
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n")
                writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
                self._fetched.set()
        writer.close()

    async def _stream(self, key: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SUFFIX, usedforsecurity=False).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n")
        writer.write(b"sec-websocket-accept: %b\r\n\r\n" % accept)
        await writer.drain()
        if self._snapshot:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._fetched.wait(), SNAPSHOT_WAIT_S)
        sending = asyncio.create_task(self.send(writer))
        while await reader.read(HEAD_BYTES_MAX):
            pass  # pings and the close: answered by nothing, the run is over then
        sending.cancel()

    async def send(self, writer: asyncio.StreamWriter) -> None:
        """The whole stream."""
        with self._frames.open("rb") as file:
            await asyncio.get_running_loop().sendfile(writer.transport, file)


async def main(port: int, feed: Feed) -> None:
    """Until SIGTERM."""
    server = await asyncio.start_server(feed.serve, HOST, port, limit=HEAD_BYTES_MAX)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with server:
        await stop.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--snapshot", type=Path)
    options = parser.parse_args()
    snapshot = options.snapshot.read_bytes() if options.snapshot else b""
    asyncio.run(main(options.port, Feed(options.frames, snapshot)))
