"""From an HTTP request to what the engine runs: the query string, forms with external tables, compressed bodies."""

from __future__ import annotations

import re

import lz4.frame
from aiohttp import web

from etl.embedded import clickhouse_engine as engine_module
from etl.embedded.clickhouse_engine import EngineError, ExternalTable, Request

REQUEST_BYTES_MAX = 256 << 20

# Of the URL's parameters, those that are not settings.
RESERVED = frozenset(
    {"query", "database", "default_format", "query_id", "user", "password", "quota_key", "role", "stacktrace"}
    | {"session_id", "session_timeout", "session_check", "close_session", "client_protocol_version"}
    | {"compress", "decompress", "enable_http_compression", "http_zlib_compression_level"}
    | {"wait_end_of_query", "buffer_size", "add_http_cors_header"}
    | {"send_progress_in_http_headers", "http_headers_progress_interval_ms"}
)


async def read(http: web.Request) -> Request:
    """Raises ``EngineError`` with the code that the server gives."""
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
