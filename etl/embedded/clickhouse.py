"""ClickHouse on one machine: ``python -m etl.embedded.clickhouse`` answers its HTTP interface from the engine in chDB.

clickhouse-connect, curl and other HTTP clients work unchanged: compression (lz4, zstd, gzip, deflate), parameters,
settings, sessions, external data, error codes and statuses. Large results are streamed. Not here: users and
passwords (it listens on loopback), cancelling a query, the native protocol, ``compress=1`` blocks.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import uuid
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import lz4.frame
import msgspec
from aiohttp import web
from backports import zstd

from etl import settings as settings_module
from etl.embedded import clickhouse_engine as engine_module
from etl.embedded.clickhouse_engine import Engine, EngineError, ExternalTable, QueryResult, Request
from etl.embedded.part import Part, end_with_parent, http_ready, run_part
from etl.embedded.ports import require_free
from etl.settings import Settings

REQUEST_BYTES_MAX = 256 << 20
REQUESTS_AT_ONCE_MAX = 8
REQUESTS_WAITING_MAX = 56
COMPRESS_BYTES_MIN = 512
COMPRESSION_LEVEL = 1
STOP_WITHIN_S = 10.0

# Of the URL's parameters, those that are not settings.
RESERVED = frozenset(
    {"query", "database", "default_format", "query_id", "user", "password", "quota_key", "role", "stacktrace"}
    | {"session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"}
    | {"compress", "decompress", "enable_http_compression", "http_zlib_compression_level"}
    | {"wait_end_of_query", "buffer_size", "add_http_cors_header"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)

# The server's own exceptionCodeToHTTPStatus: parse errors 400, unknown names 404, the rest 500.
STATUS_OF_CODE: Mapping[int, int] = {
    **dict.fromkeys(
        (6, 25, 26, 27, 36, 38, 41, 43, 44, 53, 62, 69, 70, 72, 130, 131, 167, 168, 376, 456, 457), 400
    ),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 106, 115, 277), 404),
    48: 501,
    159: 408,
    202: 503,
    209: 503,
    229: 413,
    241: 500,
    372: 404,
    439: 503,
}

ENGINE = web.AppKey("engine", Engine)
THREADS = web.AppKey("threads", ThreadPoolExecutor)


def clickhouse_part(settings: Settings) -> Part:
    return Part(
        name="clickhouse",
        command=(sys.executable, "-m", "etl.embedded.clickhouse", "--with-parent"),
        ports={"clickhouse_port": settings.clickhouse.port},
        ready=http_ready(f"http://{settings.bind_host}:{settings.clickhouse.port}/ping"),
        ready_within_s=60.0,
        stop_within_s=STOP_WITHIN_S * 2,
    )


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    require_free("clickhouse", settings.bind_host, settings.clickhouse.port, "clickhouse_port")
    os.environ["TZ"] = "UTC"  # DateTime without a zone means UTC, as X-ClickHouse-Timezone says
    data_dir = settings.state_path / "clickhouse"
    data_dir.mkdir(parents=True, exist_ok=True)
    os.chdir(data_dir)  # the engine caches a query's format_schema in the directory in which it was started
    engine = Engine(data_dir)
    web.run_app(
        application(engine),
        host=settings.bind_host,
        port=settings.clickhouse.port,
        print=None,
        access_log=None,
        shutdown_timeout=STOP_WITHIN_S,
        handler_cancellation=False,
    )
    engine.close()


def application(engine: Engine) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX)
    app[ENGINE] = engine
    app[GATE] = Gate()
    app[THREADS] = ThreadPoolExecutor(REQUESTS_AT_ONCE_MAX, thread_name_prefix="engine")
    app.router.add_get("/ping", _ok)
    app.router.add_get("/replicas_status", _ok)
    app.router.add_route("*", "/", _answer)
    return app


class Gate:
    """So many requests run, so many wait, more are told to come back."""

    def __init__(self) -> None:
        self._running = asyncio.Semaphore(REQUESTS_AT_ONCE_MAX)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= REQUESTS_WAITING_MAX:
            raise EngineError(engine_module.TOO_MANY_SIMULTANEOUS_QUERIES, "Too many simultaneous queries")
        self._waiting += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._running.release()


GATE = web.AppKey("gate", Gate)


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n")


async def _answer(http: web.Request) -> web.StreamResponse:
    headers = {
        "X-ClickHouse-Query-Id": http.query.get("query_id") or str(uuid.uuid4()),
        "X-ClickHouse-Server-Display-Name": "embedded",
        "X-ClickHouse-Timezone": "UTC",
    }
    engine, threads = http.app[ENGINE], http.app[THREADS]
    try:
        if http.method in ("GET", "HEAD") and "query" not in http.query:
            return await _ok(http)
        async with http.app[GATE]:
            request = await _read(http)
            answer = await asyncio.get_running_loop().run_in_executor(threads, engine.run, request)
            headers["X-ClickHouse-Format"] = answer.format
            headers["X-ClickHouse-Summary"] = msgspec.json.encode(answer.summary).decode()
            return await _send(http, answer, headers)
    except EngineError as error:
        return _refusal(error, engine.version, headers)


def _refusal(error: EngineError, version: str, headers: dict[str, str]) -> web.Response:
    text = str(error).strip()
    if not text.startswith("Code:"):
        text = f"Code: {error.code}. DB::Exception: {text}."
    return web.Response(
        status=STATUS_OF_CODE.get(error.code, 500),
        text=f"{text} (version {version})\n",
        headers={**headers, "X-ClickHouse-Exception-Code": str(error.code)},
    )


async def _read(http: web.Request) -> Request:
    values = dict(http.query)
    tables: list[ExternalTable] = []
    body = b""
    try:
        if http.content_type.startswith("multipart/"):
            tables = await _read_form(http, values)
        else:
            body = _decoded(await http.read(), http.headers.get("Content-Encoding", ""))
    except web.HTTPRequestEntityTooLarge:
        raise EngineError(229, f"Request is larger than {REQUEST_BYTES_MAX} bytes") from None
    if values.get("decompress", "0") == "1" or values.get("compress", "0") == "1":
        raise EngineError(48, "compress=1 and decompress=1 are not here; use Content-Encoding")
    return Request(
        text=values.get("query", ""),
        body=body,
        database=values.get("database", http.headers.get("X-ClickHouse-Database", "")),
        default_format=values.get("default_format", http.headers.get("X-ClickHouse-Format", "")),
        settings={
            name: text
            for name, text in values.items()
            if name not in RESERVED and not name.startswith("param_")
        },
        parameters={
            name.removeprefix("param_"): text for name, text in values.items() if name.startswith("param_")
        },
        external_tables=tables,
        session_id=values.get("session_id", ""),
        session_timeout_s=_seconds(values.get("session_timeout")),
        session_must_exist=values.get("session_check", "0") == "1",
        read_only=http.method in ("GET", "HEAD"),
        buffered=values.get("wait_end_of_query", "0") == "1",
    )


async def _read_form(http: web.Request, values: dict[str, str]) -> list[ExternalTable]:
    """The form's plain fields go to ``values``; its files are tables, described by ``<name>_structure`` etc."""
    files: dict[str, bytes] = {}
    for name, part in (await http.post()).items():
        if isinstance(part, str):
            values[name] = part
        elif isinstance(part, web.FileField):
            files[name] = part.file.read()
    tables = []
    for name, data in files.items():
        types = values.pop(f"{name}_types", "String")
        columns = ", ".join(f"_{number} {kind}" for number, kind in enumerate(_split_types(types), start=1))
        tables.append(
            ExternalTable(
                name=name,
                structure=values.pop(f"{name}_structure", columns),
                format=values.pop(f"{name}_format", "TabSeparated"),
                data=data,
            )
        )
    return tables


def _split_types(text: str) -> list[str]:
    """``Array(Tuple(Int8, Int8)), String``: split at the commas that stand in no bracket."""
    return [kind.strip() for kind in re.split(r",(?![^()]*\))", text)]


def _seconds(text: str | None) -> float:
    try:
        return float(text) if text else engine_module.SESSION_TIMEOUT_S
    except ValueError:
        raise EngineError(374, f"Invalid session timeout: '{text}'") from None


def _decoded(body: bytes, encoding: str) -> bytes:
    """aiohttp has undone gzip, deflate, br and zstd; lz4 frames are left to us."""
    if encoding in ("", "identity", "gzip", "deflate", "br", "zstd"):
        return body
    if encoding != "lz4":
        raise EngineError(engine_module.BAD_ARGUMENTS, f"Unknown Content-Encoding '{encoding}'")
    parts, size = [], 0
    while body:
        frame = lz4.frame.LZ4FrameDecompressor()
        try:
            parts.append(frame.decompress(body, max_length=REQUEST_BYTES_MAX + 1 - size))
        except RuntimeError as error:
            raise EngineError(271, f"Cannot decompress the request: {error}") from None
        size += len(parts[-1])
        if size > REQUEST_BYTES_MAX:
            raise EngineError(229, f"Request is larger than {REQUEST_BYTES_MAX} bytes")
        if not frame.eof:
            raise EngineError(271, "Cannot decompress the request: it ends within a frame")
        body = frame.unused_data or b""
    return b"".join(parts)


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


async def _send(http: web.Request, answer: QueryResult, headers: dict[str, str]) -> web.StreamResponse:
    """A result of one chunk goes out whole; a longer one as it comes, and is broken off if it fails midway."""
    loop, threads = asyncio.get_running_loop(), http.app[THREADS]

    async def following() -> bytes | None:
        return await loop.run_in_executor(threads, next, answer.chunks, None)

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
        await loop.run_in_executor(threads, _close, answer.chunks)


def _break_off(http: web.Request, error: EngineError) -> None:
    """The status is long sent: only a connection that ends without its last chunk tells the client."""
    print(f"clickhouse: result broken off: {error}", file=sys.stderr)
    if http.transport is not None:
        http.transport.abort()


def _close(chunks: Iterator[bytes]) -> None:
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


if __name__ == "__main__":
    run_part(main)
