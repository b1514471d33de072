"""From the engine's result to an HTTP response: in one piece or streamed, compressed as the client asks."""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Protocol

import lz4.frame
from aiohttp import web
from backports import zstd

from etl.embedded.clickhouse_engine import EngineError, QueryResult

COMPRESS_BYTES_MIN = 512
COMPRESSION_LEVEL = 1


class Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Lz4Encoder:
    def __init__(self) -> None:
        self._frame = lz4.frame.LZ4FrameCompressor()
        self._head = self._frame.begin()

    def compress(self, data: bytes, /) -> bytes:
        head, self._head = self._head, b""
        return bytes(head + self._frame.compress(data))

    def flush(self) -> bytes:
        return bytes(self._head + self._frame.flush())


def _encoder(http: web.Request) -> tuple[str, Encoder] | None:
    if http.query.get("enable_http_compression", "0") != "1":
        return None
    for choice in http.headers.get("Accept-Encoding", "").split(","):
        match choice.partition(";")[0].strip():
            case "lz4":
                return "lz4", _Lz4Encoder()
            case "zstd":
                return "zstd", zstd.ZstdCompressor(COMPRESSION_LEVEL)
            case "gzip":
                return "gzip", zlib.compressobj(COMPRESSION_LEVEL, wbits=31)
            case "deflate":
                return "deflate", zlib.compressobj(COMPRESSION_LEVEL)
    return None


async def send(
    http: web.Request, result: QueryResult, headers: dict[str, str], threads: Executor
) -> web.StreamResponse:
    """A result of one chunk goes out whole; a longer one as it comes, and is broken off if it fails midway."""
    loop = asyncio.get_running_loop()

    async def following() -> bytes | None:
        return await loop.run_in_executor(threads, next, result.chunks, None)

    try:
        first, second = await following() or b"", await following()
        encoding = _encoder(http) if second is not None or len(first) >= COMPRESS_BYTES_MIN else None
        encoder: Encoder | None = None
        if encoding is not None:
            headers["Content-Encoding"], encoder = encoding
        if second is None:
            return web.Response(
                body=encoder.compress(first) + encoder.flush() if encoder else first, headers=headers
            )
        response = web.StreamResponse(headers=headers)
        await response.prepare(http)
        await response.write(encoder.compress(first) if encoder else first)
        chunk: bytes | None = second
        while chunk is not None:
            await response.write(encoder.compress(chunk) if encoder else chunk)
            try:
                chunk = await following()
            except EngineError as error:
                _break_off(http, error)
                return response
        if encoder:
            await response.write(encoder.flush())
        await response.write_eof()
        return response
    finally:
        await loop.run_in_executor(threads, _close, result.chunks)


def _break_off(http: web.Request, error: EngineError) -> None:
    """The status is long sent: only a connection that ends without its last chunk tells the client."""
    print(f"clickhouse: result broken off: {error}", file=sys.stderr)
    if http.transport is not None:
        http.transport.abort()


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
