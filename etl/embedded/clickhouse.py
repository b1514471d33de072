"""ClickHouse on one machine: ``python -m etl.embedded.clickhouse`` answers its HTTP interface from the engine in chDB.

clickhouse-connect, curl and other HTTP clients work unchanged: compression (lz4, zstd, gzip, deflate), parameters,
settings, sessions, external data, error codes and statuses. Large results are streamed. One user, ``default``, with
a password generated for the state directory; who asks and which statements run: docs/security.md. Not here:
cancelling a query, the native protocol, ``compress=1`` blocks.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
from aiohttp import BasicAuth, web

from etl import settings as settings_module
from etl.embedded import clickhouse_engine as engine_module
from etl.embedded.clickhouse_engine import Engine, EngineError
from etl.embedded.clickhouse_parts import Parts
from etl.embedded.clickhouse_request import REQUEST_BYTES_MAX, read
from etl.embedded.clickhouse_response import send
from etl.embedded.clickhouse_start import STOP_WITHIN_S, keep_password
from etl.embedded.part import end_with_parent, run_part
from etl.embedded.ports import require_free
from etl.embedded.web_access import web_access

REQUESTS_AT_ONCE_MAX = 8
REQUESTS_WAITING_MAX = 56
USER = "default"
AUTHENTICATION_FAILED = 516

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
    497: 403,
    516: 403,
}

ENGINE = web.AppKey("engine", Engine)
PARTS = web.AppKey("parts", Parts)
THREADS = web.AppKey("threads", ThreadPoolExecutor)
PASSWORD = web.AppKey("password", str)


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    require_free("clickhouse", settings.bind_host, settings.clickhouse.port, "clickhouse_port")
    os.environ["TZ"] = "UTC"  # DateTime without a zone means UTC, as X-ClickHouse-Timezone says
    data_dir = settings.state_path / "clickhouse"
    data_dir.mkdir(parents=True, exist_ok=True)
    password = keep_password(settings)
    os.chdir(data_dir)  # the engine caches a query's format_schema in the directory in which it was started
    engine = Engine(data_dir)
    web.run_app(
        application(engine, settings.bind_host, password),
        host=settings.bind_host,
        port=settings.clickhouse.port,
        print=None,
        access_log=None,
        shutdown_timeout=STOP_WITHIN_S,
        handler_cancellation=False,
    )
    engine.close()


def application(engine: Engine, bind_host: str, password: str) -> web.Application:
    app = web.Application(client_max_size=REQUEST_BYTES_MAX, middlewares=[web_access(bind_host)])
    app[PASSWORD] = password
    app[ENGINE] = engine
    app[PARTS] = Parts(engine)
    app[GATE] = Gate()
    app[THREADS] = ThreadPoolExecutor(REQUESTS_AT_ONCE_MAX, thread_name_prefix="engine")
    app.cleanup_ctx.append(_watched)
    app.router.add_get("/ping", _ok)
    app.router.add_get("/replicas_status", _ok)
    app.router.add_route("*", "/", _answer)
    return app


async def _watched(app: web.Application) -> AsyncIterator[None]:
    watching = asyncio.create_task(app[PARTS].end_when_unwritten())
    yield
    watching.cancel()
    await asyncio.wait([watching])


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
        _require_password(http)
        async with http.app[GATE]:
            request = await read(http)
            result = await asyncio.get_running_loop().run_in_executor(threads, http.app[PARTS].run, request)
            headers["X-ClickHouse-Format"] = result.format
            headers["X-ClickHouse-Summary"] = msgspec.json.encode(result.summary).decode()
            return await send(http, result, headers, threads)
    except EngineError as error:
        return _refusal(error, engine.version, headers)


def _require_password(http: web.Request) -> None:
    """As a server takes it: in its own headers, by Basic, or in the URL."""
    user = http.headers.get("X-ClickHouse-User", http.query.get("user", USER))
    password = http.headers.get("X-ClickHouse-Key", http.query.get("password", ""))
    if "Authorization" in http.headers:
        try:
            basic = BasicAuth.decode(http.headers["Authorization"], "utf-8")
        except ValueError:
            raise EngineError(AUTHENTICATION_FAILED, "Authorization is not Basic") from None
        user, password = basic.login, basic.password
    right = secrets.compare_digest(password.encode(), http.app[PASSWORD].encode())
    if user != USER or not right:
        text = f"{user}: Authentication failed: password is incorrect, or there is no user with such name"
        raise EngineError(AUTHENTICATION_FAILED, text)


def _refusal(error: EngineError, version: str, headers: dict[str, str]) -> web.Response:
    text = str(error).strip()
    if not text.startswith("Code:"):
        text = f"Code: {error.code}. DB::Exception: {text}."
    return web.Response(
        status=STATUS_OF_CODE.get(error.code, 500),
        text=f"{text} (version {version})\n",
        headers={**headers, "X-ClickHouse-Exception-Code": str(error.code)},
    )


if __name__ == "__main__":
    run_part(main)
